import type { Socket } from 'node:net'
import { connect, type SecureVersion } from 'node:tls'
import { once } from './edge.ts'
import { ALPN, rootsOf, TLS_OPTIONS } from './tls-options.ts'

const MS_MAX = 5000
/** The client would refuse itself to say what a strict server is to refuse. */
const ANYTHING = 'ALL:@SECLEVEL=0'
/** Alerts by which a server says that it does not take what it was offered (RFC 8446, section 6.2). */
const REFUSALS = [
  ...['protocol_version', 'handshake_failure', 'insufficient_security', 'certificate_required'],
  ...['bad_certificate', 'unsupported_certificate', 'certificate_unknown', 'unknown_ca'],
  'access_denied',
]

/** A handshake with a gateway. */
export interface Attempt {
  readonly host: string
  readonly port: number
  readonly serverName: string
  readonly bundlePem: string
  /** Through a proxy, where there is one. */
  readonly through?: Socket | undefined
  readonly minVersion?: SecureVersion
  readonly maxVersion?: SecureVersion
  readonly ciphers?: string
  readonly certificatePem?: string
  /** Never logged. */
  readonly keyPem?: string
}

/**
 * What became of it: `refused` by an alert, `closed` without a word, which a gateway may do and any other server or a firewall
 * too, `accepted`, or `unknown` where it did not come so far.
 */
export interface AttemptOutcome {
  readonly outcome: 'refused' | 'closed' | 'accepted' | 'unknown'
  /** The alert, in the words of RFC 8446, or what else ended it. */
  readonly text: string
}

/** Tries a handshake, and waits until the peer has spoken or hung up: in TLS 1.3 a client is refused only then. */
export function attemptTls(attempt: Attempt): Promise<AttemptOutcome> {
  const { host, port, serverName, bundlePem, through, certificatePem, keyPem } = attempt
  const { minVersion = 'TLSv1.2', maxVersion = 'TLSv1.3', ciphers } = attempt
  const socket = connect({
    ...TLS_OPTIONS,
    ...{ minVersion, maxVersion, ca: rootsOf(bundlePem), servername: serverName },
    ...(ciphers === undefined && minVersion === 'TLSv1.2' ? {} : { ciphers: ciphers ?? ANYTHING }),
    ...(certificatePem === undefined ? {} : { cert: certificatePem, key: keyPem }),
    ...(through === undefined ? { host, port } : { socket: through }),
    ALPNProtocols: [ALPN],
  })
  const { promise, resolve } = Promise.withResolvers<AttemptOutcome>()
  socket.setTimeout(MS_MAX, () => {
    resolve({ outcome: 'unknown', text: 'no answer in time' })
  })
  once(socket, 'data', () => {
    resolve({ outcome: 'accepted', text: `${socket.getProtocol() ?? 'TLS'}, and it spoke` })
  })
  once(socket, 'error', (error: NodeJS.ErrnoException) => {
    resolve(outcomeOf(error.code ?? '', socket.getProtocol()))
  })
  once(socket, 'close', () => {
    resolve({ outcome: 'closed', text: 'it hung up' })
  })
  return promise.finally(() => socket.destroy())
}

function outcomeOf(code: string, protocol: string | null): AttemptOutcome {
  const alert = /ALERT_(?<name>[A-Z_]+)$/.exec(code)?.groups?.name?.toLowerCase()
  if (alert !== undefined)
    return { outcome: REFUSALS.includes(alert) ? 'refused' : 'unknown', text: `alert ${alert}` }
  if (code === 'ECONNRESET' || code === 'EPIPE') return { outcome: 'closed', text: 'it hung up' }
  // Whatever else: the peer did not decide, or not on what was asked.
  return {
    outcome: 'unknown',
    text: `${code || 'an error'}${protocol === null ? '' : ` after ${protocol}`}`,
  }
}
