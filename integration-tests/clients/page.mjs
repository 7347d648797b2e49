// A browser, and the page that it shows.

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

/** Packages of version 5, by the names that pages import. */
export const VERSION_5 = { '@uppy/core': 'uppy-core-5', '@uppy/aws-s3': 'uppy-aws-s3-5' }

/** Bundles a script of a page with all its imports. `alias` maps imported names to packages. */
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
 * Serves a page on the origin that the CORS settings of the server allow. `show` replaces the script of the page. An origin
 * with https needs a `certificate` and its `key`.
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

/** Starts a browser that trusts the `certificate`, regardless of its issuer. */
export function launch({ chromium: executablePath = '/usr/bin/chromium', certificate }, more = {}) {
  const believed = certificate ? [`--ignore-certificate-errors-spki-list=${fingerprint(certificate)}`] : []
  return chromium.launch({ executablePath, args: [...ARGUMENTS, ...believed], ...more })
}

function fingerprint(certificate) {
  const key = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(key).digest('base64')
}

/**
 * Calls `note` with every request of the page to another origin, as "PUT http://host/path 200", and `failed` with the
 * errors of the page and its console.
 */
export function listen(page, origin, note, failed) {
  const answered = new WeakSet()
  page.on('pageerror', (error) => failed(String(error)))
  page.on('console', (message) => message.type() === 'error' && failed(message.text()))
  page.on('response', (response) => {
    answered.add(response.request())
    seen(response.request(), response.status())
  })
  // Chromium reports an answer without a body also as failed.
  page.on('requestfailed', (request) => answered.has(request) || seen(request, request.failure().errorText))

  function seen(request, outcome) {
    const { origin: to, pathname } = new URL(request.url())
    if (to !== origin) note(`${request.method()} ${to}${pathname} ${outcome}`)
  }
}
