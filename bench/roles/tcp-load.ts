import { connect, createServer, type AddressInfo } from 'node:net'
import { measureBytes } from '../measure.ts'

const CHUNK = Buffer.alloc(64 * 1024, 1)

/** A TCP server that pours bytes at whoever connects. */
async function pour(): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    const fill = (): void => {
      while (!socket.destroyed && socket.write(CHUNK));
    }
    socket.on('drain', fill)
    fill()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Reads from one TCP connection for a while; MB/s. */
async function drink({ port, seconds }: { port: number; seconds: number }): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1' })
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject)
  })
  return await measureBytes(async (took) => {
    const untilMs = performance.now() + seconds * 1000
    await new Promise<void>((resolve, reject) => {
      socket.once('close', () => {
        reject(new Error('the connection ended'))
      })
      socket.on('data', (chunk) => {
        took(chunk.length)
        if (performance.now() < untilMs) return
        socket.removeAllListeners('close')
        socket.destroy()
        resolve()
      })
    })
  })
}

export const role = { pour, drink }
