import { X509Certificate, type KeyObject } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  statfsSync,
  type Stats,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { isOursToWrite, isSafeFolder, ROOT } from '../base/who-may-write.ts'
import { KeyProtection } from './key-protection.ts'
import { privatePem } from './keys.ts'
import { judgeLeaf } from './leaf-rules.ts'
import type { Identity, Role } from './name.ts'

const OTHERS_MAY_READ = 0o077
const ALL_MAY_READ = 0o007
/** f_type of tmpfs (statfs(2)). */
const TMPFS = 0x01021994
const FILE_BYTES_MAX = 256 * 1024

/** The files of one identity: certificate with chain, key, and bundle of roots. */
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

/** A credential as it lies somewhere, not judged yet. */
export interface CredentialTexts {
  readonly certificatePem: string
  readonly bundlePem: string
  readonly key: KeyObject
}

/** The values and collaborators that `readCredential` is given. */
export interface ReadOptions {
  readonly protection?: KeyProtection
  /** Taken although its time is over: for who may renew it nevertheless. */
  readonly mayBeExpired?: boolean
}

/**
 * Reads and judges a credential.
 * @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_LOCKED, KEY_MISMATCH, CERTIFICATE_UNUSABLE
 */
export function readCredential(
  paths: KeyFilePaths,
  role: Role,
  nowMs: number,
  { protection = new KeyProtection(), mayBeExpired = false }: ReadOptions = {},
): Credential {
  const key = protection.open(readSecretFile(paths.keyFile), paths.keyFile)
  const certificatePem = readPem(paths.certificateFile)
  const bundlePem = readPem(paths.bundleFile)
  parseCertificate(bundlePem, paths.bundleFile)
  const credential = judgeCredential({ certificatePem, bundlePem, key }, role, paths)
  if (credential.notAfterMs > nowMs || mayBeExpired) return credential
  throw unusable(
    paths.certificateFile,
    `expired on ${new Date(credential.notAfterMs).toISOString()}`,
  )
}

/**
 * Judges that a key, its certificate and the bundle belong together and fit the role.
 * @throws KEY_MISMATCH, CERTIFICATE_UNUSABLE
 */
export function judgeCredential(
  { certificatePem, bundlePem, key }: CredentialTexts,
  role: Role,
  paths: Pick<KeyFilePaths, 'certificateFile' | 'keyFile'>,
): Credential {
  const leaf = parseCertificate(certificatePem, paths.certificateFile)
  if (!leaf.checkPrivateKey(key)) {
    const text = `${paths.keyFile} does not belong to the first certificate of ${paths.certificateFile}`
    throw new PosternError('KEY_MISMATCH', text)
  }
  const identity = ownIdentity(leaf, role, paths.certificateFile)
  const notBeforeMs = Date.parse(leaf.validFrom)
  const notAfterMs = Date.parse(leaf.validTo)
  const credential = { identity, certificatePem, bundlePem, notBeforeMs, notAfterMs }
  return Object.defineProperty(credential, 'keyPem', {
    value: privatePem(key),
    enumerable: false,
  }) as Credential
}

/** Reads a file of certificates that anybody may read. @throws FILE_UNREADABLE */
export function readPublicFile(path: string): string {
  return readPem(path)
}

function readPem(path: string, judge?: (stat: Stats) => void): string {
  let file: number | undefined
  try {
    // Opened once, so that what is judged is what is read.
    file = openSync(path, 'r')
    const stat = fstatSync(file)
    judge?.(stat)
    if (stat.size > FILE_BYTES_MAX)
      throw new Error(`it is larger than ${String(FILE_BYTES_MAX)} bytes`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof PosternError) throw error
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/**
 * A file that only its owner may read, and the owner is root or us, in a folder where nobody else can
 * put another in its place.
 * @throws FILE_UNREADABLE, KEY_EXPOSED
 */
export function readSecretFile(path: string): string {
  judgeFolder(dirname(path))
  const real = realOf(path)
  if (dirname(real) !== dirname(path)) judgeFolder(dirname(real))
  return readPem(path, (stat) => {
    const { mode, uid, gid } = stat
    const isRoots = uid === ROOT && isOursToWrite(stat)
    // Of root, for a group that we are of: as fsGroup of Kubernetes hands out secrets.
    const isOurGroups =
      process.getuid?.() !== ROOT && isRoots && (mode & ALL_MAY_READ) === 0 && isOurGroup(gid)
    if (isOurGroups || (isRoots && isProjected(path))) return
    if ((mode & OTHERS_MAY_READ) !== 0) {
      const octal = (mode & 0o777).toString(8)
      const text = `${path} has mode ${octal}; run: chmod 600 ${path}`
      throw new PosternError('KEY_EXPOSED', text, { path, mode: octal })
    }
    if (uid === ROOT || uid === process.getuid?.()) return
    const isRoot = process.getuid?.() === ROOT
    const advice = isRoot ? `run as that user: sudo -u '#${String(uid)}' …` : 'own it'
    const text = `${path} belongs to user ${String(uid)}, who may read and change it; ${advice}`
    throw new PosternError('KEY_EXPOSED', text, { path, uid })
  })
}

/** What a path leads to, through links. @throws FILE_UNREADABLE */
function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}

function isOurGroup(gid: number): boolean {
  return process.getegid?.() === gid || process.getgroups?.().includes(gid) === true
}

/**
 * On a volume that Kubernetes projects a Secret to: in memory, of this pod alone, its files behind the link `..data`,
 * and readable by all unless somebody asks for another mode.
 */
function isProjected(path: string): boolean {
  const data = join(dirname(path), '..data')
  const link = lstatSync(data, { throwIfNoEntry: false })
  return link?.isSymbolicLink() === true && link.uid === ROOT && statfsSync(data).type === TMPFS
}

/** @throws KEY_EXPOSED */
function judgeFolder(path: string): void {
  if (isSafeFolder(path)) return
  const text = `${path} may be written by others, who can replace what lies in it; run: chmod go-w ${path}, and own it`
  throw new PosternError('KEY_EXPOSED', text, { path })
}

function parseCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw unusable(path, 'it holds no PEM certificate', error)
  }
}

function ownIdentity(leaf: X509Certificate, role: Role, path: string): Identity {
  try {
    return judgeLeaf(leaf.raw, { trustDomain: undefined, roles: [role] })
  } catch (error) {
    const text = error instanceof PosternError ? error.rawMessage : String(error)
    throw unusable(path, text, error)
  }
}

function unusable(path: string, text: string, cause?: unknown): PosternError {
  return new PosternError('CERTIFICATE_UNUSABLE', `${path}: ${text}`, { path }, { cause })
}
