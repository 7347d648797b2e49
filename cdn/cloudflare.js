// Checks media URLs of Waybill in a Cloudflare Worker, and keeps the bytes in the cache. The secret MEDIA_KEYS has the lines that
// `waybill media-keys` prints; the variable ORIGIN is the address of Waybill.

import { check, kept } from './webcrypto.js'

export default {
  async fetch(request, env) {
    const { pathname, search } = new URL(request.url)
    const keys = Object.fromEntries(env.MEDIA_KEYS.trim().split('\n').map((line) => line.trim().split(' ')))
    const name = await check(pathname + search, keys, Date.now() / 1000)
    if (!name) return new Response('Forbidden\n', { status: 403, headers: { 'cache-control': 'no-store' } })
    // `cacheKey` needs the Enterprise plan. Without it, each user has an own copy.
    const cf = { cacheEverything: true, cacheKey: name, cacheTtlByStatus: { '200-206': 86400, '300-599': 0 } }
    // A request to purge this tag, the id of the file, removes its bytes.
    cf.cacheTags = [pathname.split('/')[3]]
    const answer = await fetch(env.ORIGIN + pathname + search, { method: request.method, headers: request.headers, cf })
    return kept(answer, pathname + search)
  },
}
