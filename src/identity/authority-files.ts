import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { Authority } from './authority.ts'
import { readCertificateFile } from './certificate-files.ts'
import { readSecretFile } from './key-files.ts'
import { KeyProtection } from './key-protection.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from './state-files.ts'

/** Writes the certificate of an authority, and its key for the owner alone. @throws STATE_UNWRITABLE */
export async function writeAuthority(
  folder: string,
  name: string,
  authority: Authority,
  protection = new KeyProtection(),
): Promise<void> {
  makeFolder(folder)
  writeState(join(folder, `${name}.key`), await protection.seal(authority.key), FOR_OWNER)
  writeState(join(folder, `${name}.pem`), authority.certificatePem, FOR_ALL)
}

/**
 * Reads the certificate and the key of a CA from NAME.pem and NAME.key.
 * @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_LOCKED, KEY_MISMATCH, CERTIFICATE_UNUSABLE
 */
export function readAuthority(
  folder: string,
  name: string,
  protection = new KeyProtection(),
): Authority {
  const [keyFile, certificateFile] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
  const key = protection.open(readSecretFile(keyFile), keyFile)
  const [facts] = readCertificateFile(certificateFile).certificates
  if (facts === undefined) {
    const text = `${certificateFile}: it holds no certificate that can be read`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
  if (facts.extensions.basicConstraints?.isCa !== true)
    throw new PosternError('CERTIFICATE_UNUSABLE', `${certificateFile}: it is no authority`)
  if (!new X509Certificate(facts.der).checkPrivateKey(key)) {
    const text = `${keyFile} does not belong to ${certificateFile}`
    throw new PosternError('KEY_MISMATCH', text)
  }
  return Authority.of(new Uint8Array(facts.der), key)
}
