import { readFileSync, statSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import { pemBlocks } from './pem.ts'
import { spkiPin } from './keys.ts'
import { isSelfIssued, readCertificate, type CertificateFacts } from './validation/validation.ts'

const FILE_BYTES_MAX = 4 * 1024 * 1024
const SEQUENCE = 0x30

/** The certificates that one file holds. */
export interface CertificateFile {
  readonly certificates: readonly CertificateFacts[]
  /** One line for each certificate that cannot be decoded. */
  readonly broken: readonly string[]
}

/** Certificates of a file, PEM or a single one in DER. @throws FILE_UNREADABLE */
export function readCertificateFile(path: string): CertificateFile {
  const bytes = readBounded(path)
  const certificates: CertificateFacts[] = []
  const broken: string[] = []
  const take = (der: Buffer, index: number): void => {
    try {
      certificates.push(readCertificate(der))
    } catch (error) {
      broken.push(`${path}: certificate ${String(index + 1)}: ${(error as Error).message}`)
    }
  }
  if (bytes[0] === SEQUENCE) take(bytes, 0)
  else {
    try {
      pemBlocks(bytes.toString('latin1'), 'CERTIFICATE').forEach(take)
    } catch (error) {
      broken.push(`${path}: ${(error as Error).message}`)
    }
  }
  return { certificates, broken }
}

/** The certificates of a PEM text. Throws a plain Error where one cannot be decoded. */
export function certificatesIn(pem: string): CertificateFacts[] {
  return pemBlocks(pem, 'CERTIFICATE').map(readCertificate)
}

function readBounded(path: string): Buffer {
  try {
    if (statSync(path).size > FILE_BYTES_MAX)
      throw new Error(`it is larger than ${String(FILE_BYTES_MAX)} bytes`)
    return readFileSync(path)
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}

/** The text of a trust bundle in PEM. @throws FILE_UNREADABLE */
export function readBundleText(path: string): string {
  return readBounded(path).toString('latin1')
}

/** Pins of the roots in a trust bundle. @throws FILE_UNREADABLE, CERTIFICATE_UNUSABLE */
export function rootPins(bundleFile: string): string[] {
  const { certificates, broken } = readCertificateFile(bundleFile)
  if (certificates.length === 0 || broken.length > 0) {
    const text = broken[0] ?? `${bundleFile}: it holds no certificate`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
  return certificates.filter(isSelfIssued).map(({ publicKey }) => spkiPin(publicKey))
}
