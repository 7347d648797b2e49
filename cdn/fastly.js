/// <reference types="@fastly/js-compute" />
// Checks media URLs of Waybill in Fastly Compute, and keeps the bytes in the cache. The secret store `waybill` has the entry
// `media_keys` with the lines that `waybill media-keys` prints; the backend `waybill` is the address of Waybill.

import { check, kept } from './webcrypto.js'

// Answers a request. The second and third parameter are the modules `fastly:secret-store` and `fastly:cache-override`.
export async function answer(request, { SecretStore }, { CacheOverride }) {
  const { pathname, search } = new URL(request.url)
  const lines = (await new SecretStore('waybill').get('media_keys')).plaintext()
  const keys = Object.fromEntries(lines.trim().split('\n').map((line) => line.trim().split(' ')))
  const name = await check(pathname + search, keys, Date.now() / 1000)
  if (!name) return new Response('Forbidden\n', { status: 403, headers: { 'cache-control': 'no-store' } })
  const afterSend = (response) => {
    if (response.status >= 300) return { cache: false }
    response.ttl = 86400
    return { cache: true }
  }
  const keyed = new Request(request, { cacheKey: name })
  // A request to purge this key, the id of the file, removes its bytes.
  const cacheOverride = new CacheOverride({ afterSend, surrogateKey: pathname.split('/')[3] })
  const answer = await fetch(keyed, { backend: 'waybill', cacheOverride })
  return kept(answer, pathname + search)
}

if (typeof addEventListener === 'function' && typeof process === 'undefined') {
  const modules = Promise.all([import('fastly:secret-store'), import('fastly:cache-override')])
  addEventListener('fetch', (event) => event.respondWith(modules.then((both) => answer(event.request, ...both))))
}
