// A page that shows pictures and plays a medium with media URLs.

let urls

window.media = {
  /** Shows all files. Returns their URLs, and the number of pictures that the browser could show. */
  async show({ endpoint, token, files, sound }) {
    const make = async (items) => {
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
      const body = JSON.stringify({ items, ttl_s: 3600 })
      const answer = await fetch(`${endpoint}/v1/media-urls`, { method: 'POST', headers, body })
      if (!answer.ok) throw new Error(`no URLs: ${answer.status} ${await answer.text()}`)
      const made = await answer.json()
      return made.items.map(({ url, problem }) => {
        if (problem) throw new Error(problem.code)
        return new URL(url, endpoint).href
      })
    }
    urls = [...await make(files.map((file_id) => ({ file_id }))), ...await make([{ file_id: sound }])]
    document.body.style = 'margin: 8px; display: flex; flex-wrap: wrap; gap: 4px; background: #fff'
    const images = urls.slice(0, -1).map((url) => {
      const image = document.createElement('img')
      image.style = 'width: 80px'
      image.src = url
      document.body.append(image)
      return image
    })
    await Promise.all(images.map((image) => image.decode()))
    return { urls, shown: images.filter((image) => image.naturalWidth === 400).length }
  },

  /** Plays the last file from a time in seconds on. */
  async play(seconds) {
    const video = document.createElement('video')
    const happens = (name) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true })
      video.addEventListener('error', () => reject(new Error(video.error.message)), { once: true })
    })
    video.controls = true
    video.muted = true
    video.preload = 'metadata'
    document.body.append(video)
    const known = happens('loadedmetadata')
    video.src = urls.at(-1)
    await known
    const moved = happens('seeked')
    video.currentTime = seconds
    await moved
    return { duration: video.duration, at: video.currentTime }
  },

  /** Returns whether the browser can show a picture. */
  loads(url) {
    return new Promise((resolve) => {
      const image = document.createElement('img')
      image.addEventListener('load', () => resolve(true))
      image.addEventListener('error', () => resolve(false))
      image.src = url
    })
  },
}
