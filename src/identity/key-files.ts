import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import { judgeLeaf } from './leaf-rules.ts'
import type { Identity, Role } from './name.ts'

const OTHERS_MAY_READ = 0o077
const FILE_BYTES_MAX = 256 * 1024

export interface KeyFilePaths {
  /** PEM: leaf first, then the intermediates. */
  readonly certificateFile: string
  /** PEM, PKCS#8, readable by its owner alone. */
  readonly keyFile: string
  /** PEM: the roots that peers must chain to. */
  readonly bundleFile: string
}

/** Our own certificate with its key, and whom we trust. The key's bytes are never printed. */
export interface Credential {
  readonly identity: Identity
  readonly certificatePem: string
  readonly bundlePem: string
  readonly notAfterMs: number
  readonly notBeforeMs: number
  /** For TLS only; not enumerable, so that no log or JSON takes it along. */
  readonly keyPem: string
}

/**
 * Reads and judges a credential.
 * @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE
 */
export function readCredential(paths: KeyFilePaths, role: Role, nowMs: number): Credential {
  judgeKeyMode(paths.keyFile)
  const certificatePem = readPem(paths.certificateFile)
  const keyPem = readPem(paths.keyFile)
  const bundlePem = readPem(paths.bundleFile)
  const leaf = parseCertificate(certificatePem, paths.certificateFile)
  parseCertificate(bundlePem, paths.bundleFile)
  judgeMatch(leaf, keyPem, paths)
  const identity = ownIdentity(leaf, role, paths.certificateFile)
  const notBeforeMs = Date.parse(leaf.validFrom)
  const notAfterMs = Date.parse(leaf.validTo)
  if (notAfterMs <= nowMs) {
    throw unusable(paths.certificateFile, `expired on ${new Date(notAfterMs).toISOString()}`)
  }
  const credential = { identity, certificatePem, bundlePem, notBeforeMs, notAfterMs }
  return Object.defineProperty(credential, 'keyPem', {
    value: keyPem,
    enumerable: false,
  }) as Credential
}

function readPem(path: string): string {
  try {
    const { size } = statSync(path)
    if (size > FILE_BYTES_MAX) throw new Error(`it is larger than ${String(FILE_BYTES_MAX)} bytes`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new PosternError(
      'FILE_UNREADABLE',
      `${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
}

function judgeKeyMode(path: string): void {
  let mode: number
  try {
    mode = statSync(path).mode
  } catch (error) {
    throw new PosternError(
      'FILE_UNREADABLE',
      `${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
  if ((mode & OTHERS_MAY_READ) === 0) return
  const octal = (mode & 0o777).toString(8)
  throw new PosternError('KEY_EXPOSED', `${path} has mode ${octal}; run: chmod 600 ${path}`, {
    path,
    mode: octal,
  })
}

function parseCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw unusable(path, 'it holds no PEM certificate', error)
  }
}

function judgeMatch(leaf: X509Certificate, keyPem: string, paths: KeyFilePaths): void {
  let matches: boolean
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(keyPem))
  } catch {
    // The cause is dropped: OpenSSL's words could quote the key file.
    throw new PosternError(
      'KEY_MISMATCH',
      `${paths.keyFile} holds no PEM private key without a passphrase`,
    )
  }
  if (matches) return
  const text = `${paths.keyFile} does not belong to the first certificate of ${paths.certificateFile}`
  throw new PosternError('KEY_MISMATCH', text)
}

function ownIdentity(leaf: X509Certificate, role: Role, path: string): Identity {
  try {
    const trustDomain =
      /URI:"?spiffe:\/\/([a-z0-9.-]+)\//.exec(leaf.subjectAltName ?? '')?.[1] ?? ''
    return judgeLeaf(leaf.raw, { trustDomain, roles: [role] })
  } catch (error) {
    const text = error instanceof PosternError ? error.rawMessage : String(error)
    throw unusable(path, text, error)
  }
}

function unusable(path: string, text: string, cause?: unknown): PosternError {
  return new PosternError('CERTIFICATE_UNUSABLE', `${path}: ${text}`, { path }, { cause })
}
