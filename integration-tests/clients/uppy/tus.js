// @uppy/tus.

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { harness } from './harness.js'

harness(({ endpoint, token, link }) =>
  new Uppy().use(Tus, {
    endpoint: `${endpoint}/tus/`,
    headers: { Authorization: link ? `Upload-Link ${link}` : `Bearer ${token}` },
  }))
