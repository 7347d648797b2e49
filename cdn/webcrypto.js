// Checks media URLs of Waybill on platforms with the Web Cryptography API. cloudflare.js and fastly.js use it.

const FORM = /^(\/m\/[0-9a-f-]{36}\/[0-9a-f-]{36}\/[0-9a-f]{16}\/[a-z0-9-]+)\?e=([0-9]+)&t=[0-9]+&f=([ia])m?&u=[0-9a-f-]{36}&v=[0-9]+&k=([0-9a-f]{8})&s=([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/

// Returns the name under which a cache keeps the bytes, or '' if the URL must be refused.
export async function check(url, keys, seconds) {
  const parts = FORM.exec(url)
  const key = parts && keys[parts[4]]
  if (!key || Number(parts[2]) <= seconds) return ''
  const text = (value) => new TextEncoder().encode(value)
  const hmac = { name: 'HMAC', hash: 'SHA-256' }
  const secret = await crypto.subtle.importKey('raw', text(key), hmac, false, ['verify'])
  const signature = Uint8Array.from(atob(parts[5].replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
  const signed = text('waybill media 1\0' + url.slice(0, -parts[5].length - '&s='.length))
  const isValid = await crypto.subtle.verify('HMAC', secret, signature, signed)
  return isValid ? parts[1] + '#' + parts[3] : ''
}

// Tells the browser that it may keep the bytes until its own URL ends, not that of the user who came first.
export function kept(answer, url) {
  const headers = new Headers(answer.headers)
  const seconds = Number(FORM.exec(url)[2]) - Math.floor(Date.now() / 1000)
  const isKept = answer.status < 300 || answer.status === 304
  headers.set('cache-control', isKept ? `private, max-age=${seconds}, immutable` : 'no-store')
  headers.delete('age')
  return new Response(answer.body, { status: answer.status, headers })
}
