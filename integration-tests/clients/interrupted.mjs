// One upload in a page of uppy/ that is paused and loses the network.

import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import { bundle, launch, listen, serve } from './page.mjs'
import { startRelay } from './relay.mjs'

/** Events that the page has reported so far. */
class Session {
  progress = 0
  success = null
  /** Numbers of the parts that S3 has, in the order of their arrival. */
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

  /** Waits until `what` returns true. Throws if the upload ends before. */
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

/** Uploads one file with the script `page`. `alias` maps its imports to packages. */
export async function interrupted({ page, alias }, settings) {
  const server = await serve(settings, await bundle({ page }, alias))
  const relay = await startRelay()
  const browser = await launch(settings, { proxy: { server: `socks5://127.0.0.1:${relay.port}` } })
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
  await page.exposeFunction('report', (event, detail) => session.hear(event, detail))
  listen(page, settings.origin, (request) => session.requests.push(request), (error) => session.errors.push(error))
  await page.goto(settings.origin)
  await page.setInputFiles('input[type=file]', settings.file)
  const network = await slowNetwork(page, relay, settings.bytes_per_second ?? size / 5)

  const { endpoint, token, link, metadata = {}, multipart = true } = settings
  await page.evaluate((given) => window.client.start(given), { endpoint, token, link, metadata, multipart })
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
  // If the upload gave up, the user retries it when the network is back.
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

/** Limits the upload speed of the page. `lose` and `regain` simulate the loss and the return of the network. */
async function slowNetwork(page, relay, bytesPerSecond) {
  const devtools = await page.context().newCDPSession(page)
  const emulate = (offline) =>
    devtools.send('Network.emulateNetworkConditions', {
      offline, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond,
    })
  await emulate(false)
  return {
    async lose() {
      // Going offline ends the speed limit, so running requests could finish before the connection breaks.
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
