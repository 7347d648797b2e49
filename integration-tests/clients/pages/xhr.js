// @uppy/xhr-upload with its defaults: each file in a form, after the fields.

import Uppy from '@uppy/core'
import XHRUpload from '@uppy/xhr-upload'
import { serveUppy } from './upload.js'

serveUppy(({ endpoint, token }) =>
  new Uppy().use(XHRUpload, {
    endpoint: `${endpoint}/v1/files`,
    headers: { Authorization: `Bearer ${token}` },
  }))
