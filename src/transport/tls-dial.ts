import type { Duplex } from 'node:stream'
import { connect, type TLSSocket } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import { once, total } from './edge.ts'
import { dismiss } from './farewell.ts'
import type { Egress } from './egress.ts'
import { judgePeer } from './judge-peer.ts'
import { rotatedLookup, type RotatedLookup } from './rotated-lookup.ts'
import { tlsError } from './tls-errors.ts'
import { ALPN } from './tls-options.ts'
import { judgeHostName } from '../identity/host-name.ts'
import { contextFor, endTogether } from './tls-over.ts'
import { claimsOf, rememberSubject, subjectOf } from './peer-subject.ts'
import type { TlsWire } from './tls-wire.ts'

const DIAL_MS = 10_000

/** The values and collaborators that `dialTls` is given. */
export interface DialOptions {
  readonly host: string
  readonly port: number
  /** The DNS name that the gateway's certificate must hold. Default: the host dialled. */
  readonly serverName: string | undefined
  readonly credential: Credential
  readonly expected: Expectation
  /** Gives up when it is aborted. */
  readonly signal?: AbortSignal
  /** Where there is no signal: longest time for all of it, in ms. Default 10 000. */
  readonly timeoutMs?: number
  /** The way out; default directly. */
  readonly egress?: Egress
  /** Brings a stream to the other end, in place of a TCP connection. */
  readonly carrier?: (signal: AbortSignal) => Promise<Duplex>
  /** How the host's addresses are ordered, where it is dialled directly; default: as the resolver does. */
  readonly lookup?: RotatedLookup
  /** Our wall clock in ms, to say how far off a certificate's time is. */
  readonly nowMs: number
}

/**
 * Dials and judges the other end. That we were accepted too is known only once the peer speaks: in
 * TLS 1.3 a server judges our certificate after our side of the handshake is done.
 * @throws the network and identity codes of docs/ERRORS.md
 */
export async function dialTls(options: DialOptions): Promise<TlsWire> {
  const { host, port, egress, timeoutMs = DIAL_MS } = options
  const signal = options.signal ?? AbortSignal.timeout(timeoutMs)
  if (options.carrier !== undefined)
    return await handshake(options, signal, await options.carrier(signal))
  const proxy = egress?.proxyFor(host, port)
  if (egress === undefined || proxy === undefined)
    return await handshake(options, signal, undefined)
  return await handshake(options, signal, await egress.through(proxy, { host, port }, signal))
}

function handshake(
  options: DialOptions,
  signal: AbortSignal,
  through: Duplex | undefined,
): Promise<TlsWire> {
  const { promise, resolve, reject } = Promise.withResolvers<TlsWire>()
  const { credential } = options
  if (signal.aborted) {
    through?.destroy()
    return Promise.reject(timeout(options))
  }
  const servername = options.serverName ?? options.host
  const socket = connect({
    ...contextFor(through, credential),
    ...(through === undefined ? directly(options) : { socket: through }),
    // An IP address is no name in SNI (RFC 6066, section 3).
    ...(isIp(servername) ? {} : { servername }),
    ALPNProtocols: [ALPN],
    checkServerIdentity: total(
      (_host, certificate) => judgeHostName(certificate.raw, servername),
      (fault) => fault,
    ),
  })
  rememberSubject(socket)
  if (through !== undefined) endTogether(socket, through)
  const onAbort = (): void => {
    socket.destroy()
    reject(timeout(options))
  }
  const onError = (error: Error): void => {
    reject(withPeer(tlsError(error, 'DIAL_FAILED'), socket, options))
  }
  signal.addEventListener('abort', onAbort, { once: true })
  const ignoreError = once(socket, 'error', onError)
  once(socket, 'close', () => {
    reject(
      withPeer(
        new PosternError('CONNECTION_LOST', 'the peer closed during the handshake'),
        socket,
        options,
      ),
    )
  })
  once(socket, 'secureConnect', () => {
    signal.removeEventListener('abort', onAbort)
    try {
      const { carrier, expected, host, port } = options
      const address = carrier === undefined ? undefined : `${host}:${String(port)}`
      const wire = judgePeer(socket, expected, address)
      ignoreError()
      resolve(wire)
    } catch (error) {
      const refusal = tlsError(error)
      reject(withPeer(refusal, socket, options))
      dismiss(socket, refusal)
    }
  })
  return promise.finally(() => {
    signal.removeEventListener('abort', onAbort)
  })
}

/** Happy eyeballs (RFC 8305): the next address is tried when one has not answered in this time. */
const ATTEMPT_MS = 500

function directly({ host, port, lookup }: DialOptions): object {
  const ordered = lookup === undefined ? {} : { lookup: rotatedLookup(lookup) }
  const eyeballs = { autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ATTEMPT_MS }
  return { host, port, ...ordered, ...eyeballs }
}

function isIp(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(':')
}

function timeout(options: DialOptions): PosternError {
  const peer = `${options.host}:${String(options.port)}`
  return new PosternError('DIAL_TIMEOUT', `${peer} did not complete the handshake in time`, {
    peer,
  })
}

/** The same error with whom we dialled, and whom the peer claimed to be. */
function withPeer(error: PosternError, socket: TLSSocket, options: DialOptions): PosternError {
  const peer = `${options.host}:${String(options.port)}`
  const subject = subjectOf(socket)
  const facts = { ...error.facts, peer, ...(subject === undefined ? {} : { subject }) }
  const text = `${peer}: ${error.rawMessage}${explanation(error.code, socket, options.nowMs)}`
  return new PosternError(error.code, text, facts, { cause: error })
}

/** What a person needs to tell a wrong clock, or a proxy that re-signs, from a wrong certificate. */
function explanation(code: PosternError['code'], socket: TLSSocket, nowMs: number): string {
  const { validity, issuer } = claimsOf(socket)
  const ours = new Date(nowMs).toISOString()
  if (code === 'CERT_NOT_YET_VALID' && validity !== undefined) {
    const seconds = Math.ceil((validity.notBeforeMs - nowMs) / 1000)
    const from = new Date(validity.notBeforeMs).toISOString()
    return `; it is valid from ${from}, ${String(seconds)} s after our clock (${ours}): this clock is behind, or that of its issuer ahead`
  }
  if (code === 'CERT_EXPIRED' && validity !== undefined) {
    const seconds = Math.ceil((nowMs - validity.notAfterMs) / 1000)
    return `; it ended ${String(seconds)} s before our clock (${ours})`
  }
  return code === 'CERT_UNTRUSTED' && issuer !== undefined ? `; its issuer is ${issuer}` : ''
}
