// Uploads with tus-js-client: node tus-js.mjs SCENARIO SETTINGS, see README.md.

import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough, Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileUrlStorage, Upload, defaultOptions } from 'tus-js-client'

import { report } from './report.mjs'

const MIB = 1024 * 1024
const CHUNK = 5 * MIB + 1
const PATIENCE_MS = 60_000

const scenarios = {
  plain: (job) => job.upload({}),
  chunked: (job) => job.upload({ chunkSize: CHUNK }),
  parallel: (job) => job.upload({ parallelUploads: 3 }),
  creation_with_data: (job) => job.upload({ uploadDataDuringCreation: true }),
  deferred_length: (job) =>
    job.upload({ uploadLengthDeferred: true, chunkSize: CHUNK }, job.stream()),
  abort_resume: (job) => abortAndResume(job, {}),
  terminate,
  deleted_then_again: deletedThenAgain,
  refused_type: refusedType,
  ietf03: (job) => job.upload({ protocol: 'ietf-draft-03' }),
  ietf05: (job) => job.upload({ protocol: 'ietf-draft-05' }),
  ietf05_creation_with_data: (job) =>
    job.upload({ protocol: 'ietf-draft-05', uploadDataDuringCreation: true }),
  ietf05_abort_resume: (job) => abortAndResume(job, { protocol: 'ietf-draft-05' }),
}

/** The settings of a run, and the requests of tus-js-client. */
class Job {
  constructor(settings) {
    this.settings = settings
    this.size = statSync(settings.file).size
    this.abortAfter = settings.abort_after ?? Math.floor(this.size / 2)
    /** Requests and statuses, as "PATCH 204". */
    this.requests = []
    /** The Upload-Offset of every PATCH. */
    this.offsets = []
  }

  /** A stream with a path. tus-js-client opens the file itself and can read any range. */
  file() {
    return createReadStream(this.settings.file)
  }

  /** A stream without a path. Its length is unknown, and it cannot be read twice. */
  stream() {
    return this.file().pipe(new PassThrough())
  }

  options(more) {
    const { endpoint, token, metadata = {}, bytes_per_second } = this.settings
    return {
      endpoint,
      metadata,
      headers: { Authorization: `Bearer ${token}` },
      ...(bytes_per_second && { fileReader: slowed(bytes_per_second) }),
      onBeforeRequest: (request) => {
        if (request.getMethod() === 'PATCH') this.offsets.push(Number(request.getHeader('Upload-Offset')))
      },
      onAfterResponse: (request, response) => {
        this.requests.push(`${request.getMethod()} ${response.getStatus()}`)
      },
      ...more,
    }
  }

  /** Uploads to the end. */
  upload(more, input = this.file()) {
    return new Promise((resolve, reject) => {
      const upload = new Upload(input, this.options({
        ...more,
        onError: reject,
        onSuccess: () => resolve({ url: upload.url }),
      }))
      upload.start()
    })
  }

  /** Deletes the upload with tus, or the file with the HTTP API as soon as it is verified. */
  async delete(upload) {
    const { token, delete: by } = this.settings
    const url = by === 'file' ? new URL(`/v1/files/${upload.split('/').pop()}`, upload) : upload
    const headers = { Authorization: `Bearer ${token}`, 'Tus-Resumable': '1.0.0' }
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const { ok, status } = await fetch(url, { method: 'DELETE', headers })
      if (ok) return status
      if (![404, 409, 503].includes(status) || performance.now() > deadline) {
        throw new Error(`DELETE ${url} answers ${status}`)
      }
      await sleep(100)
    }
  }

  /** Starts an upload, and returns it after `abortAfter` sent bytes while it is still running. */
  uploadHalf(more) {
    return new Promise((resolve, reject) => {
      const upload = new Upload(this.file(), this.options({
        fileReader: slowed(this.settings.bytes_per_second ?? 16 * MIB),
        ...more,
        onError: reject,
        onSuccess: () => reject(new Error('the upload ended before it could be aborted')),
        onProgress: (sent) => {
          if (sent >= this.abortAfter) resolve({ upload, sent })
        },
      }))
      upload.start()
    })
  }
}

/** Aborts in the middle of a PATCH. Another Upload finds the URL in the storage and resumes. */
async function abortAndResume(job, more) {
  const folder = mkdtempSync(path.join(tmpdir(), 'tus-js-'))
  try {
    const urlStorage = new FileUrlStorage(path.join(folder, 'urls.json'))
    const { upload, sent } = await job.uploadHalf({ ...more, urlStorage })
    await upload.abort()
    const firstTry = job.offsets.length
    const { url } = await resume(job, { ...more, urlStorage })
    return { url, first_url: upload.url, sent_before: sent, resumed_at: job.offsets[firstTry] ?? null }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function resume(job, more) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(job.file(), job.options({
      ...more,
      onError: reject,
      onSuccess: () => resolve({ url: upload.url }),
    }))
    upload.findPreviousUploads().then(([previous]) => {
      if (!previous) throw new Error('the first upload left nothing in the URL storage')
      upload.resumeFromPreviousUpload(previous)
      upload.start()
    }).catch(reject)
  })
}

/** Aborts in the middle of a PATCH and deletes the upload. */
async function terminate(job) {
  const { upload, sent } = await job.uploadHalf({})
  await upload.abort(true)
  const { Authorization } = upload.options.headers
  const head = await fetch(upload.url, {
    method: 'HEAD',
    headers: { Authorization, 'Tus-Resumable': '1.0.0' },
  })
  if (![404, 410].includes(head.status)) throw new Error(`HEAD after termination answers ${head.status}`)
  return { url: upload.url, sent_before: sent, head_status: head.status }
}

/** Uploads a file, deletes it, and uploads it again while the URL storage still has the first upload. */
async function deletedThenAgain(job) {
  const folder = mkdtempSync(path.join(tmpdir(), 'tus-js-'))
  try {
    const urlStorage = new FileUrlStorage(path.join(folder, 'urls.json'))
    const { url: firstUrl } = await job.upload({ urlStorage })
    const deleted = await job.delete(firstUrl)
    const { url } = await resume(job, { urlStorage })
    return { first_url: firstUrl, delete_status: deleted, url }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Uploads a file with a type that the server refuses. The creation can also have the bytes. */
async function refusedType(job) {
  const { metadata, filetype = 'application/x-msdownload', with_data = true, in_memory = true } = job.settings
  try {
    const { url } = await job.upload({
      metadata: { ...metadata, filetype },
      uploadDataDuringCreation: with_data,
      retryDelays: [0, 100],
    }, in_memory ? readFileSync(job.settings.file) : job.file())
    return { url, status: null, message: null }
  } catch (error) {
    const answer = error.originalResponse
    return { status: answer?.getStatus() ?? null, body: answer?.getBody() ?? null, message: error.message }
  }
}

/** The file reader of tus-js-client with a limited speed. */
function slowed(bytesPerSecond) {
  const inner = defaultOptions.fileReader
  return {
    async openFile(input, chunkSize) {
      const source = await inner.openFile(input, chunkSize)
      return {
        size: source.size,
        async slice(start, end) {
          const { value, done } = await source.slice(start, end)
          return { value: Object.assign(value.pipe(throttle(bytesPerSecond)), { size: value.size }), done }
        },
        close: () => source.close(),
      }
    },
  }
}

function throttle(bytesPerSecond) {
  const started = performance.now()
  let passed = 0
  return new Transform({
    async transform(bytes, _encoding, done) {
      passed += bytes.length
      await sleep(Math.max(0, started + (passed / bytesPerSecond) * 1000 - performance.now()))
      done(null, bytes)
    },
  })
}

await report(scenarios, async (scenario, settings) => {
  const job = new Job(settings)
  try {
    return { ...(await scenario(job)), bytes: job.size, requests: job.requests }
  } catch (error) {
    throw Object.assign(error, { details: { requests: job.requests } })
  }
})
