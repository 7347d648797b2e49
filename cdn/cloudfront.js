// Checks media URLs of Waybill in a CloudFront Function (runtime 2.0) at the events "viewer request" and "viewer response". The cache
// policy needs the query parameter f and no other, and a minimum TTL above 0, because the answers are private for other caches. The
// origin request policy needs all query parameters. Set the minimum TTL of all errors to 0.

import crypto from 'crypto'

// The lines that `waybill media-keys` prints.
const KEYS = { 'the id': 'the key' }

const FORM = /^(\/m\/[0-9a-f-]{36}\/[0-9a-f-]{36}\/[0-9a-f]{16}\/[a-z0-9-]+)\?e=([0-9]+)&t=[0-9]+&f=([ia])m?&u=[0-9a-f-]{36}&v=[0-9]+&k=([0-9a-f]{8})&s=([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/

// The order in which the parameters were signed. CloudFront gives them as an object.
const PARAMETERS = ['e', 't', 'f', 'u', 'v', 'k', 's']

// Returns the name under which a cache keeps the bytes, or '' if the URL must be refused.
function check(url, keys, seconds) {
  const parts = FORM.exec(url)
  const key = parts && keys[parts[4]]
  if (!key || Number(parts[2]) <= seconds) return ''
  const signed = url.slice(0, -parts[5].length - '&s='.length)
  const signature = crypto.createHmac('sha256', key).update('waybill media 1\0' + signed).digest('base64url')
  return equal(signature, parts[5]) ? parts[1] + '#' + parts[3] : ''
}

// Compares two texts of the same length in a time that does not depend on where they differ.
function equal(one, other) {
  let difference = 0
  for (let at = 0; at < one.length; at++) difference |= one.charCodeAt(at) ^ other.charCodeAt(at)
  return difference === 0
}

function handler(event) {
  return event.context.eventType === 'viewer-response' ? kept(event) : checked(event)
}

function checked(event) {
  const given = event.request.querystring
  const names = Object.keys(given)
  const parameters = PARAMETERS.filter((name) => given[name]).map((name) => name + '=' + given[name].value)
  const isWhole = names.length === PARAMETERS.length && names.every((name) => !given[name].multiValue)
  const url = event.request.uri + '?' + parameters.join('&')
  if (isWhole && check(url, KEYS, Date.now() / 1000)) return event.request
  return { statusCode: 403, statusDescription: 'Forbidden', headers: { 'cache-control': { value: 'no-store' } } }
}

// Tells the browser that it may keep the bytes until its own URL ends, not that of the user who came first.
function kept(event) {
  const response = event.response
  const isKept = response.statusCode < 300 || response.statusCode === 304
  const end = event.request.querystring.e
  const seconds = end ? Number(end.value) - Math.floor(Date.now() / 1000) : 0
  const value = isKept && seconds > 0 ? 'private, max-age=' + seconds + ', immutable' : 'no-store'
  response.headers['cache-control'] = { value: value }
  delete response.headers.age
  return response
}
