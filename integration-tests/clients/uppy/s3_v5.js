// @uppy/aws-s3 5 with Waybill instead of Companion. browser.mjs provides the core of version 5.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import { harness } from './harness.js'

harness(({ endpoint, token, multipart }, { size }) => {
  const uppy = new Uppy().use(AwsS3, {
    endpoint: `${endpoint}/uppy`,
    headers: { Authorization: `Bearer ${token}` },
    shouldUseMultipart: multipart,
    // Few parallel parts, so that some parts are complete and others are not when the upload pauses.
    limit: 2,
  })
  // The plugin itself does not send the size of the file.
  uppy.on('file-added', ({ id }) => uppy.setFileMeta(id, { size }))
  return uppy
})
