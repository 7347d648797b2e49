// @uppy/aws-s3 6, which sends requests to S3 itself. Waybill signs each of them.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import { harness } from './harness.js'

harness(({ endpoint, token, multipart }, { name, type, size }) =>
  new Uppy().use(AwsS3, {
    shouldUseMultipart: multipart,
    async signRequest(request) {
      const answer = await fetch(`${endpoint}/uppy/s3/sign`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ ...request, name, type, size }),
      })
      if (!answer.ok) throw new Error(`signing answers ${answer.status}: ${await answer.text()}`)
      return answer.json()
    },
  }))
