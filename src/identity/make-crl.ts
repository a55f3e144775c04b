import 'reflect-metadata'
import { createPublicKey, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  cryptoProvider,
  Extension,
  X509CrlGenerator,
} from '@peculiar/x509'
import type { Authority } from './authority.ts'
import { CRL_NUMBER } from './crl.ts'
import { TAG } from './der.ts'
import { element } from './der-write.ts'
import { cryptoKey, signingAlgorithm } from './keys.ts'

/** One entry of a list of revoked certificates. */
export interface RevokedSerial {
  /** Hex. */
  readonly serial: string
  readonly atMs: number
}

/** The content of a list of revoked certificates, before it is signed. */
export interface CrlContent {
  /** Grows with every list of the same issuer. */
  readonly number: number
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
  readonly revoked: readonly RevokedSerial[]
}

/** A CRL, version 2 (RFC 5280 section 5), in DER. */
export async function makeCrl(issuer: Authority, content: CrlContent): Promise<Buffer> {
  cryptoProvider.set(webcrypto)
  const signingKey = cryptoKey(issuer.key)
  const publicKey = cryptoKey(createPublicKey(issuer.key))
  const crl = await X509CrlGenerator.create(
    {
      issuer: issuer.certificate.subjectName,
      thisUpdate: new Date(content.thisUpdateMs),
      nextUpdate: new Date(content.nextUpdateMs),
      entries: content.revoked.map(({ serial, atMs }) => ({
        serialNumber: serial,
        revocationDate: new Date(atMs),
      })),
      extensions: [
        await AuthorityKeyIdentifierExtension.create(publicKey, false, webcrypto),
        new Extension(CRL_NUMBER, false, element(TAG.integer, integerBytes(content.number))),
      ],
      signingAlgorithm: signingAlgorithm(issuer.key),
      signingKey,
    },
    webcrypto,
  )
  return Buffer.from(crl.rawData)
}

function integerBytes(value: number): Buffer {
  const bytes = Buffer.alloc(7)
  bytes.writeUIntBE(value, 1, 6)
  let start = 0
  while (start < 6 && bytes[start] === 0 && (bytes[start + 1] ?? 0) < 0x80) start++
  return bytes.subarray(start)
}
