import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { once } from './edge.ts'
import { tlsError } from './tls-errors.ts'

/** Every address of a host name, in the resolver's order. @throws NAME_NOT_RESOLVED */
export async function addressesOf(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    throw new PosternError(
      'NAME_NOT_RESOLVED',
      `${host} does not resolve (${code})`,
      {},
      { cause: error },
    )
  }
}

/** How long a TCP connection took, in ms; it is closed at once. @throws DIAL_FAILED, DIAL_TIMEOUT */
export async function reachTcp(
  { host, port }: { readonly host: string; readonly port: number },
  clock: Clock,
  msMax: number,
): Promise<number> {
  const startMs = clock.nowMs()
  return await new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    once(socket, 'connect', () => {
      cancel()
      socket.destroy()
      resolve(clock.nowMs() - startMs)
    })
    const cancel = clock.startTimer(msMax, () => {
      socket.destroy()
      const text = `no answer from ${host}:${String(port)} within ${String(msMax / 1000)} s`
      reject(new PosternError('DIAL_TIMEOUT', text))
    })
    once(socket, 'error', (error: Error) => {
      cancel()
      reject(tlsError(error, 'DIAL_FAILED'))
    })
  })
}
