import type { Duplex } from 'node:stream'
import { connect, type TLSSocket } from 'node:tls'
import type { Address } from '../base/address.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { ignoreErrors, once } from './edge.ts'
import { isIpAddress } from './target-rules.ts'
import { tlsError } from './tls-errors.ts'
import { TLS_OPTIONS, trustIn } from './tls-options.ts'

/** What this side brings into a handshake, where the target asks for it. */
export interface OwnSide {
  readonly certificatePem?: string | undefined
  readonly keyPem?: string | undefined
  /** Of ALPN (RFC 7301). */
  readonly protocols?: string[]
}

/**
 * Speaks TLS to a target of the customer's, over a connection to it: its certificate must hold the host, and chain to these roots.
 * `caPem`: default the roots of the system. @throws TARGET_UNREACHABLE
 */
export async function secureTarget(
  socket: Duplex,
  { host }: Address,
  caPem: string | undefined,
  signal: AbortSignal,
  own: OwnSide = {},
): Promise<TLSSocket> {
  const name = isIpAddress(host) ? {} : { servername: host }
  if (signal.aborted) {
    socket.destroy()
    throw new PosternError('TARGET_UNREACHABLE', 'the dial was given up')
  }
  const tls = begin(socket, () =>
    connect({ ...TLS_OPTIONS, socket, host, ...name, ...trustIn(caPem), ...sideOf(own) }),
  )
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => {
      tls.destroy(new Error('aborted'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    once(tls, 'secureConnect', () => {
      signal.removeEventListener('abort', onAbort)
      ignoreErrors(tls)
      resolve(tls)
    })
    once(tls, 'error', (error: Error) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      const { code = 'unknown' } = error as NodeJS.ErrnoException
      const text = `the target did not answer over TLS: ${tlsError(error, 'DIAL_FAILED').rawMessage} (${code})`
      reject(new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error }))
    })
  })
}

/** Files of no certificate, of no key or of another's are seen before the handshake: no connection is left behind. */
function begin(socket: Duplex, connectTls: () => TLSSocket): TLSSocket {
  try {
    return connectTls()
  } catch (error) {
    socket.destroy()
    const { rawMessage } = asPosternError(error)
    const text = `no TLS to the target with these files: ${rawMessage}`
    throw new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error })
  }
}

function sideOf({ certificatePem, keyPem, protocols }: OwnSide): object {
  return {
    ...(certificatePem === undefined ? {} : { cert: certificatePem, key: keyPem }),
    ...(protocols === undefined ? {} : { ALPNProtocols: protocols }),
  }
}
