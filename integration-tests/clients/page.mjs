// A browser, and a page of ours in it.

import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const FOLDER = import.meta.dirname
const HTML = '<!doctype html><meta charset="utf-8"><title>Uppy</title>' +
  '<input type="file" multiple><script src="/page.js"></script>'
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

/** The packages of version 5, under the names that pages import. */
export const VERSION_5 = { '@uppy/core': 'uppy-core-5', '@uppy/aws-s3': 'uppy-aws-s3-5' }

/** One script of a page and all that it imports. `alias` says which packages it means. */
export async function bundle(entry, alias = {}) {
  const { outputFiles } = await build({
    absWorkingDir: FOLDER,
    ...(entry.source ? { stdin: { contents: entry.source, resolveDir: FOLDER } } : { entryPoints: [entry.page] }),
    alias,
    bundle: true,
    write: false,
    logLevel: 'silent',
  })
  return outputFiles[0].text
}

/**
 * Serves a page on the origin that the server's CORS settings name; `show` gives it another script. An origin with https
 * has a `certificate` and its `key`.
 */
export async function serve({ origin, certificate, key }, script = '') {
  const answer = (request, response) => {
    const [type, body] = request.url === '/page.js' ? ['text/javascript', script] : ['text/html', HTML]
    response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
  }
  const server = origin.startsWith('https:')
    ? createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) }, answer)
    : createServer(answer)
  const port = Number(new URL(origin).port)
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return {
    show(other) {
      script = other
    },
    close: () => server.close(),
  }
}

/** A browser that believes the `certificate`, whoever signed it. */
export function launch({ chromium: executablePath = '/usr/bin/chromium', certificate }, more = {}) {
  const believed = certificate ? [`--ignore-certificate-errors-spki-list=${fingerprint(certificate)}`] : []
  return chromium.launch({ executablePath, args: [...ARGUMENTS, ...believed], ...more })
}

function fingerprint(certificate) {
  const key = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(key).digest('base64')
}

/**
 * Calls `note` for every request of the page but those for itself, as "PUT http://host/path 200", and `failed` for what
 * the console shows as an error.
 */
export function listen(page, origin, note, failed) {
  const answered = new WeakSet()
  page.on('pageerror', (error) => failed(String(error)))
  page.on('console', (message) => message.type() === 'error' && failed(message.text()))
  page.on('response', (response) => {
    answered.add(response.request())
    seen(response.request(), response.status())
  })
  // An answer without a body is said to fail besides.
  page.on('requestfailed', (request) => answered.has(request) || seen(request, request.failure().errorText))

  function seen(request, outcome) {
    const { origin: to, pathname } = new URL(request.url())
    if (to !== origin) note(`${request.method()} ${to}${pathname} ${outcome}`)
  }
}
