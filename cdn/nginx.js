// Checks media URLs of Waybill in nginx with njs. nginx.conf shows its use.

import crypto from 'crypto'

const FORM = /^(\/m\/[0-9a-f-]{36}\/[0-9a-f-]{36}\/[0-9a-f]{16}\/[a-z0-9-]+)\?e=([0-9]+)&t=[0-9]+&f=([ia])m?&u=[0-9a-f-]{36}&v=[0-9]+&k=([0-9a-f]{8})&s=([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/

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

// Returns the `Cache-Control` for the browser: it may keep the bytes until its own URL ends, not that of the user who came first.
function cacheControl(request) {
  const parts = FORM.exec(request.variables.request_uri)
  const seconds = parts ? Number(parts[2]) - Math.floor(Date.now() / 1000) : 0
  return seconds > 0 ? 'private, max-age=' + seconds + ', immutable' : 'no-store'
}

// Value of a variable. `$waybill_media_keys` has the lines that `waybill media-keys` prints, separated by commas.
function cacheKey(request) {
  const keys = {}
  request.variables.waybill_media_keys.split(',').forEach((line) => {
    const parts = line.trim().split(' ')
    keys[parts[0]] = parts[1]
  })
  return check(request.variables.request_uri, keys, Date.now() / 1000)
}

export default { check, cacheControl, cacheKey }
