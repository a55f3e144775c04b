import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** Addresses of cloud metadata and host services that lie outside the link-local ranges. */
const METADATA = ['fd20:ce::254', '100.100.100.200', '168.63.129.16', '192.0.0.192']

/** AWS keeps instance metadata and pod credentials in one network. */
const METADATA_NETWORK = ipaddr.parseCIDR('fd00:ec2::/32')

const FORBIDDEN_RANGES = ['linkLocal', 'unspecified', 'multicast', 'broadcast']

/** Address forms that carry an IPv4 address in their last 32 bits. */
const EMBEDDING_RANGES = ['ipv4Mapped', 'rfc6145', 'rfc6052']

/**
 * Why an address that a name resolved to must not be dialled, or undefined. Whoever controls a name
 * must not reach the instance's metadata service, and with it the credentials of the machine.
 */
export function forbiddenReason(address: string): string | undefined {
  const parsed = unwrap(ipaddr.parse(address.split('%')[0] ?? ''))
  const range = parsed.range()
  if (FORBIDDEN_RANGES.includes(range)) return `${address} is ${range}`
  const isMetadata = METADATA.some(
    (known) => ipaddr.parse(known).toNormalizedString() === parsed.toNormalizedString(),
  )
  const isInNetwork = parsed instanceof ipaddr.IPv6 && parsed.match(METADATA_NETWORK)
  return isMetadata || isInNetwork ? `${address} is a metadata address` : undefined
}

/** In the one usual form: 0xa9fea9fe and 2852039166 are names, to be resolved and judged. */
export function isIpAddress(host: string): boolean {
  return isIP(host) !== 0
}

function unwrap(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (!(address instanceof ipaddr.IPv6)) return address
  const bytes = address.toByteArray()
  if (address.range() === '6to4') return new ipaddr.IPv4(bytes.slice(2, 6))
  return EMBEDDING_RANGES.includes(address.range()) ? new ipaddr.IPv4(bytes.slice(12)) : address
}
