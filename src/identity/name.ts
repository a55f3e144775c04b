import { PosternError, printable } from '../base/errors.ts'

/** Who a certificate speaks for, read from its one URI SAN (docs/ARCHITECTURE.md, "Identity"). */
export type Identity =
  | {
      readonly role: 'agent'
      readonly trustDomain: string
      readonly cluster: string
      readonly agent: string
    }
  | {
      readonly role: 'gateway'
      readonly trustDomain: string
      readonly region: string
      readonly gateway: string
    }
  | {
      readonly role: 'caller'
      readonly trustDomain: string
      readonly caller: string
      /** Where it runs; undefined: its certificate does not say. */
      readonly region?: string
    }

/** The role that a certificate's name gives its holder. */
export type Role = Identity['role']

const DOMAIN = '(?<domain>[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?)'
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const AGENT = new RegExp(`^spiffe://${DOMAIN}/cluster/(?<a>${LABEL})/agent/(?<b>${LABEL})$`)
const GATEWAY = new RegExp(`^spiffe://${DOMAIN}/region/(?<a>${LABEL})/gateway/(?<b>${LABEL})$`)
const CALLER = new RegExp(`^spiffe://${DOMAIN}(?:/region/(?<b>${LABEL}))?/caller/(?<a>${LABEL})$`)
const ONE_LABEL = new RegExp(`^${LABEL}$`)

/** A name that may stand in an identity: 1 to 63 of a-z, 0-9 and inner hyphens. */
export function isLabel(text: string): boolean {
  return ONE_LABEL.test(text)
}

/** Returns the URI that names an identity in a certificate. */
export function identityUri(identity: Identity): string {
  const base = `spiffe://${identity.trustDomain}`
  switch (identity.role) {
    case 'agent':
      return `${base}/cluster/${identity.cluster}/agent/${identity.agent}`
    case 'gateway':
      return `${base}/region/${identity.region}/gateway/${identity.gateway}`
    case 'caller':
      return identity.region === undefined
        ? `${base}/caller/${identity.caller}`
        : `${base}/region/${identity.region}/caller/${identity.caller}`
  }
}

/** Exact form only: no percent escapes, port, user, query or upper case. @throws CERT_LEAF_RULES */
export function parseIdentity(uri: string): Identity {
  const agent = AGENT.exec(uri)?.groups
  if (agent?.a !== undefined && agent.b !== undefined) {
    return {
      role: 'agent',
      trustDomain: agent.domain ?? '',
      cluster: agent.a,
      agent: agent.b,
    }
  }
  const gateway = GATEWAY.exec(uri)?.groups
  if (gateway?.a !== undefined && gateway.b !== undefined) {
    return {
      role: 'gateway',
      trustDomain: gateway.domain ?? '',
      region: gateway.a,
      gateway: gateway.b,
    }
  }
  const caller = CALLER.exec(uri)?.groups
  if (caller?.a !== undefined) {
    const region = caller.b === undefined ? {} : { region: caller.b }
    return { role: 'caller', trustDomain: caller.domain ?? '', caller: caller.a, ...region }
  }
  throw new PosternError(
    'CERT_LEAF_RULES',
    `the URI name ${JSON.stringify(printable(uri))} is not of our form`,
  )
}
