// @uppy/aws-s3 6 with its defaults. The page forwards its requests for signatures unchanged, with the keys of the plugin.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import { serveUppy } from './upload.js'

serveUppy(({ endpoint, token }) =>
  new Uppy().use(AwsS3, {
    async signRequest(request) {
      const answer = await fetch(`${endpoint}/uppy/s3/sign`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(request),
      })
      if (!answer.ok) throw new Error(`signing answers ${answer.status}: ${await answer.text()}`)
      return answer.json()
    },
  }))
