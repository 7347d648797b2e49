// The peer: @tus/server with its S3 store, configured as in its documentation, on the same store as Waybill.

import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

function need(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}

const datastore = new S3Store({
  // The same part size as Waybill.
  partSize: 8 * 1024 * 1024,
  s3ClientConfig: {
    bucket: need('BENCH_TUS_BUCKET'),
    endpoint: need('BENCH_S3_ENDPOINT'),
    region: need('BENCH_S3_REGION'),
    forcePathStyle: true,
    credentials: {
      accessKeyId: need('BENCH_S3_ACCESS_KEY_ID'),
      secretAccessKey: need('BENCH_S3_SECRET_ACCESS_KEY'),
    },
  },
})

const server = new Server({ path: '/files', datastore })

const http = server.listen({ host: '127.0.0.1', port: Number(need('BENCH_TUS_PORT')) })
// By default, Node aborts a request after five minutes. Several files at once may take longer.
http.requestTimeout = 0

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
