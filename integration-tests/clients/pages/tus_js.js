// tus-js-client in a page, without Uppy.

import { Upload } from 'tus-js-client'
import { serveUploads } from './upload.js'

serveUploads((file, { endpoint, token }) => new Promise((resolve, reject) => {
  const upload = new Upload(file, {
    endpoint: `${endpoint}/tus/`,
    headers: { Authorization: `Bearer ${token}` },
    metadata: { filename: file.name, filetype: file.type },
    onError: reject,
    onSuccess: ({ lastResponse }) => resolve({ status: lastResponse.getStatus(), url: upload.url }),
  })
  upload.start()
}))
