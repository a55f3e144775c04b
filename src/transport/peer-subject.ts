import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { printable } from '../base/errors.ts'
import { onFirst } from './edge.ts'
import { peerKey, tcpOf } from './peer-address.ts'

interface Remembered {
  readonly subject: string | undefined
  readonly address: string
  readonly issuer?: string | undefined
  readonly validity?: { readonly notBeforeMs: number; readonly notAfterMs: number } | undefined
}

const SUBJECTS = new WeakMap<TLSSocket, Remembered>()

/**
 * Notes whom a peer claims to be as soon as its certificate is there, because Node destroys the
 * socket of a refused peer before it says why. For log lines only: nothing is decided by it.
 */
export function rememberSubject(socket: TLSSocket): void {
  const address = peerKey(socket)
  SUBJECTS.set(socket, { subject: undefined, address })
  // Node emits `secure` (undocumented) before it judges; without it the log line lacks the subject.
  onFirst(socket, 'secure', () => {
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) return
    const { subject, issuer } = namesOf(certificate)
    const validity = {
      notBeforeMs: Date.parse(certificate.validFrom),
      notAfterMs: Date.parse(certificate.validTo),
    }
    SUBJECTS.set(socket, { subject, address, issuer, validity })
  })
}

/** Whom a certificate names, and who is said to have issued it, in one line each; empty names are undefined. */
export function namesOf(certificate: X509Certificate): {
  readonly subject: string | undefined
  readonly issuer: string | undefined
} {
  // Node's types say that names are strings; it leaves out those that are empty.
  const { subjectAltName, subject, issuer } = certificate as Partial<X509Certificate>
  const inOneLine = (name: string | undefined): string | undefined =>
    name === undefined || name === '' ? undefined : printable(name.replaceAll('\n', ', '))
  return { subject: inOneLine(subjectAltName) ?? inOneLine(subject), issuer: inOneLine(issuer) }
}

/** Returns the subject of a refused peer, as far as TLS let us see it; for the log alone. */
export function subjectOf(socket: TLSSocket): string | undefined {
  return SUBJECTS.get(socket)?.subject
}

/** What a refused peer's certificate said of its time and its issuer. For texts only. */
export function claimsOf(socket: TLSSocket): Pick<Remembered, 'issuer' | 'validity'> {
  return SUBJECTS.get(socket) ?? {}
}

/** The other end, even where a handshake failed before it said anything. */
export function addressOf(socket: TLSSocket): string {
  const known = SUBJECTS.get(socket)?.address
  if (known !== undefined) return known
  return peerKey(tcpOf(socket))
}
