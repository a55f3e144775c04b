import type { Source } from './peer-address.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const FIXED_BYTES = 16
/** Addresses of both ends, and as much of what a proxy adds as any is known to. */
const HEADER_BYTES_MAX = 4096
const LOCAL = 0x20
const PROXIED = 0x21
const TCP4 = 0x11
const TCP6 = 0x21
const UNKNOWN = 0x00

/** What a connection begins with. */
export type ProxyHeader =
  | { readonly is: 'short' }
  | { readonly is: 'refused'; readonly reason: string }
  /** `source`: undefined where the proxy speaks for itself, as its health checks do. */
  | { readonly is: 'whole'; readonly bytes: number; readonly source: Source | undefined }

/**
 * Reads the header of the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt, section 2.2), at the beginning of what
 * a connection has brought so far.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  const seen = Math.min(bytes.length, SIGNATURE.length)
  if (SIGNATURE.compare(bytes, 0, seen, 0, seen) !== 0)
    return refused('it does not begin with a header of the PROXY protocol, version 2')
  if (bytes.length < FIXED_BYTES) return { is: 'short' }
  const [command = 0, family = 0] = bytes.subarray(12, 14)
  if (command !== LOCAL && command !== PROXIED)
    return refused('its PROXY header has a version or command that is unknown')
  const whole = FIXED_BYTES + bytes.readUInt16BE(14)
  if (whole > HEADER_BYTES_MAX)
    return refused(`its PROXY header is over ${String(HEADER_BYTES_MAX)} bytes`)
  const addresses = command === LOCAL ? 0 : ADDRESS_BYTES.get(family)
  if (addresses === undefined) return refused('its PROXY header names no TCP connection')
  if (whole < FIXED_BYTES + addresses) return refused('its PROXY header is too short')
  if (bytes.length < whole) return { is: 'short' }
  const source = addresses === 0 ? undefined : sourceOf(bytes, family)
  return { is: 'whole', bytes: whole, source }
}

/** Bytes of two addresses and two ports, by family; an unknown one is the proxy's own. */
const ADDRESS_BYTES = new Map([
  [UNKNOWN, 0],
  [TCP4, 12],
  [TCP6, 36],
])

function sourceOf(bytes: Buffer, family: number): Source {
  if (family === TCP4)
    return { address: bytes.subarray(16, 20).join('.'), port: bytes.readUInt16BE(24) }
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(16 + 2 * at).toString(16))
  return { address: groups.join(':'), port: bytes.readUInt16BE(48) }
}

function refused(reason: string): ProxyHeader {
  return { is: 'refused', reason }
}
