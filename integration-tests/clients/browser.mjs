// Uploads in Chromium: node browser.mjs SCENARIO SETTINGS, see README.md.

import { coded } from './coded.mjs'
import { gallery } from './gallery.mjs'
import { media } from './media.mjs'
import { interrupted } from './interrupted.mjs'
import { VERSION_5 } from './page.mjs'
import { plain, tutorial } from './plain.mjs'
import { report } from './report.mjs'

const paused = (page, alias) => (settings) => interrupted({ page: `uppy/${page}`, alias }, settings)
const several = (page, alias) => (settings) => plain({ page: `pages/${page}` }, alias, settings)

const scenarios = {
  tus: paused('tus.js'),
  s3_v5: paused('s3_v5.js', VERSION_5),
  s3_v6: paused('s3_v6.js'),
  tus_plain: several('tus.js'),
  tus_js_page: several('tus_js.js'),
  s3_v5_plain: several('s3_v5.js', VERSION_5),
  s3_v6_plain: several('s3_v6.js'),
  xhr: several('xhr.js'),
  watched: several('watched.js'),
  tutorial,
  gallery,
  media,
  coded,
}

await report(scenarios, (scenario, settings) => scenario(settings))
