import type { Duplex } from 'node:stream'
import { createServer, type TLSSocket } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { dismiss } from './farewell.ts'
import { judgePeer } from './judge-peer.ts'
import { handshakeError, tlsError } from './tls-errors.ts'
import { ALPN, secureContext } from './tls-options.ts'
import type { TlsWire } from './tls-wire.ts'

/** The values and collaborators that `acceptOver` is given. */
export interface OverOptions {
  readonly credential: Credential
  readonly expected: Expectation
  /** Of the other end, for people: a stream has none. */
  readonly address: string
  /** Longest time for the handshake, in ms. */
  readonly timeoutMs: number
}

/**
 * Speaks TLS as the server over a stream that a carrier brought, and judges the other end as a listener does.
 * @throws the TLS and identity codes of docs/ERRORS.md, CONNECTION_LOST
 */
export async function acceptOver(stream: Duplex, options: OverOptions): Promise<TlsWire> {
  if (stream.destroyed)
    throw new PosternError('CONNECTION_LOST', `${options.address} closed before the handshake`)
  return await accepted(stream, contextFor(stream, options.credential), options)
}

/** A credential that cannot be used leaves no stream open. @throws CERTIFICATE_UNUSABLE */
export function contextFor(
  stream: Duplex | undefined,
  credential: Credential,
): ReturnType<typeof secureContext> {
  try {
    return secureContext(credential)
  } catch (error) {
    stream?.destroy()
    throw error
  }
}

function accepted(
  stream: Duplex,
  context: ReturnType<typeof secureContext>,
  options: OverOptions,
): Promise<TlsWire> {
  const { expected, address, timeoutMs } = options
  const { promise, resolve, reject } = Promise.withResolvers<TlsWire>()
  // It listens nowhere: it is given the one stream.
  const server = createServer({
    ...context,
    requestCert: true,
    handshakeTimeout: timeoutMs,
    ALPNProtocols: [ALPN],
  })
  on(stream, 'error', (error: Error) => {
    reject(tlsError(error, 'CONNECTION_LOST'))
  })
  once(stream, 'close', () => {
    reject(new PosternError('CONNECTION_LOST', `${address} closed during the handshake`))
  })
  once(server, 'secureConnection', (socket: TLSSocket) => {
    endTogether(socket, stream)
    try {
      resolve(judgePeer(socket, expected, address))
    } catch (error) {
      const refusal = tlsError(error)
      reject(refusal)
      dismiss(socket, refusal)
    }
  })
  once(server, 'tlsClientError', (error: Error, socket: TLSSocket) => {
    reject(handshakeError(error, socket))
    ignoreErrors(socket)
    socket.destroy()
    stream.destroy()
  })
  server.emit('connection', stream)
  return promise
}

/** A stream that carries TLS ends with it, and its failure is that of the connection. */
export function endTogether(socket: TLSSocket, stream: Duplex): void {
  once(socket, 'close', () => {
    stream.destroy()
  })
  on(stream, 'error', (error: Error) => {
    socket.destroy(error)
  })
}
