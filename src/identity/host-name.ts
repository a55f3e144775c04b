import ipaddr from 'ipaddr.js'
import { PosternError, printable } from '../base/errors.ts'
import { readCertificate } from './validation/validation.ts'

const NAMES_SHOWN_MAX = 8

/**
 * Whether a leaf names a host: a DNS name or address of its SAN, read from its DER, in exact form;
 * never the common name, never a wildcard. Returns the error, as tls.connect wants it.
 */
export function judgeHostName(leafDer: Buffer, host: string): PosternError | undefined {
  let held: string[] = []
  try {
    const names = readCertificate(leafDer).extensions.names ?? []
    held = names.flatMap(({ kind, value }) =>
      kind === 'dns' ? [value] : kind === 'ip' ? [addressOf(value)] : [],
    )
    const address = ipaddr.isValid(host) ? Buffer.from(ipaddr.parse(host).toByteArray()) : undefined
    const wanted = host.toLowerCase()
    const isHeld = names.some(({ kind, value }) => {
      if (address !== undefined) return kind === 'ip' && value.equals(address)
      return kind === 'dns' && value.toLowerCase() === wanted
    })
    if (isHeld) return undefined
  } catch {
    // What cannot be read names nobody.
  }
  const shown = held.slice(0, NAMES_SHOWN_MAX).map((name) => printable(name))
  const more = held.length > shown.length ? ` and ${String(held.length - shown.length)} more` : ''
  const text = shown.length === 0 ? 'no host at all' : `${shown.join(', ')}${more}`
  return new PosternError('CERT_NAME', `the certificate does not name ${host}; it names ${text}`)
}

function addressOf(bytes: Buffer): string {
  return ipaddr.fromByteArray([...bytes]).toString()
}
