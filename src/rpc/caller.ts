import type { Caller } from '../contract/caller.ts'
import type { Identity } from '../identity/name.ts'
import type { HeadExtras } from '../wire/head-extras.ts'

/** Returns who calls by a stream of a tunnel: the service that the head names, or else the gateway at the other end. */
export function callerInHead(
  { caller }: { readonly caller: string },
  { callerRegion, callerIssuer }: HeadExtras,
  peer: Identity,
): Caller {
  if (caller === '') return { kind: 'gateway', name: peer.role === 'gateway' ? peer.gateway : '' }
  if (callerIssuer !== '')
    return { kind: 'service', name: caller, known: 'token', issuer: callerIssuer }
  const service = { kind: 'service', name: caller, known: 'gateway' } as const
  return callerRegion === '' ? service : { ...service, region: callerRegion }
}
