import { X509Certificate, type KeyObject } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { readSecretFile, type KeyFilePaths } from './key-files.ts'
import { KeyProtection } from './key-protection.ts'
import { attempt, FOR_ALL, FOR_OWNER, makeFolder, syncFolder, writeState } from './state-files.ts'

const CURRENT = 'current'
const PENDING = 'pending'
const NAME = /^gen-(\d{6})$/
/** The one before stays, for as long as the new one is not proven. */
const KEPT = 2
const NO_BUNDLE: BundleFacts = { version: 0, issuingKeys: [] }

/** A private key, and its text as it lies on disk. */
export interface StoredKey {
  readonly key: KeyObject
  readonly keyPem: string
}

/** One certificate with all that belongs to it. */
export interface Generation extends StoredKey {
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  readonly bundlePem: string
  /** Of the signed trust bundle that bundlePem came from. */
  readonly trust?: BundleFacts
}

/** What of a signed trust bundle is not in its roots. */
export interface BundleFacts {
  /** 0 before the first. */
  readonly version: number
  /** Key identifiers of the issuing CAs, in hex; none before the first. */
  readonly issuingKeys: readonly string[]
}

/**
 * The generations of an identity on disk: each a key, its chain and a bundle, one of them current.
 * Each certificate has a folder of its own, made complete and flushed before a link is switched to it by one rename: whenever the power fails, the link names a whole
 * generation, old or new.
 */
export class Generations {
  readonly folder: string
  #protection: KeyProtection

  constructor(folder: string, protection = new KeyProtection()) {
    this.folder = folder
    this.#protection = protection
  }

  /** Files of the generation in use, or undefined before the first. */
  get current(): KeyFilePaths | undefined {
    const folder = join(this.folder, CURRENT)
    if (!existsSync(join(folder, 'chain.pem'))) return undefined
    return {
      certificateFile: join(folder, 'chain.pem'),
      keyFile: join(folder, 'key.pem'),
      bundleFile: join(folder, 'bundle.pem'),
    }
  }

  /** Name of the generation before the one in use, where it is still there. */
  get previous(): string | undefined {
    try {
      const current = readlinkSync(join(this.folder, CURRENT))
      const names = readdirSync(this.folder).filter((name) => NAME.test(name) && name < current)
      return names.sort().at(-1)
    } catch {
      // None is there, or it cannot be read: nothing to name.
      return undefined
    }
  }

  /** Of the trust bundle of the generation in use. */
  get trust(): BundleFacts {
    try {
      const path = join(this.folder, CURRENT, 'meta.json')
      const meta: unknown = JSON.parse(readFileSync(path, 'utf8'))
      const { bundleVersion, issuingKeys } = meta as Record<string, unknown>
      if (typeof bundleVersion !== 'number' || !Array.isArray(issuingKeys)) return NO_BUNDLE
      return { version: bundleVersion, issuingKeys: issuingKeys.map(String) }
    } catch {
      // Of an earlier version, or spoilt: the bundle is asked for anew.
      return NO_BUNDLE
    }
  }

  /** Keys are read and written with this from now on. */
  use(protection: KeyProtection): void {
    this.#protection = protection
  }

  /**
   * The key that a request is or will be under way for. It is on disk before it is used, so that a
   * crash between request and answer asks again with the same.
   * @throws STATE_UNWRITABLE, KEY_EXPOSED
   */
  async pendingKey(make: () => Promise<KeyObject>): Promise<StoredKey> {
    const folder = join(this.folder, PENDING)
    const path = join(folder, 'key.pem')
    if (existsSync(path)) {
      const keyPem = readSecretFile(path)
      const isFit = !this.#protection.isOn || keyPem.includes('ENCRYPTED')
      const key = isFit ? this.#opened(keyPem, path) : undefined
      if (key !== undefined) return { key, keyPem }
    }
    const key = await make()
    const keyPem = await this.#protection.seal(key)
    makeFolder(this.folder)
    makeFolder(folder)
    writeState(path, keyPem, FOR_OWNER)
    return { key, keyPem }
  }

  /** Undefined where it is damaged, or sealed with another passphrase: nothing depends on it, and a new key is made. */
  #opened(keyPem: string, path: string): KeyObject | undefined {
    try {
      return this.#protection.open(keyPem, path)
    } catch (error) {
      if (error instanceof PosternError) return undefined
      throw error
    }
  }

  /** The same certificate and key with another trust bundle, as a generation of its own. */
  installBundle(bundlePem: string, trust: BundleFacts, nowMs: number): void {
    const { current } = this
    if (current === undefined) throw new PosternError('NOT_ENROLLED', `${this.folder} is empty`)
    const keyPem = readSecretFile(current.keyFile)
    const key = this.#protection.open(keyPem, current.keyFile)
    const chainPem = attempt(current.certificateFile, () =>
      readFileSync(current.certificateFile, 'utf8'),
    )
    this.#write({ key, keyPem, chainPem, bundlePem, trust }, nowMs)
  }

  /** Forgets the pending key, as when its request was refused for good. @throws STATE_UNWRITABLE */
  dropPending(): void {
    const folder = join(this.folder, PENDING)
    attempt(folder, () => {
      rmSync(folder, { recursive: true, force: true })
    })
  }

  /** Makes a generation the current one. @throws STATE_UNWRITABLE, KEY_MISMATCH */
  install(generation: Generation, nowMs: number): void {
    this.#write(generation, nowMs)
    this.dropPending()
  }

  #write(generation: Generation, nowMs: number): void {
    const { key, keyPem, chainPem, bundlePem, trust = NO_BUNDLE } = generation
    const leaf = new X509Certificate(chainPem)
    if (!leaf.checkPrivateKey(key))
      throw new PosternError('KEY_MISMATCH', 'the certificate is for another key')
    makeFolder(this.folder)
    const name = `gen-${String(this.#lastNumber() + 1).padStart(6, '0')}`
    const folder = join(this.folder, name)
    makeFolder(folder)
    writeState(join(folder, 'key.pem'), keyPem, FOR_OWNER)
    writeState(join(folder, 'chain.pem'), chainPem, FOR_ALL)
    writeState(join(folder, 'bundle.pem'), bundlePem, FOR_ALL)
    const meta = {
      installedAt: new Date(nowMs).toISOString(),
      serial: leaf.serialNumber.toLowerCase(),
      notAfter: new Date(leaf.validTo).toISOString(),
      bundleVersion: trust.version,
      issuingKeys: trust.issuingKeys,
    }
    writeState(join(folder, 'meta.json'), `${JSON.stringify(meta, null, 2)}\n`, FOR_ALL)
    syncFolder(this.folder)
    this.#switchTo(name)
    this.#dropOld(name)
  }

  #switchTo(name: string): void {
    const link = join(this.folder, CURRENT)
    const fresh = join(this.folder, `.${CURRENT}.new`)
    attempt(link, () => {
      if (existsSync(link) && !lstatSync(link).isSymbolicLink())
        throw new Error('it is no link of ours; move it away')
      rmSync(fresh, { force: true })
      symlinkSync(name, fresh)
      renameSync(fresh, link)
    })
    syncFolder(this.folder)
  }

  #numbers(): number[] {
    return attempt(this.folder, () =>
      readdirSync(this.folder).flatMap((name) => {
        const number = NAME.exec(name)?.[1]
        return number === undefined ? [] : [Number(number)]
      }),
    )
  }

  #lastNumber(): number {
    return Math.max(0, ...this.#numbers())
  }

  /** Old generations, and those that a crash left unfinished. */
  #dropOld(current: string): void {
    const names = this.#numbers()
      .sort((a, b) => b - a)
      .map((number) => `gen-${String(number).padStart(6, '0')}`)
    for (const name of names.slice(KEPT)) {
      if (name === current || readlinkSync(join(this.folder, CURRENT)) === name) continue
      attempt(name, () => {
        rmSync(join(this.folder, name), { recursive: true, force: true })
      })
    }
  }
}
