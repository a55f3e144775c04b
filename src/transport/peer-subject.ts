import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { printable } from '../base/errors.ts'
import { peerKey } from './handshake-gate.ts'

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
  socket.prependListener('secure', () => {
    const certificate = socket.getPeerX509Certificate()
    const subject = certificate?.subjectAltName ?? certificate?.subject
    SUBJECTS.set(socket, {
      subject: subject === undefined ? undefined : printable(subject),
      address,
      ...(certificate === undefined
        ? {}
        : {
            issuer: printable(certificate.issuer.replaceAll('\n', ', ')),
            validity: {
              notBeforeMs: Date.parse(certificate.validFrom),
              notAfterMs: Date.parse(certificate.validTo),
            },
          }),
    })
  })
}

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
  // The TCP socket under it (undocumented) keeps its address after a reset, the TLS socket does not.
  const { _parent: tcp } = socket as { _parent?: Socket | null }
  return peerKey(tcp ?? socket)
}
