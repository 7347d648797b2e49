// A SOCKS5 server on loopback between the browser and all servers. The offline mode of the browser only stops new requests.
// The relay also breaks the connections of running requests.

import { connect, createServer } from 'node:net'

const NO_AUTHENTICATION = Buffer.from([5, 0])
const CONNECTED = Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
const ADDRESS_IPV4 = 1
const ADDRESS_NAME = 3

/** Starts a relay. `hold` stops all traffic, `cut` breaks and refuses connections, `mend` accepts new ones again. */
export async function startRelay() {
  const sockets = new Set()
  let isCut = false

  function own(socket) {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  }

  const server = createServer(async (client) => {
    own(client)
    if (isCut) return client.destroy()
    try {
      const { host, port } = await handshake(client)
      const target = connect({ host, port }, () => {
        client.write(CONNECTED)
        client.pipe(target).pipe(client)
      })
      own(target)
      client.on('close', () => target.destroy())
      target.on('close', () => client.destroy())
    } catch {
      client.destroy()
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    port: server.address().port,
    hold() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      isCut = false
    },
    close: () => server.close(),
  }
}

/** Returns the host and the port that a client requests. */
async function handshake(client) {
  const [, methods] = await read(client, 2)
  await read(client, methods)
  client.write(NO_AUTHENTICATION)
  const [, , , type] = await read(client, 4)
  return { host: await address(client, type), port: (await read(client, 2)).readUInt16BE() }
}

async function address(client, type) {
  if (type === ADDRESS_IPV4) return [...(await read(client, 4))].join('.')
  if (type === ADDRESS_NAME) return (await read(client, (await read(client, 1))[0])).toString()
  throw new Error(`address type ${type}`)
}

async function read(socket, length) {
  for (;;) {
    const bytes = socket.read(length)
    if (bytes) return bytes
    await new Promise((resolve, reject) => {
      socket.once('readable', resolve)
      socket.once('close', () => reject(new Error('closed')))
    })
  }
}
