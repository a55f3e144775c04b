import { context } from './der.ts'
import { element, sequence } from './der-write.ts'

/** Which names the leaves of a CA may hold (RFC 5280 section 4.2.1.10). */
export interface Subtrees {
  /** Hosts of URI names, exactly. */
  readonly uriHosts: readonly string[]
  /** DNS names, with all below them. None: no DNS name at all. */
  readonly dnsNames: readonly string[]
}

/**
 * OpenSSL limits only kinds of name that a constraint mentions: URIs alone would let every DNS name
 * and address through. So DNS is limited to a domain that cannot exist where there is none, and
 * addresses are excluded as a whole.
 */
export function nameConstraints({ uriHosts, dnsNames }: Subtrees): Buffer {
  const dns = dnsNames.length === 0 ? ['invalid'] : dnsNames
  const subtree = (number: number, value: Uint8Array): Buffer =>
    sequence(element(context(number, false), value))
  return sequence(
    element(
      context(0, true),
      ...uriHosts.map((host) => subtree(6, Buffer.from(host, 'latin1'))),
      ...dns.map((name) => subtree(2, Buffer.from(name, 'latin1'))),
    ),
    element(context(1, true), subtree(7, Buffer.alloc(8)), subtree(7, Buffer.alloc(32))),
  )
}
