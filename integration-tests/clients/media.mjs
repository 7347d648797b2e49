// Shows pictures and plays a medium with media URLs in a page of another origin, twice, and again after a share was revoked.

import { join } from 'node:path'

import { bundle, launch, listen, serve } from './page.mjs'

/** Writes screenshots to `folder`. */
export async function media(settings) {
  const { origin, folder, endpoint, revoke } = settings
  const script = await bundle({ page: 'pages/media.js' })
  const server = await serve(settings, script)
  const browser = await launch(settings)
  const errors = new Set()
  const given = { endpoint: settings.endpoint, token: settings.token, files: settings.files, sound: settings.sound }
  const visit = async (context, name) => {
    const page = await context.newPage()
    listen(page, origin, () => {}, (error) => errors.add(error))
    const cache = await answers(page)
    await page.goto(origin)
    const { urls, shown } = await page.evaluate((given) => window.media.show(given), given)
    const cached = cache.pictures()
    const medium = await page.evaluate(() => window.media.play(50))
    await page.screenshot({ path: join(folder, `media-${name}.png`) })
    await page.close()
    return { urls, shown, cached, medium, ranges: cache.ranges() }
  }
  try {
    let visits
    // The URLs change a few times per hour.
    do {
      const context = await browser.newContext({ viewport: { width: 1280, height: 1600 } })
      visits = [await visit(context, 'first'), await visit(context, 'second')]
      await context.close()
    } while (visits[0].urls.join() !== visits[1].urls.join())
    const [url] = visits[0].urls
    const before = await loads(browser, origin, url)
    const headers = { Authorization: `Bearer ${revoke.token}` }
    const revoked = await fetch(endpoint + revoke.path, { method: 'DELETE', headers })
    if (revoked.status !== 204) throw new Error(`not revoked: ${revoked.status}`)
    // The end takes effect within a second.
    let after = true
    for (let attempt = 0; after && attempt < 20; attempt += 1) after = await loads(browser, origin, url)
    return { visits: visits.map(({ urls, ...more }) => more), before, after, errors: [...errors] }
  } finally {
    await browser.close()
    server.close()
  }
}

/** Returns whether a browser with an empty cache loads a picture. */
async function loads(browser, origin, url) {
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    await page.goto(origin)
    return await page.evaluate((url) => window.media.loads(url), url)
  } finally {
    await context.close()
  }
}

/** Notes from which cache the browser takes pictures, and where the ranges of the medium begin. */
async function answers(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  const cached = new Set()
  const ranges = []
  session.on('Network.requestServedFromCache', ({ requestId }) => cached.add(requestId))
  session.on('Network.responseReceived', ({ requestId, type, response }) => {
    if (type === 'Image' && response.url.includes('/m/') && response.fromDiskCache) cached.add(requestId)
  })
  session.on('Network.requestWillBeSent', ({ request }) => {
    const range = /^bytes=([0-9]+)-/.exec(request.headers.Range ?? '')
    if (range) ranges.push(Number(range[1]))
  })
  return { pictures: () => cached.size, ranges: () => ranges }
}
