// tus-js-client in a page that watches its company over WebSocket. An upload ends when the WebSocket reports the file.

import { Upload } from 'tus-js-client'
import { serveUploads } from './upload.js'

let watching

serveUploads(async (file, settings) => {
  watching ??= watch(settings)
  const watched = await watching
  const url = await upload(file, settings)
  return { url, body: { event: await watched(url.split('/').pop()) } }
})

function upload(file, { endpoint, token }) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(file, {
      endpoint: `${endpoint}/tus/`,
      headers: { Authorization: `Bearer ${token}` },
      metadata: { filename: file.name, filetype: file.type },
      onError: reject,
      onSuccess: () => resolve(upload.url),
    })
    upload.start()
  })
}

/** Subscribes to the company, and returns a function that waits for the event of a stored file. */
async function watch({ endpoint, token }) {
  const answer = await fetch(`${endpoint}/v1/progress/tickets`, {
    method: 'POST', headers: { Authorization: `Bearer ${token}` },
  })
  if (!answer.ok) throw new Error(`no ticket: ${answer.status} ${await answer.text()}`)
  const { ticket } = await answer.json()
  const socket = new WebSocket(`${endpoint.replace('http', 'ws')}/v1/progress`, ['waybill.v1', `ticket.${ticket}`])
  const stored = new Map()
  const waiting = new Map()
  return new Promise((resolve, reject) => {
    const { company_id: company } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
    socket.addEventListener('open', () => socket.send(JSON.stringify({ t: 'sub', id: 1, topic: `company:${company}` })))
    socket.addEventListener('close', ({ code, reason }) => reject(new Error(`the WebSocket closed: ${code} ${reason}`)))
    socket.addEventListener('message', ({ data }) => {
      const frame = JSON.parse(data)
      if (frame.t === 'err') reject(new Error(data))
      if (frame.t === 'snap') resolve((id) => stored.get(id) ?? new Promise((found) => waiting.set(id, found)))
      if (frame.t !== 'ev' || frame.status !== 'COMPLETED') return
      stored.set(frame.file_id, frame)
      waiting.get(frame.file_id)?.(frame)
    })
  })
}
