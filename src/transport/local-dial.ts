import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, once } from './edge.ts'

/** Connects to a unix socket of somebody else's. @throws TARGET_UNREACHABLE */
export async function dialSocket(path: string, signal: AbortSignal): Promise<Duplex> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    const fail = (why: string): void => {
      socket.destroy()
      reject(
        new PosternError('TARGET_UNREACHABLE', `the socket did not take the connection (${why})`),
      )
    }
    const onAbort = (): void => {
      fail('no answer in time')
    }
    signal.addEventListener('abort', onAbort, { once: true })
    once(socket, 'error', ({ code = 'unknown' }: NodeJS.ErrnoException) => {
      signal.removeEventListener('abort', onAbort)
      fail(code)
    })
    once(socket, 'connect', () => {
      signal.removeEventListener('abort', onAbort)
      ignoreErrors(socket)
      resolve(socket)
    })
  })
}
