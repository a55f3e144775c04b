import { constants } from 'node:crypto'
import type { CommonConnectionOptions, SecureContextOptions } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import type { Credential } from '../identity/key-files.ts'

/** Our protocol's name in TLS (RFC 7301). */
export const ALPN = 'postern/1'

/** AEAD with forward secrecy only; TLS 1.3 suites first. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/** The post-quantum hybrid first, where the peer has it. */
const GROUPS = 'X25519MLKEM768:X25519:prime256v1:secp384r1'

const SIGNATURES = [
  'ed25519',
  'ecdsa_secp256r1_sha256',
  'ecdsa_secp384r1_sha384',
  'rsa_pss_rsae_sha256',
  'rsa_pss_rsae_sha384',
  'rsa_pss_rsae_sha512',
  'rsa_pkcs1_sha256',
  'rsa_pkcs1_sha384',
].join(':')

/**
 * Node's own switch does not stop renegotiation, so OpenSSL's bits do; no tickets, as a resumed
 * session would outlive the trust that it was made under; no compression.
 */
const SECURE_OPTIONS =
  constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_COMPRESSION

type TlsContext = SecureContextOptions & CommonConnectionOptions

/** TLS settings of both ends. None of them can be configured. */
export const TLS_OPTIONS: TlsContext = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  ecdhCurve: GROUPS,
  sigalgs: SIGNATURES,
  secureOptions: SECURE_OPTIONS,
  rejectUnauthorized: true,
}

/** A certificate with its chain and key, and the roots that peers must chain to, all in PEM. */
export type TlsIdentity = Pick<Credential, 'bundlePem' | 'certificatePem' | 'keyPem'>

/** TLS settings of one end with its certificate. `intermediatesPem`: authorities that peers may leave out of their chains. @throws CERTIFICATE_UNUSABLE for an empty bundle */
export function secureContext(
  { bundlePem, certificatePem, keyPem }: TlsIdentity,
  intermediatesPem = '',
): TlsContext {
  // Not trusted for that: OpenSSL builds paths with what is here, and wants a root at the end of each.
  return {
    ...TLS_OPTIONS,
    ca: rootsOf(bundlePem) + intermediatesPem,
    cert: certificatePem,
    key: keyPem,
  }
}

/** Trust in the roots of a file of the customer's; undefined: in those of the system. @throws CERTIFICATE_UNUSABLE for a file without one */
export function trustIn(caPem: string | undefined): { readonly ca?: string } {
  return caPem === undefined ? {} : { ca: rootsOf(caPem) }
}

/** The bundle; Node would take the roots of the system in place of none. @throws CERTIFICATE_UNUSABLE */
export function rootsOf(bundlePem: string): string {
  if (bundlePem.includes('-----BEGIN CERTIFICATE-----')) return bundlePem
  throw new PosternError('CERTIFICATE_UNUSABLE', 'the trust bundle or file of roots holds no root')
}
