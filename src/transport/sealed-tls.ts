import type { Duplex } from 'node:stream'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { dismiss } from './farewell.ts'
import { tlsError } from './tls-errors.ts'
import { ALPN, TLS_OPTIONS } from './tls-options.ts'
import { TlsWire, type TlsFacts } from './tls-wire.ts'

const ISSUERS_MAX = 8

/** One end of a sealed session: its key, and its judgement on the other's. */
export interface SealedEnd {
  readonly certificatePem: string
  /** Never logged. */
  readonly keyPem: string
  /**
   * Decides on the certificates that the peer has shown and proven to hold the key of, leaf first, in DER.
   * @throws SEAL_REFUSED
   */
  judge(chain: readonly Buffer[]): Pick<TlsFacts, 'identity' | 'certificateNotAfterMs'>
  /** When our own certificate ends, in wall-clock ms. */
  readonly notAfterMs: number
}

/** Nobody but the two ends trusts anything here, so no CA of the system or the vendor has a say: each end judges. */
const SEALED_OPTIONS = {
  ...TLS_OPTIONS,
  minVersion: 'TLSv1.3',
  rejectUnauthorized: false,
  requestCert: true,
  ALPNProtocols: [ALPN],
} as const

/** Speaks TLS 1.3 as the caller, over a stream. `address`: of the other end, for people. @throws SEAL_REFUSED, TLS_* and what ends the stream */
export function sealedDial(carrier: Duplex, end: SealedEnd, address: string): Promise<TlsWire> {
  const { certificatePem: cert, keyPem: key } = end
  const socket = connect({
    ...SEALED_OPTIONS,
    ...{ cert, key, socket: carrier },
  })
  const shaken = shakenOf(carrier, end, address)
  once(socket, 'secureConnect', () => {
    shaken.finished(socket)
  })
  once(socket, 'error', (error: Error) => {
    shaken.failed(error, socket)
  })
  return shaken.wire
}

/** Speaks TLS 1.3 as the agent, over a stream. @throws SEAL_REFUSED, TLS_* and what ends the stream */
export function sealedAccept(carrier: Duplex, end: SealedEnd, address: string): Promise<TlsWire> {
  const { certificatePem: cert, keyPem: key } = end
  // It listens nowhere: it is given the one stream.
  const server = createServer({ ...SEALED_OPTIONS, cert, key })
  const shaken = shakenOf(carrier, end, address)
  once(server, 'secureConnection', shaken.finished)
  once(server, 'tlsClientError', shaken.failed)
  server.emit('connection', carrier)
  return shaken.wire
}

interface Handshake {
  readonly wire: Promise<TlsWire>
  readonly finished: (socket: TLSSocket) => void
  readonly failed: (error: Error, socket: TLSSocket) => void
}

function shakenOf(carrier: Duplex, end: SealedEnd, address: string): Handshake {
  const { promise: wire, resolve, reject } = Promise.withResolvers<TlsWire>()
  on(carrier, 'error', (error: Error) => {
    reject(tlsError(error))
  })
  once(carrier, 'close', () => {
    reject(new PosternError('CONNECTION_LOST', 'the stream ended during the sealed handshake'))
  })
  return {
    wire,
    finished: (socket) => {
      once(socket, 'close', () => {
        carrier.destroy()
      })
      try {
        resolve(judged(socket, end, address))
      } catch (error) {
        const refusal = tlsError(error)
        reject(refusal)
        dismiss(socket, refusal)
      }
    },
    failed: (error, socket) => {
      reject(tlsError(error))
      ignoreErrors(socket)
      socket.destroy()
      carrier.destroy()
    },
  }
}

function judged(socket: TLSSocket, end: SealedEnd, address: string): TlsWire {
  const chain = chainOf(socket)
  const [leaf] = chain
  if (leaf === undefined)
    throw new PosternError('SEAL_REFUSED', 'the other end showed no certificate')
  if (socket.isSessionReused())
    throw new PosternError('SEAL_REFUSED', 'the keys were not proven in this handshake')
  if (socket.alpnProtocol !== ALPN)
    throw new PosternError('TLS_ALPN', `the peer did not negotiate ${ALPN}`)
  const group = socket.getEphemeralKeyInfo() as { name?: string } | null
  return new TlsWire(socket, {
    ...end.judge(chain),
    tlsVersion: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    group: group?.name ?? 'ephemeral',
    address,
    certificateNotBeforeMs: 0,
    certificate: leaf,
    ownNotAfterMs: end.notAfterMs,
  })
}

/** The certificates that the peer has shown, as far as they name one another. */
function chainOf(socket: TLSSocket): Buffer[] {
  const found: Buffer[] = []
  let certificate = socket.getPeerX509Certificate()
  while (certificate !== undefined && found.length < ISSUERS_MAX) {
    const { raw, issuerCertificate } = certificate
    if (found.at(-1)?.equals(raw) === true) break
    found.push(raw)
    certificate = issuerCertificate
  }
  return found
}
