import type { Identity } from '../identity/name.ts'

/** Who makes a call, as the connection and the gateway vouch for it. */
export type Caller =
  /** A control-plane service, by the name in its certificate. */
  | { readonly kind: 'service'; readonly name: string }
  /** A gateway itself, by the name in its certificate: no service can be taken for one. */
  | { readonly kind: 'gateway'; readonly name: string }
  /** Whoever can open the local socket: the daemon's own user, and root. */
  | { readonly kind: 'operator' }
  /** The peer of one connection, by a key of that connection. */
  | { readonly kind: 'connection'; readonly key: string }

/** Who calls by a stream of a tunnel: the service that the head names, or else the gateway at the other end. */
export function callerInHead({ caller }: { readonly caller: string }, peer: Identity): Caller {
  if (caller !== '') return { kind: 'service', name: caller }
  return { kind: 'gateway', name: peer.role === 'gateway' ? peer.gateway : '' }
}

/** For logs, spans and texts. */
export function callerText(caller: Caller): string {
  switch (caller.kind) {
    case 'service':
      return caller.name
    case 'gateway':
      return `gateway ${caller.name}`
    case 'operator':
      return 'the operator'
    case 'connection':
      return 'the peer'
  }
}
