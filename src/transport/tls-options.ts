import { constants } from 'node:crypto'
import type { CommonConnectionOptions, SecureContextOptions } from 'node:tls'

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

/** TLS settings of both ends. None of them can be configured. */
export const TLS_OPTIONS: SecureContextOptions & CommonConnectionOptions = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  ecdhCurve: GROUPS,
  sigalgs: SIGNATURES,
  secureOptions: SECURE_OPTIONS,
  rejectUnauthorized: true,
}
