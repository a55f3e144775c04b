import { isWithin } from './distinguished-name.ts'
import type { GeneralName } from './general-name.ts'

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const HOST_BYTES_MAX = 253
const LOOKS_LIKE_IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/

/** Tells a host name (letters, digits and hyphens in labels) from anything else; an address is none. */
export function isHostName(text: string): boolean {
  if (text.length > HOST_BYTES_MAX || LOOKS_LIKE_IPV4.test(text)) return false
  return text
    .toLowerCase()
    .split('.')
    .every((label) => LABEL.test(label))
}

/** A host name, or one whose whole first label is a wildcard over at least two more. */
export function isPresentableDnsName(text: string): boolean {
  if (!text.startsWith('*.')) return isHostName(text)
  return isHostName(text.slice(2)) && text.slice(2).includes('.')
}

/** Whether a certificate's DNS name stands for a host (RFC 6125 section 6.4.3). */
export function dnsNameCovers(presented: string, host: string): boolean {
  const [name, wanted] = [presented.toLowerCase(), host.toLowerCase()]
  if (!isPresentableDnsName(name) || !isHostName(wanted)) return false
  if (!name.startsWith('*.')) return name === wanted
  const dot = wanted.indexOf('.')
  return dot > 0 && wanted.slice(dot) === name.slice(1)
}

/**
 * Whether a name lies in a subtree of name constraints (RFC 5280 section 4.2.1.10). A wildcard lies
 * in a permitted subtree only as a whole, and in an excluded one as soon as a part of it does.
 * @throws Error where the constraint or the name cannot be judged
 */
export function liesInSubtree(name: GeneralName, base: GeneralName, isExcluded: boolean): boolean {
  if (name.kind === 'dns' && base.kind === 'dns')
    return dnsLiesIn(name.value, base.value, isExcluded)
  if (name.kind === 'email' && base.kind === 'email') return emailLiesIn(name.value, base.value)
  if (name.kind === 'uri' && base.kind === 'uri') return hostLiesIn(uriHost(name.value), base.value)
  if (name.kind === 'ip' && base.kind === 'ip') return ipLiesIn(name.value, base.value)
  if (name.kind === 'directory' && base.kind === 'directory')
    return isWithin(name.value, base.value)
  if (name.kind === 'other' && base.kind === 'other' && name.value === base.value)
    throw new Error('a name constraint is of a kind that cannot be judged')
  return false
}

function dnsLiesIn(presented: string, constraint: string, isExcluded: boolean): boolean {
  const base = constraint.toLowerCase()
  if (base.startsWith('.') || (base !== '' && !isHostName(base)))
    throw new Error(`the DNS constraint ${JSON.stringify(constraint)} is malformed`)
  const name = presented.toLowerCase()
  if (isBelow(name, base)) return true
  return isExcluded && name.startsWith('*.') && isBelow(base, name.slice(2))
}

function isBelow(name: string, base: string): boolean {
  return base === '' || name === base || name.endsWith(`.${base}`)
}

function emailLiesIn(address: string, constraint: string): boolean {
  const at = address.lastIndexOf('@')
  if (at <= 0) throw new Error('a mailbox has no host')
  const host = address.slice(at + 1)
  const split = constraint.lastIndexOf('@')
  if (split === -1) return hostLiesIn(host, constraint)
  const isSameHost = host.toLowerCase() === constraint.slice(split + 1).toLowerCase()
  return isSameHost && address.slice(0, at) === constraint.slice(0, split)
}

/** A host as it is, or with a leading dot everything below it. */
function hostLiesIn(host: string, constraint: string): boolean {
  const [name, base] = [host.toLowerCase(), constraint.toLowerCase()]
  return base.startsWith('.') ? name.endsWith(base) : base === '' || name === base
}

/** Host of a URI with an authority that is a name (RFC 5280 section 4.2.1.10). */
function uriHost(uri: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(uri)?.[1] ?? ''
  const host = authority.replace(/:\d*$/, '')
  if (!isHostName(host))
    throw new Error('a URI names no host that a constraint could be held against')
  return host
}

function ipLiesIn(address: Buffer, constraint: Buffer): boolean {
  const half = constraint.length / 2
  if (half !== 4 && half !== 16) throw new Error('an address constraint is of the wrong length')
  const mask = constraint.subarray(half)
  if (!/^1*0*$/.test([...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('')))
    throw new Error('the mask of an address constraint has holes')
  if (address.length !== half) return false
  return address.every((byte, i) => ((byte ^ (constraint[i] ?? 0)) & (mask[i] ?? 0)) === 0)
}
