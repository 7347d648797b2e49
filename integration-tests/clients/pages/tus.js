// @uppy/tus with its defaults.

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { serveUppy } from './upload.js'

serveUppy(({ endpoint, token }) =>
  new Uppy().use(Tus, {
    endpoint: `${endpoint}/tus/`,
    headers: { Authorization: `Bearer ${token}` },
  }))
