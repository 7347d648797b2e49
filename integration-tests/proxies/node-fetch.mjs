// Sends a request with a body of SIZE bytes TIMES times with Node's fetch, and counts the answers. Arguments and output are
// those of node-http.mjs, except --http2. NODE_EXTRA_CA_CERTS names the file of a CA.

import { Readable } from 'node:stream'
import { blocks, count, options, seen } from './options.mjs'

const given = options()
// A body of known length is one buffer, as in a page that sends a File. A stream is sent in chunks.
const whole = given.chunked ? undefined : Buffer.alloc(given.size, 7)

await count('node-fetch', given, async () => {
  const body = whole ?? Readable.toWeb(Readable.from(blocks(given.size), { objectMode: false }))
  const answer = await fetch(given.url, { method: given.method, headers: given.headers, body, duplex: 'half' })
  return seen(answer.status, await answer.text())
}, async () => {
  const answer = await fetch(given.then, { method: 'POST', headers: given.thenHeaders, body: 'hello' })
  await answer.text()
  return answer.status
})
