import { peerKey } from './peer-address.ts'
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import { judgeLeaf, type Expectation } from '../identity/leaf-rules.ts'
import {
  isSelfIssued,
  readCertificate,
  type CertificateFacts,
  certificateFaults,
} from '../identity/validation/validation.ts'
import { ALPN } from './tls-options.ts'
import { TlsWire } from './tls-wire.ts'

/** As the validator's own limit, root and leaf left out. */
const ISSUERS_MAX = 8

/**
 * The one place where a finished handshake becomes a peer, at both ends. OpenSSL has accepted the
 * chain; this demands the rest, from the verified leaf alone. `address`: of the other end, for people, where a carrier is between.
 * `alpn`: any, where the peer speaks HTTP.
 * @throws CERT_MISSING, CERT_UNTRUSTED, TLS_ALPN, CERT_LEAF_RULES, IDENTITY_ROLE, IDENTITY_TRUST_DOMAIN
 */
export function judgePeer(
  socket: TLSSocket,
  expected: Expectation,
  address = peerKey(socket),
  alpn: typeof ALPN | 'any' = ALPN,
): TlsWire {
  const leaf = socket.getPeerX509Certificate()
  if (leaf === undefined)
    throw new PosternError('CERT_MISSING', 'the peer presented no certificate')
  if (!socket.authorized || socket.isSessionReused()) {
    throw new PosternError(
      'CERT_UNTRUSTED',
      'the chain of the peer was not verified in this handshake',
    )
  }
  if (alpn !== 'any' && socket.alpnProtocol !== ALPN) {
    throw new PosternError('TLS_ALPN', `the peer did not negotiate ${ALPN}`)
  }
  const identity = judgeLeaf(leaf.raw, expected)
  judgeIssuers(leaf)
  const own = socket.getX509Certificate()
  const group = socket.getEphemeralKeyInfo() as { name?: string } | null
  return new TlsWire(socket, {
    identity,
    tlsVersion: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    group: group?.name ?? groupName(socket),
    address,
    certificateNotBeforeMs: Date.parse(leaf.validFrom),
    certificateNotAfterMs: Date.parse(leaf.validTo),
    certificate: leaf.raw,
    ...(own === undefined ? {} : { ownNotAfterMs: Date.parse(own.validTo) }),
  })
}

/**
 * OpenSSL takes keys and algorithms of authorities that our validator does not: one is judged like the other. Roots are
 * trusted as they are. @throws CERT_UNTRUSTED
 */
function judgeIssuers(leaf: X509Certificate): void {
  let { issuerCertificate: issuer } = leaf
  for (let depth = 0; issuer !== undefined && depth < ISSUERS_MAX; depth++) {
    const facts = readIssuer(issuer)
    if (isSelfIssued(facts)) return
    const surroundings = { timeMs: facts.notBeforeMs, role: undefined }
    const [fault] = certificateFaults(facts, 'intermediate', surroundings)
    if (fault !== undefined)
      throw new PosternError('CERT_UNTRUSTED', `an authority of the chain ${fault}`)
    issuer = issuer.issuerCertificate
  }
  if (issuer !== undefined)
    throw new PosternError('CERT_UNTRUSTED', `the chain is longer than ${String(ISSUERS_MAX)}`)
}

function readIssuer({ raw }: X509Certificate): CertificateFacts {
  try {
    return readCertificate(raw)
  } catch (error) {
    const text = `an authority of the chain cannot be decoded: ${(error as Error).message}`
    throw new PosternError('CERT_UNTRUSTED', text, {}, { cause: error })
  }
}

/** A server cannot ask OpenSSL for the group through Node; the client's view is authoritative. */
function groupName(socket: TLSSocket): string {
  return socket.getProtocol() === 'TLSv1.3' ? 'ephemeral' : 'ECDHE'
}
