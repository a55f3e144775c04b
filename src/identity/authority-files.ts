import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { Authority } from './authority.ts'
import { readCertificateFile } from './certificate-files.ts'
import { readSecretFile } from './key-files.ts'
import { readPrivateKey } from './keys.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from './state-files.ts'

/** Writes the certificate of an authority, and its key for the owner alone. @throws STATE_UNWRITABLE */
export function writeAuthority(folder: string, name: string, authority: Authority): void {
  makeFolder(folder)
  writeState(join(folder, `${name}.key`), authority.keyPem, FOR_OWNER)
  writeState(join(folder, `${name}.pem`), authority.certificatePem, FOR_ALL)
}

/** @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE */
export function readAuthority(folder: string, name: string): Authority {
  const [keyFile, certificateFile] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
  const key = readPrivateKey(readSecretFile(keyFile), keyFile)
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
