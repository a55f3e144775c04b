import ipaddr from 'ipaddr.js'
import { PosternError } from '../base/errors.ts'
import { readCertificate } from './validation/certificate.ts'

/**
 * Whether a leaf names a host: a DNS name or address of its SAN, read from its DER, in exact form;
 * never the common name, never a wildcard. Returns the error, as tls.connect wants it.
 */
export function judgeHostName(leafDer: Buffer, host: string): PosternError | undefined {
  try {
    const names = readCertificate(leafDer).extensions.names ?? []
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
  return new PosternError('CERT_NAME', `the certificate does not name ${host}`)
}
