import { lookup as resolve } from 'node:dns/promises'
import type { LookupAddress } from 'node:dns'
import { connect, type LookupFunction, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Address } from '../base/address.ts'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, once, total } from './edge.ts'
import { forbiddenReason, isIpAddress } from './target-rules.ts'

/**
 * Connects to a target. A target that is an address is dialled as it is; a name is resolved once,
 * every address judged, and the connection pinned to those, so that a second answer cannot differ.
 * @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE
 */
export async function dialTarget(target: Address, signal: AbortSignal): Promise<Duplex> {
  const addresses = isIpAddress(target.host) ? undefined : await resolveTarget(target)
  if (signal.aborted) throw new PosternError('TARGET_UNREACHABLE', 'the dial was given up')
  return await new Promise((resolvePromise, reject) => {
    const { host, port } = target
    const pinned = addresses === undefined ? {} : { lookup: pinTo(addresses) }
    const socket: Socket = connect({ host, port, allowHalfOpen: true, noDelay: true, ...pinned })
    const onAbort = (): void => {
      socket.destroy(new Error('aborted'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    once(socket, 'error', (error: NodeJS.ErrnoException) => {
      signal.removeEventListener('abort', onAbort)
      const text = `the target did not take the connection (${error.code ?? error.message})`
      reject(new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error }))
    })
    once(socket, 'connect', () => {
      signal.removeEventListener('abort', onAbort)
      ignoreErrors(socket)
      resolvePromise(socket)
    })
  })
}

async function resolveTarget({ host }: Address): Promise<readonly LookupAddress[]> {
  let addresses: readonly LookupAddress[]
  try {
    addresses = await resolve(host, { all: true })
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    throw new PosternError(
      'TARGET_UNREACHABLE',
      `the target's name does not resolve (${code})`,
      {},
      { cause: error },
    )
  }
  for (const { address } of addresses) {
    const reason = forbiddenReason(address)
    if (reason !== undefined)
      throw new PosternError('TARGET_FORBIDDEN', `the target's name resolves to ${reason}`)
  }
  return addresses
}

function pinTo(addresses: readonly LookupAddress[]): LookupFunction {
  return total(
    (_host, options, done) => {
      const first = addresses[0]
      if (options.all === true) done(null, [...addresses])
      else if (first !== undefined) done(null, first.address, first.family)
    },
    (fault, _host, _options, done) => {
      done(fault, [])
    },
  )
}
