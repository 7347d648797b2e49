// Arguments, bodies and counters that the Node clients share.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const BLOCK = Buffer.alloc(64 * 1024, 7)

export function options() {
  const text = { type: 'string' }
  const many = { type: 'string', multiple: true, default: [] }
  const { values, positionals: [url, method, size, times] } = parseArgs({
    allowPositionals: true,
    options: {
      chunked: { type: 'boolean' }, http2: { type: 'boolean' }, ca: text, header: many, expect: text, then: text,
      'then-header': many,
    },
  })
  return {
    url: new URL(url), method, size: Number(size), times: Number(times), chunked: values.chunked, http2: values.http2,
    ca: values.ca && readFileSync(values.ca), headers: headers(values.header), expect: values.expect,
    then: values.then && new URL(values.then), thenHeaders: headers(values['then-header']),
  }
}

function headers(lines) {
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
}

export function* blocks(size) {
  for (let left = size; left > 0; left -= BLOCK.length) yield left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK
}

// Returns the status of an answer and the code of its problem document.
export function seen(status, text) {
  try {
    return `${status} ${JSON.parse(text).code}`
  } catch {
    return `${status} (no problem document)`
  }
}

function said(error) {
  return String(error.cause?.code ?? error.code ?? error.cause?.message ?? error.message)
}

export async function count(client, given, request, then) {
  const report = { client, tries: 0, right: 0, seen: {}, then_right: 0, then: {} }
  const add = (to, what) => { to[what] = (to[what] ?? 0) + 1 }
  for (; report.tries < given.times; report.tries += 1) {
    const answer = await request().catch(said)
    add(report.seen, answer)
    if (answer === given.expect) report.right += 1
    if (given.then) {
      const after = await then().catch(said)
      add(report.then, after)
      if (after >= 200 && after < 300) report.then_right += 1
    }
  }
  console.log(JSON.stringify(report))
}
