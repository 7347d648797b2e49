// Reads a file in a page of another origin. The browser decides which content codings it accepts.

import { launch, listen, serve } from './page.mjs'

/** Returns the SHA-256 of the bytes that the page gets, and the content coding of the answer. */
export async function coded(settings) {
  const { origin, endpoint, token, id } = settings
  const server = await serve(settings)
  const browser = await launch(settings)
  const errors = new Set()
  try {
    const page = await browser.newPage()
    listen(page, origin, () => {}, (error) => errors.add(error))
    await page.goto(origin)
    const url = `${endpoint}/v1/files/${id}/content`
    const answered = page.waitForResponse((response) => response.url() === url && response.request().method() === 'GET')
    const sha256 = await page.evaluate(async ({ url, token }) => {
      const answer = await fetch(url, { headers: { Authorization: `Bearer ${token}` } })
      const digest = await crypto.subtle.digest('SHA-256', await answer.arrayBuffer())
      return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    }, { url, token })
    const coding = (await (await answered).allHeaders())['content-encoding']
    return { sha256, coding, errors: [...errors] }
  } finally {
    await browser.close()
    server.close()
  }
}
