// One upload by Uppy in Chromium: node browser.mjs SCENARIO SETTINGS, see README.md.

import { statSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

import { startRelay } from './relay.mjs'
import { report } from './report.mjs'

const FOLDER = import.meta.dirname
const HTML = '<!doctype html><meta charset="utf-8"><title>Uppy</title>' +
  '<input type="file"><script src="/page.js"></script>'
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

/** The page of a scenario, and which packages it means by the names it imports. */
const scenarios = {
  tus: { page: 'uppy/tus.js' },
  s3_v5: {
    page: 'uppy/s3_v5.js',
    alias: { '@uppy/core': 'uppy-core-5', '@uppy/aws-s3': 'uppy-aws-s3-5' },
  },
  s3_v6: { page: 'uppy/s3_v6.js' },
}

async function bundle({ page, alias = {} }) {
  const { outputFiles } = await build({
    absWorkingDir: FOLDER,
    entryPoints: [page],
    alias,
    bundle: true,
    write: false,
    logLevel: 'silent',
  })
  return outputFiles[0].text
}

/** Serves the page on the origin that the server's CORS settings name. */
async function serve(script, port) {
  const server = createServer((request, response) => {
    const [type, body] = request.url === '/page.js' ? ['text/javascript', script] : ['text/html', HTML]
    response.writeHead(200, { 'Content-Type': type }).end(body)
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return server
}

/** What the page has said so far. */
class Session {
  progress = 0
  success = null
  /** The numbers of the parts that S3 has, in the order of their arrival. */
  parts = []
  errors = []
  complete = null
  requests = []
  #changed = () => {}

  hear(event, detail) {
    if (event === 'error') this.errors.push(detail)
    else if (event === 'part') this.parts.push(detail)
    else this[event] = detail
    this.#changed()
  }

  /** Resolves once `what` holds; an upload that ends before is an error. */
  async until(name, what, timeoutSeconds) {
    const deadline = performance.now() + timeoutSeconds * 1000
    while (!what()) {
      if (this.complete) throw new Error(`the upload ended before ${name}: ${this.errors.join('; ')}`)
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`no ${name} after ${timeoutSeconds} s, at ${this.progress} bytes`)
      await Promise.race([new Promise((resolve) => { this.#changed = resolve }), sleep(left)])
    }
  }
}

async function run(scenario, settings) {
  const server = await serve(await bundle(scenario), Number(new URL(settings.origin).port))
  const relay = await startRelay()
  const browser = await chromium.launch({
    executablePath: settings.chromium ?? '/usr/bin/chromium',
    args: ARGUMENTS,
    proxy: { server: `socks5://127.0.0.1:${relay.port}` },
  })
  const session = new Session()
  try {
    return { ...(await upload(browser, relay, session, settings)), ...seen(session) }
  } catch (error) {
    throw Object.assign(error, { details: seen(session) })
  } finally {
    await browser.close()
    relay.close()
    server.close()
  }
}

function seen({ parts, requests, errors }) {
  return { parts, requests, errors }
}

/** Starts, pauses, resumes, goes offline and online again, and waits for the end. */
async function upload(browser, relay, session, settings) {
  const size = statSync(settings.file).size
  const { pause_at = size * 0.4, offline_at = size * 0.75, timeout_seconds = 120 } = settings
  const context = await browser.newContext()
  const page = await context.newPage()
  await listen(page, session, settings.origin)
  await page.goto(settings.origin)
  await page.setInputFiles('input[type=file]', settings.file)
  const network = await slowNetwork(page, relay, settings.bytes_per_second ?? size / 5)

  const { endpoint, token, metadata = {}, multipart = true } = settings
  await page.evaluate((given) => window.client.start(given), { endpoint, token, metadata, multipart })
  await session.until('the pause', () => session.progress >= pause_at, timeout_seconds)
  await page.evaluate(() => window.client.pause())
  await sleep(500)
  const pausedAt = session.progress
  await sleep(1000)
  const movedWhilePaused = session.progress - pausedAt
  const partsAtPause = session.parts.length

  session.progress = 0
  await page.evaluate(() => window.client.resume())
  await session.until('progress after the pause', () => session.progress > 0, timeout_seconds)
  const resumedAt = session.progress
  await session.until('going offline', () => session.progress >= offline_at, timeout_seconds)
  await network.lose()
  await sleep(2000)
  const offlineAt = session.progress
  if (session.success) throw new Error('the upload ended before the network was gone')
  // An upload that gave up is for the user to try again, once there is a network.
  const gaveUpOffline = session.complete !== null
  session.complete = null
  await network.regain()
  if (gaveUpOffline) await page.evaluate(() => window.client.retry())
  await session.until('the end', () => session.success, timeout_seconds)
  await session.until('complete', () => session.complete, timeout_seconds)
  return {
    bytes: size,
    paused_at: pausedAt,
    moved_while_paused: movedWhilePaused,
    parts_at_pause: partsAtPause,
    resumed_at: resumedAt,
    offline_at: offlineAt,
    gave_up_offline: gaveUpOffline,
    ...session.success,
    complete: session.complete,
  }
}

/** Slows the page's uploads; `lose` and `regain` are what the operating system would tell it. */
async function slowNetwork(page, relay, bytesPerSecond) {
  const devtools = await page.context().newCDPSession(page)
  const emulate = (offline) =>
    devtools.send('Network.emulateNetworkConditions', {
      offline, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond,
    })
  await emulate(false)
  return {
    async lose() {
      // Being offline ends the slowness: what runs would get through before the connection breaks.
      relay.hold()
      await emulate(true)
      await page.waitForFunction(() => !navigator.onLine)
      relay.cut()
    },
    async regain() {
      relay.mend()
      await emulate(false)
    },
  }
}

/** Events of the page, and every request it makes but those for itself. */
async function listen(page, session, origin) {
  await page.exposeFunction('report', (event, detail) => session.hear(event, detail))
  page.on('pageerror', (error) => session.errors.push(String(error)))
  page.on('console', (message) => message.type() === 'error' && session.errors.push(message.text()))
  page.on('response', (response) => note(response.request(), response.status()))
  page.on('requestfailed', (request) => note(request, request.failure().errorText))

  function note(request, outcome) {
    const { origin: to, pathname } = new URL(request.url())
    if (to !== origin) session.requests.push(`${request.method()} ${to}${pathname} ${outcome}`)
  }
}

await report(scenarios, run)
