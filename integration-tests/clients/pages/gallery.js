// A page that shows the pictures of a user: first placeholders from the list, then the previews.

import { thumbHashToAverageRGBA, thumbHashToDataURL } from 'thumbhash'

let settings
let pictures

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0))

window.gallery = {
  /** Shows a placeholder for each picture. Returns the number of pictures. */
  async list({ endpoint, token }) {
    settings = { endpoint, headers: { Authorization: `Bearer ${token}` } }
    const answer = await fetch(`${endpoint}/v1/files?view=list&preview=made&limit=200`, { headers: settings.headers })
    if (!answer.ok) throw new Error(`no list: ${answer.status} ${await answer.text()}`)
    const { items } = await answer.json()
    document.body.style = 'margin: 8px; display: flex; flex-wrap: wrap; align-items: flex-start; gap: 4px; background: #fff'
    pictures = items.map(({ id, name, preview }) => {
      const image = document.createElement('img')
      image.alt = name
      image.style = `width: 80px; aspect-ratio: ${preview.width} / ${preview.height}`
      image.src = thumbHashToDataURL(bytesOf(preview.thumbhash))
      document.body.append(image)
      return { id, image, preview }
    })
    await Promise.all(pictures.map(({ image }) => image.decode()))
    return pictures.length
  },

  /** Returns the average colour of each placeholder: red, green and blue from 0 to 255. */
  colours() {
    return pictures.map(({ preview }) => {
      const { r, g, b } = thumbHashToAverageRGBA(bytesOf(preview.thumbhash))
      return [r, g, b].map((part) => Math.round(part * 255))
    })
  },

  /** Replaces the placeholders. Returns the size of each preview, and the colour in its middle. */
  async show() {
    return Promise.all(pictures.map(async ({ id, image }) => {
      const answer = await fetch(`${settings.endpoint}/v1/files/${id}/variants/preview-256`, { headers: settings.headers })
      if (!answer.ok) throw new Error(`no preview: ${answer.status} ${await answer.text()}`)
      image.src = URL.createObjectURL(await answer.blob())
      await image.decode()
      const canvas = new OffscreenCanvas(1, 1)
      const context = canvas.getContext('2d')
      context.drawImage(image, image.naturalWidth / 2, image.naturalHeight / 2, 1, 1, 0, 0, 1, 1)
      const [r, g, b] = context.getImageData(0, 0, 1, 1).data
      return { width: image.naturalWidth, height: image.naturalHeight, colour: [r, g, b] }
    }))
  },
}
