import forge from 'node-forge'
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { PosternError } from '../base/errors.ts'

/** What a PKCS#12 file holds, not judged yet. */
export interface Pkcs12Found {
  readonly key: KeyObject
  /** DER, in the order of the file. */
  readonly certificates: readonly Buffer[]
}

/**
 * Reads a PKCS#12 file (RFC 7292) as enterprise PKIs hand them out, with old encryption (RC2, 3DES) too, which the
 * parsers over WebCrypto cannot read. node-forge takes the file apart and verifies its MAC; nothing that it says of
 * certificates is believed. @throws PKCS12_UNREADABLE
 */
export function readPkcs12(bytes: Buffer, passphrase: string): Pkcs12Found {
  try {
    const asn1 = forge.asn1.fromDer(forge.util.createBuffer(bytes.toString('binary')), true)
    const file = forge.pkcs12.pkcs12FromAsn1(asn1, true, passphrase)
    const bags = file.safeContents.flatMap(({ safeBags }) => safeBags)
    const keys = bags.flatMap((bag) =>
      bag.type === forge.pki.oids.pkcs8ShroudedKeyBag || bag.type === forge.pki.oids.keyBag
        ? [keyOf(bag)]
        : [],
    )
    const [key] = keys
    if (key === undefined || keys.length > 1)
      throw new Error(`it holds ${String(keys.length)} private keys instead of one`)
    const certificates = bags.flatMap((bag) =>
      bag.type === forge.pki.oids.certBag ? [certificateOf(bag)] : [],
    )
    return { key, certificates }
  } catch (error) {
    const { message } = error as Error
    const text = message.includes('MAC could not be verified')
      ? 'the passphrase does not open it, or it is damaged'
      : `it cannot be read: ${message}`
    throw new PosternError('PKCS12_UNREADABLE', text, {}, { cause: error })
  }
}

/** Its types leave out that what is not RSA is null. */
interface Bag {
  readonly key?: forge.pki.PrivateKey | null | undefined
  readonly cert?: forge.pki.Certificate | null | undefined
  readonly asn1: forge.asn1.Asn1
}

/** Of RSA node-forge makes an object of its own; other kinds it leaves as they are. */
function keyOf({ key, asn1 }: Bag): KeyObject {
  const info = key === undefined || key === null ? asn1 : rsaInfo(key)
  return createPrivateKey({ key: derOf(info), format: 'der', type: 'pkcs8' })
}

function rsaInfo(key: forge.pki.PrivateKey): forge.asn1.Asn1 {
  const rsa = key as forge.pki.rsa.PrivateKey
  return forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(rsa))
}

function certificateOf({ cert, asn1 }: Bag): Buffer {
  return derOf(cert === undefined || cert === null ? asn1 : forge.pki.certificateToAsn1(cert))
}

function derOf(asn1: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(asn1).getBytes(), 'binary')
}
