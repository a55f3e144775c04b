import type { Socket } from 'node:net'
import { PosternError } from '../base/errors.ts'
import { on, once } from './edge.ts'

const HEAD_BYTES_MAX = 16 * 1024
const HEAD_END = '\r\n\r\n'
/** Answers that only say that another comes (RFC 9110 section 15.2), of which a proxy may send a few. */
const INTERIM_MAX = 8

/**
 * The status of a proxy's final answer to CONNECT. What comes behind its head is the tunnel's, and stays on the
 * socket, paused. @throws PROXY_REFUSED for what is no HTTP, and what the socket fails with
 */
export async function connectStatus(socket: Socket, signal: AbortSignal): Promise<number> {
  let bytes = Buffer.alloc(0)
  let interim = 0
  return await new Promise((resolve, reject) => {
    const finish = (act: () => void): void => {
      for (const off of offs) off()
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const fail = (error: Error): void => {
      finish(() => {
        reject(error)
      })
    }
    const onAbort = (): void => {
      fail(new Error('aborted'))
    }
    const offs = [
      on(socket, 'data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk])
        for (;;) {
          const end = bytes.indexOf(HEAD_END)
          if (end === -1 && bytes.length <= HEAD_BYTES_MAX) return
          const status = statusOf(bytes)
          if (end === -1 || status === undefined || interim > INTERIM_MAX) {
            fail(new PosternError('PROXY_REFUSED', 'the proxy does not answer in HTTP'))
            return
          }
          bytes = bytes.subarray(end + HEAD_END.length)
          // 101 would be another protocol, and no answer to CONNECT.
          if (status >= 200 || status === 101) {
            finish(() => {
              socket.pause()
              if (bytes.length > 0) socket.unshift(bytes)
              resolve(status)
            })
            return
          }
          interim++
        }
      }),
      once(socket, 'error', fail),
      once(socket, 'close', () => {
        fail(new Error('the proxy hung up'))
      }),
    ]
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

function statusOf(bytes: Buffer): number | undefined {
  const line = bytes.subarray(0, 64).toString('latin1')
  const [, status] = /^HTTP\/1\.[01] (\d{3})(?: |\r\n)/.exec(line) ?? []
  return status === undefined ? undefined : Number(status)
}
