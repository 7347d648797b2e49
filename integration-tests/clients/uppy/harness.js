// Code that all pages of this folder share: it uploads one file with Uppy and reports each event to browser.mjs.

const input = document.querySelector('input[type=file]')

/** Lets browser.mjs control the Uppy that `makeUppy(settings, file)` returns. */
export function harness(makeUppy) {
  let uppy
  window.client = {
    start(settings) {
      const [file] = input.files
      uppy = makeUppy(settings, file)
      uppy.on('upload-progress', (_file, { bytesUploaded }) => report('progress', bytesUploaded))
      uppy.on('s3-multipart:part-uploaded', (_file, { PartNumber }) => report('part', PartNumber))
      uppy.on('upload-success', (_file, { uploadURL, body }) =>
        report('success', { url: uploadURL, key: body?.key }))
      uppy.on('upload-error', (_file, error) => report('error', describe(error)))
      uppy.on('complete', ({ successful, failed }) =>
        report('complete', { successful: successful.length, failed: failed.length }))
      uppy.addFile({ name: file.name, type: file.type, data: file, meta: settings.metadata })
      uppy.upload().catch((error) => report('error', describe(error)))
    },
    pause: () => uppy.pauseAll(),
    resume: () => uppy.resumeAll(),
    retry: () => void uppy.retryAll(),
  }
}

function describe(error) {
  return [error, error.cause].filter(Boolean).map(String).join(': ')
}
