import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import {
  judgeCredential,
  readCredential,
  type Credential,
  type KeyFilePaths,
} from '../identity/key-files.ts'

/** A certificate of role caller, its key, and the roots to trust, in PEM. */
export interface CallerPems {
  /** Leaf first, then the intermediates. */
  readonly certificatePem: string
  /** PKCS#8. */
  readonly keyPem: string
  /** The roots that gateways must chain to. */
  readonly bundlePem: string
}

/** Gives the present ones; asked for each connection, and every two seconds while there is one. */
export type CredentialProvider = () => CallerPems | Promise<CallerPems>

/** Where a caller's certificate and key come from. Files and what a provider gives are taken over when they change. */
export type Credentials = KeyFilePaths | CallerPems | CredentialProvider

/**
 * Reads and judges them.
 * @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_LOCKED, KEY_MISMATCH, CERTIFICATE_UNUSABLE, and what a provider throws
 */
export async function readCredentials(from: Credentials, nowMs: number): Promise<Credential> {
  if ('certificateFile' in from) return readCredential(from, 'caller', nowMs)
  const { certificatePem, keyPem, bundlePem } = typeof from === 'function' ? await from() : from
  const names = { certificateFile: 'certificatePem', keyFile: 'keyPem' }
  const texts = { certificatePem, bundlePem, key: keyOf(keyPem) }
  const credential = judgeCredential(texts, 'caller', names)
  if (credential.notAfterMs > nowMs) return credential
  const end = new Date(credential.notAfterMs).toISOString()
  throw new PosternError('CERTIFICATE_UNUSABLE', `certificatePem: expired on ${end}`)
}

/** What tells one state of them from another; undefined where they cannot be read now. */
export async function markOf(from: Credentials): Promise<string | undefined> {
  try {
    if (!('certificateFile' in from))
      return Object.values(typeof from === 'function' ? await from() : from).join()
    const { certificateFile, keyFile, bundleFile } = from
    return [certificateFile, keyFile, bundleFile].map((path) => readFileSync(path, 'utf8')).join()
  } catch {
    // Files are being written, or a provider has nothing now: looked at again.
    return undefined
  }
}

/** Whether they can be used: half of the files may be written, and then the other half is waited for. */
export async function areUsable(from: Credentials, nowMs: number): Promise<boolean> {
  return await readCredentials(from, nowMs).then(
    () => true,
    () => false,
  )
}

function keyOf(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem)
  } catch {
    // Neither its text nor what the parser says of it goes into an error.
    throw new PosternError('CERTIFICATE_UNUSABLE', 'keyPem: it holds no private key in PEM')
  }
}
