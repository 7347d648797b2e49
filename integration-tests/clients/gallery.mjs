// Shows the previews of files in a page of another origin, twice.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { bundle, launch, listen, serve } from './page.mjs'

/** Shows a gallery, and once more as a user who comes back. Writes screenshots to `folder`. */
export async function gallery(settings) {
  const { origin, endpoint, token, folder } = settings
  const script = await bundle({ page: 'pages/gallery.js' })
  const server = await serve(settings, script)
  const browser = await launch(settings)
  const errors = new Set()
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 1600 } })
    const visits = []
    for (const visit of ['first', 'second']) {
      const page = await context.newPage()
      listen(page, origin, () => {}, (error) => errors.add(error))
      const seen = await answers(page)
      await page.goto(origin)
      const listed = await page.evaluate((given) => window.gallery.list(given), { endpoint, token })
      await page.screenshot({ path: join(folder, `${visit}-placeholders.png`) })
      const placeholders = await page.evaluate(() => window.gallery.colours())
      const shown = await page.evaluate(() => window.gallery.show())
      const statuses = await seen(shown.length)
      await page.screenshot({ path: join(folder, `${visit}-previews.png`) })
      visits.push({ listed, placeholders, shown, statuses })
      await page.close()
    }
    return { visits, errors: [...errors] }
  } finally {
    await browser.close()
    server.close()
  }
}

/**
 * Counts the answers of the server to requests for previews by status, also if the page then takes the bytes from its cache. Returns
 * a function that waits for a number of answers, because the browser reports them later than it gives them to the page.
 */
async function answers(page) {
  const previews = new Set()
  const answered = new Map()
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  // The events of a request can come in any order.
  session.on('Network.requestWillBeSent', ({ requestId, request }) => {
    if (request.method === 'GET' && request.url.includes('/variants/')) previews.add(requestId)
  })
  session.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => answered.set(requestId, statusCode))
  const statuses = () => [...previews].filter((id) => answered.has(id)).map((id) => answered.get(id))
  return async (wanted) => {
    for (let attempt = 0; statuses().length < wanted && attempt < 200; attempt += 1) await sleep(50)
    return Object.fromEntries([...new Set(statuses())].map(
      (status) => [status, statuses().filter((other) => other === status).length]))
  }
}
