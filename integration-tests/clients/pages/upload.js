// Code that all pages of this folder share: it uploads the files of the input and reports the result of each.

const input = document.querySelector('input[type=file]')

/** Lets plain.mjs upload with the Uppy that `makeUppy(settings)` returns. */
export function serveUppy(makeUppy) {
  window.client = {
    async upload(settings) {
      const uppy = makeUppy(settings)
      const { multipart } = settings
      if (multipart !== undefined) {
        const plugin = uppy.getPlugin('AwsS3') ?? uppy.getPlugin('AwsS3Multipart')
        plugin.setOptions({ shouldUseMultipart: multipart })
      }
      const ids = [...input.files].map((file) =>
        uppy.addFile({ name: file.name, type: file.type, data: file, source: 'page' }))
      const { successful, failed } = await uppy.upload()
      const told = ({ id, name, size }) => ({ index: ids.indexOf(id), name, size })
      return {
        uploads: successful.map((file) => {
          const { status, body, uploadURL } = file.response
          return { ...told(file), status, body, url: uploadURL }
        }),
        failed: failed.map((file) => ({ ...told(file), error: String(file.error) })),
      }
    },
  }
}

/** Lets plain.mjs upload with `upload(file, settings)`, which returns `{ status, body, url }`. */
export function serveUploads(upload) {
  window.client = {
    async upload(settings) {
      const answer = { uploads: [], failed: [] }
      await Promise.all([...input.files].map(async (file, index) => {
        const told = { index, name: file.name, size: file.size }
        try {
          answer.uploads.push({ ...told, ...(await upload(file, settings)) })
        } catch (error) {
          answer.failed.push({ ...told, error: String(error) })
        }
      }))
      return answer
    },
  }
}
