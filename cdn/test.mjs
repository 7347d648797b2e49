// Checks all edges with the examples of vectors.json: node --test cdn

import assert from 'node:assert'
import { readFileSync } from 'node:fs'
import test, { after } from 'node:test'
import vm from 'node:vm'
import crypto from 'node:crypto'
import { answer as fastlyAnswer } from './fastly.js'
import nginx from './nginx.js'
import cloudflareWorker from './cloudflare.js'
import { check as webcrypto } from './webcrypto.js'

const { keys, now, urls } = JSON.parse(readFileSync(new URL('vectors.json', import.meta.url), 'utf8'))

// Returns the functions of the CloudFront Function, which is no module there.
function cloudfront(known, seconds) {
  const source = readFileSync(new URL('cloudfront.js', import.meta.url), 'utf8')
  const script = source.replace("import crypto from 'crypto'", '').replace(/const KEYS = .*/, 'const KEYS = known')
  class At extends Date {
    static now() {
      return seconds * 1000
    }
  }
  return vm.runInNewContext(`${script}\n;({ check, handler })`, { crypto, known, Date: At })
}

const checks = { nginx: nginx.check, webcrypto, cloudfront: cloudfront(keys, now).check }

for (const [name, check] of Object.entries(checks)) {
  for (const { what, url, cache_key } of urls) {
    test(`${name}: ${what}`, async () => assert.strictEqual(await check(url, keys, now), cache_key))
  }
  test(`${name}: any other character`, async () => {
    const { url } = urls[0]
    for (let at = 0; at < url.length; at++) {
      const other = String.fromCharCode(url.charCodeAt(at) ^ 1)
      const changed = url.slice(0, at) + other + url.slice(at + 1)
      assert.strictEqual(await check(changed, keys, now), '', changed)
    }
  })
}

// The `Cache-Control` that a browser must get: as long as its own URL.
const KEPT = (url) => `private, max-age=${Number(/e=([0-9]+)/.exec(url)[1]) - now}, immutable`

const lines = Object.entries(keys).map((line) => line.join(' '))

test('nginx: variables', () => {
  const variables = { waybill_media_keys: lines.join(', '), request_uri: urls[0].url }
  const clock = Date.now
  Date.now = () => now * 1000
  try {
    assert.strictEqual(nginx.cacheKey({ variables }), urls[0].cache_key)
    assert.strictEqual(nginx.cacheControl({ variables }), KEPT(urls[0].url))
  } finally {
    Date.now = clock
  }
})

test('cloudfront: events', () => {
  const { handler } = cloudfront(keys, now)
  for (const { what, url, cache_key } of urls) {
    const [uri, query] = url.split('?')
    const querystring = {}
    for (const [name, value] of new URLSearchParams(query)) {
      querystring[name] = name in querystring ? { value, multiValue: [] } : { value }
    }
    const passed = handler({ context: { eventType: 'viewer-request' }, request: { uri, querystring } })
    assert.strictEqual(passed.statusCode === 403, cache_key === '' && !what.includes('order'), what)
    if (!cache_key) continue
    for (const [statusCode, value] of [[200, KEPT(url)], [304, KEPT(url)], [410, 'no-store']]) {
      const response = { statusCode, headers: { 'cache-control': { value: 'private, max-age=9' }, age: { value: '5' } } }
      const given = { context: { eventType: 'viewer-response' }, request: { querystring }, response }
      assert.strictEqual(JSON.stringify(handler(given).headers), JSON.stringify({ 'cache-control': { value } }), what)
    }
  }
})

function browserKeeps(answer, url, isValid) {
  assert.strictEqual(answer.headers.get('cache-control'), isValid ? KEPT(url) : 'no-store')
  assert.strictEqual(answer.headers.get('age'), null)
}

async function withFetch(run) {
  const [fetched, clock] = [globalThis.fetch, Date.now]
  const calls = []
  const headers = { 'cache-control': 'private, max-age=9', age: '5', etag: '"a"' }
  globalThis.fetch = async (...call) => calls.push(call) && new Response('bytes', { headers })
  Date.now = () => now * 1000
  try {
    await run(calls)
  } finally {
    globalThis.fetch = fetched
    Date.now = clock
  }
}

test('cloudflare: requests', () =>
  withFetch(async (calls) => {
    const env = { MEDIA_KEYS: `${lines.join('\n')}\n`, ORIGIN: 'https://origin.example' }
    for (const { what, url, cache_key } of urls.filter(({ what }) => what !== 'an encoded path')) {
      calls.length = 0
      const answer = await cloudflareWorker.fetch(new Request(`https://media.example${url}`), env)
      assert.strictEqual(answer.status, cache_key ? 200 : 403, what)
      assert.strictEqual(calls.length, cache_key ? 1 : 0, what)
      if (cache_key) assert.strictEqual(calls[0][1].cf.cacheKey, cache_key)
      if (cache_key) assert.deepStrictEqual(calls[0][1].cf.cacheTags, [url.split('/')[3]])
      browserKeeps(answer, url, cache_key)
    }
  }))

test('fastly: requests', () =>
  withFetch(async (calls) => {
    class SecretStore {
      get = async () => ({ plaintext: () => `${lines.join('\n')}\n` })
    }
    class CacheOverride {
      constructor({ afterSend, surrogateKey, ...unknown }) {
        assert.deepStrictEqual(unknown, {})
        Object.assign(this, { afterSend, surrogateKey })
      }
    }
    // The platform has this further property of requests.
    const { Request: Usual } = globalThis
    globalThis.Request = class extends Usual {
      constructor(request, init) {
        super(request)
        this.cacheKey = init?.cacheKey
      }
    }
    after(() => (globalThis.Request = Usual))
    for (const { what, url, cache_key } of urls.filter(({ what }) => what !== 'an encoded path')) {
      calls.length = 0
      const answer = await fastlyAnswer(new Request(`https://media.example${url}`), { SecretStore }, { CacheOverride })
      assert.strictEqual(answer.status, cache_key ? 200 : 403, what)
      browserKeeps(answer, url, cache_key)
      if (!cache_key) continue
      assert.strictEqual(calls[0][0].cacheKey, cache_key)
      assert.strictEqual(calls[0][1].cacheOverride.surrogateKey, url.split('/')[3])
      const stored = { status: 200 }
      assert.deepStrictEqual(calls[0][1].cacheOverride.afterSend(stored), { cache: true })
      assert.ok(stored.ttl > 0)
      assert.deepStrictEqual(calls[0][1].cacheOverride.afterSend({ status: 410 }), { cache: false })
    }
  }))
