// @uppy/aws-s3 5 with its defaults. Only the plugin describes the files.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import { serveUppy } from './upload.js'

serveUppy(({ endpoint, token }) =>
  new Uppy().use(AwsS3, {
    endpoint: `${endpoint}/uppy`,
    headers: { Authorization: `Bearer ${token}` },
  }))
