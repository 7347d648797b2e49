// Sends a request with a body of SIZE bytes TIMES times with Node's http, https or http2, and counts the answers.
//
//   node node-http.mjs URL METHOD SIZE TIMES [--chunked] [--http2] [--ca FILE] [--header 'NAME: VALUE']...
//                      [--expect 'STATUS CODE'] [--then URL] [--then-header 'NAME: VALUE']...
//
// --then names a small POST that follows each request on the same agent (or session). Its answer must be 2xx.
// Prints {"client", "tries", "right", "seen": {"STATUS CODE" or error: count}, "then_right", "then"}.

import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { Readable } from 'node:stream'
import { blocks, count, options, seen } from './options.mjs'

const given = options()
const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true, ca: given.ca }) }
let session

function send1(url, method, headers, body) {
  const [library, agent] = url.protocol === 'https:' ? [https, agents.https] : [http, agents.http]
  return new Promise((resolve, reject) => {
    const request = library.request(url, { method, headers, agent })
    request.on('error', reject)
    request.on('response', (answer) => gather(answer, reject, (text) => resolve([answer.statusCode, text])))
    body.pipe(request)
  })
}

function send2(url, method, headers, body) {
  if (!session || session.closed || session.destroyed) {
    session = http2.connect(url.origin, { ca: given.ca })
    session.on('error', () => {})
  }
  return new Promise((resolve, reject) => {
    const of = { ':method': method, ':path': url.pathname + url.search, ...headers }
    const stream = session.request(of, { endStream: false })
    let status
    stream.on('error', reject)
    stream.on('response', (head) => { status = head[':status'] })
    gather(stream, reject, (text) => (status ? resolve([status, text]) : reject(new Error('ended without an answer'))))
    body.pipe(stream)
  })
}

function gather(readable, reject, done) {
  let text = ''
  readable.setEncoding('utf8')
  readable.on('data', (data) => { text += data })
  readable.on('error', reject)
  readable.on('end', () => done(text))
}

const send = given.http2 ? send2 : send1
await count(given.http2 ? 'node-http2' : 'node-http', given, async () => {
  const headers = { ...given.headers }
  if (!given.chunked) headers['content-length'] = String(given.size)
  return seen(...await send(given.url, given.method, headers, Readable.from(blocks(given.size), { objectMode: false })))
}, async () => (await send(given.then, 'POST', { 'content-length': '5', ...given.thenHeaders }, Readable.from(['hello'])))[0])
session?.destroy()
agents.http.destroy()
agents.https.destroy()
