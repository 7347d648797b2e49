// Uploads several files in a page without pauses and network failures. The page has another origin than the server, and its
// monitoring adds headers to each request.

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import { TRACING, monitor } from './monitoring.mjs'
import { VERSION_5, bundle, launch, listen, serve } from './page.mjs'

/** The range that pages request of a download. */
const RANGE = 'bytes=1-4'

/** Uploads all files in one page. */
export async function plain(entry, alias, settings) {
  const script = await bundle(entry, alias)
  return inBrowser(settings, (show) => show(script, settings))
}

/** Uploads all files with each example of the tutorial. */
export async function tutorial(settings) {
  const found = examples(readFileSync(settings.tutorial, 'utf8'))
  if (found.length === 0) throw new Error(`no example with Uppy in ${settings.tutorial}`)
  return inBrowser(settings, async (show) => {
    const ran = []
    for (const { name, source } of found) {
      const alias = name === '@uppy/aws-s3 5' ? VERSION_5 : {}
      const script = await bundle({
        source: `${source.replaceAll('http://127.0.0.1:8080', settings.endpoint)}\n;window.uppy = uppy\n` +
          "import { serveUppy } from './pages/upload.js'\nserveUppy(() => uppy)\n",
      }, alias)
      const ways = name.startsWith('@uppy/aws-s3') ? [false, true] : [undefined]
      for (const multipart of ways) {
        const page = await show(script, { ...settings, multipart })
        ran.push({ example: name, ...(multipart && { multipart }), ...page })
      }
    }
    return { examples: ran }
  })
}

/** Returns the examples with Uppy in a text. The first line of each names its package: `// @uppy/aws-s3 5`. */
function examples(text) {
  const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, source]) => source)
  return blocks.filter((source) => source.includes("from '@uppy/core'")).map((source) => {
    const [, name] = source.match(/^\/\/ (@uppy\/[a-z0-9-]+ \d+)/) ?? []
    if (!name) throw new Error(`an example does not begin with its package, as in "// @uppy/tus 6":\n${source}`)
    return { name, source }
  })
}

/** Calls `use` with a function that uploads with a script in a new page. */
async function inBrowser(settings, use) {
  const server = await serve(settings)
  const browser = await launch(settings)
  const requests = []
  const errors = new Set()
  const seen = () => ({ requests, errors: [...errors] })
  const show = async (script, given) => {
    const context = await browser.newContext()
    try {
      server.show(script)
      const page = await context.newPage()
      listen(page, settings.origin, (request) => requests.push(request), (error) => errors.add(error))
      return await upload(page, given)
    } finally {
      await context.close()
    }
  }
  try {
    return { ...(await use(show)), ...seen() }
  } catch (error) {
    throw Object.assign(error, { details: { ...error.details, ...seen() } })
  } finally {
    await browser.close()
    server.close()
  }
}

async function upload(page, settings) {
  const { endpoint, token, origin, files, multipart, tracing = true, timeout_seconds = 60 } = settings
  await page.addInitScript(`window.token = ${JSON.stringify(token)}`)
  await page.addInitScript(monitor, { endpoint, headers: tracing ? TRACING : {} })
  await page.goto(origin)
  await page.setInputFiles('input[type=file]', files)
  const asked = page.evaluate((given) => window.client.upload(given), { endpoint, token, multipart })
  const result = await within(timeout_seconds, asked, 'the uploads')
  const uploads = result.uploads.map((upload) => ({ ...upload, file_id: idOf(upload) }))
  uploads.sort((a, b) => a.index - b.index)
  const [first] = uploads
  const download = first && await within(timeout_seconds, page.evaluate(fetchRange, {
    url: `${endpoint}/v1/files/${first.file_id}/content`, token, range: RANGE,
  }), 'the download')
  return { uploads, failed: result.failed, download, readable: readable(await page.evaluate(() => window.answers)) }
}

/** Returns the id of the file from the result of the client. */
function idOf({ url, body }) {
  return body?.file_id ?? body?.key?.split('/')[2] ?? url?.split('/').pop()
}

/** Runs in the page. Waits until the file is verified, and downloads a part of it with the ETag of `HEAD` as a condition. */
async function fetchRange({ url, token, range }) {
  const headers = { Authorization: `Bearer ${token}` }
  const pick = ({ status, headers }) => ({
    status,
    ...Object.fromEntries(['content-range', 'content-disposition', 'content-type', 'etag', 'repr-digest'].map(
      (name) => [name.replace('-', '_'), headers.get(name)])),
  })
  for (;;) {
    let head
    try {
      head = await fetch(url, { method: 'HEAD', headers })
    } catch (error) {
      return { error: String(error) }
    }
    if (head.ok) {
      const etag = head.headers.get('etag')
      try {
        const answer = await fetch(url, { headers: { ...headers, Range: range, ...(etag && { 'If-Range': etag }) } })
        const bytes = (await answer.arrayBuffer()).byteLength
        if (answer.status !== 503) return { ...pick(answer), bytes }
      } catch (error) {
        return { error: String(error), etag }
      }
    }
    // The file is not stored or not verified yet, or the server asks for a retry.
    if (!head.ok && ![404, 409, 503].includes(head.status)) return { status: head.status }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Returns the names of all headers that the page could read, for each kind of request and status. */
function readable(answers) {
  const kinds = {}
  for (const { request, status, headers } of answers) {
    const kind = `${request.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|(?<=s3\/multipart\/)[^/]+/g, '{id}')} ${status}`
    kinds[kind] = [...new Set([...(kinds[kind] ?? []), ...Object.keys(headers)])].sort()
  }
  return kinds
}

async function within(seconds, promise, what) {
  const late = Symbol('late')
  const first = await Promise.race([promise, sleep(seconds * 1000, late, { ref: false })])
  if (first === late) throw new Error(`${what} took more than ${seconds} s`)
  return first
}
