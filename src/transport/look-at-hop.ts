import type { Address } from '../base/address.ts'
import { asPosternError } from '../base/errors.ts'
import { seen, type Seen } from '../base/finding.ts'
import { secureTarget } from './target-tls.ts'
import { dialTarget } from './tcp-dial.ts'

const CHECK = 'encryption in transit'
const MS_MAX = 5000

/** One way from here to something else. */
export interface Hop {
  readonly target: Address
  readonly isTls: boolean
  /** It does not leave this machine. */
  readonly isLocal: boolean
  /** Roots of the other end, in PEM. Default: those of the system. */
  readonly caPem?: string | undefined
}

/** Looks how bytes go over a hop: the version of TLS and who vouches for the other end, by a handshake that is made now. */
export async function lookAtHop({ target, isTls, isLocal, caPem }: Hop): Promise<Seen> {
  if (!isTls)
    return isLocal
      ? seen(CHECK, 'OK', 'plain, and it does not leave this machine')
      : seen(CHECK, 'FAIL', 'plain text leaves this machine, as the settings allow')
  const signal = AbortSignal.timeout(MS_MAX)
  try {
    const socket = await dialTarget(target, signal)
    const tls = await secureTarget(socket, target, caPem, signal)
    const { issuer } = tls.getPeerCertificate()
    const by = issuer.CN === undefined ? String(issuer.O ?? 'a CA') : String(issuer.CN)
    const suite = tls.getCipher().standardName
    const version = tls.getProtocol() ?? 'TLS'
    tls.destroy()
    return seen(CHECK, 'OK', `${version}, ${suite}, certificate by ${by}`)
  } catch (error) {
    return seen(CHECK, 'UNKNOWN', `no handshake: ${asPosternError(error).rawMessage}`)
  }
}
