// @uppy/tus.

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { harness } from './harness.js'

harness(({ endpoint, token }) =>
  new Uppy().use(Tus, {
    endpoint: `${endpoint}/tus/`,
    headers: { Authorization: `Bearer ${token}` },
  }))
