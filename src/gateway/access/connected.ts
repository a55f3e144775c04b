import { identityUri } from '../../identity/name.ts'
import type { TlsFacts } from '../../transport/tls-wire.ts'
import { credentialsOf } from './denials.ts'

/** A connection of an agent or caller: cluster/agent or URI name, and the key identifier of its issuer. */
export interface Connected {
  readonly identity: string
  readonly issuer: string
}

/** Returns the peer of a connection and its certificate's issuer; undefined for the gateway's own canary connection. */
export function connectedBy({ identity, certificate }: TlsFacts): Connected | undefined {
  if (identity.role === 'gateway') return undefined
  const { issuer, cluster, agent } = credentialsOf(certificate, identity)
  const name = identity.role === 'agent' ? `${cluster}/${agent}` : identityUri(identity)
  return { identity: name, issuer }
}
