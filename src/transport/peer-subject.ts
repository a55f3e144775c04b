import type { TLSSocket } from 'node:tls'
import { printable } from '../base/errors.ts'

const SUBJECTS = new WeakMap<TLSSocket, { subject: string | undefined; address: string }>()

/**
 * Notes whom a peer claims to be as soon as its certificate is there, because Node destroys the
 * socket of a refused peer before it says why. For log lines only: nothing is decided by it.
 */
export function rememberSubject(socket: TLSSocket): void {
  const address = `${socket.remoteAddress ?? ''}:${String(socket.remotePort ?? 0)}`
  SUBJECTS.set(socket, { subject: undefined, address })
  // Node emits `secure` (undocumented) before it judges; without it the log line lacks the subject.
  socket.prependListener('secure', () => {
    const certificate = socket.getPeerX509Certificate()
    const subject = certificate?.subjectAltName ?? certificate?.subject
    SUBJECTS.set(socket, {
      subject: subject === undefined ? undefined : printable(subject),
      address,
    })
  })
}

export function subjectOf(socket: TLSSocket): string | undefined {
  return SUBJECTS.get(socket)?.subject
}

export function addressOf(socket: TLSSocket): string | undefined {
  return SUBJECTS.get(socket)?.address
}
