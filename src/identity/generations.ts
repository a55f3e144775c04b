import { X509Certificate } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { readSecretFile, type KeyFilePaths } from './key-files.ts'
import { readPrivateKey } from './keys.ts'
import { attempt, FOR_ALL, FOR_OWNER, makeFolder, syncFolder, writeState } from './state-files.ts'

const CURRENT = 'current'
const PENDING = 'pending'
const NAME = /^gen-(\d{6})$/
/** The one before stays, for as long as the new one is not proven. */
const KEPT = 2

/** One certificate with all that belongs to it. */
export interface Generation {
  readonly keyPem: string
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  readonly bundlePem: string
}

/**
 * An agent's identity on disk. Each certificate has a folder of its own, made complete and flushed
 * before a link is switched to it by one rename: whenever the power fails, the link names a whole
 * generation, old or new.
 */
export class Generations {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Files of the generation in use, or undefined before the first. */
  get current(): KeyFilePaths | undefined {
    const folder = join(this.#folder, CURRENT)
    if (!existsSync(join(folder, 'chain.pem'))) return undefined
    return {
      certificateFile: join(folder, 'chain.pem'),
      keyFile: join(folder, 'key.pem'),
      bundleFile: join(folder, 'bundle.pem'),
    }
  }

  /**
   * The key that a request is or will be under way for. It is on disk before it is used, so that a
   * crash between request and answer asks again with the same.
   * @throws STATE_UNWRITABLE, KEY_EXPOSED, KEY_MISMATCH
   */
  async pendingKey(make: () => Promise<string>): Promise<string> {
    const folder = join(this.#folder, PENDING)
    const path = join(folder, 'key.pem')
    if (existsSync(path)) {
      const keyPem = readSecretFile(path)
      readPrivateKey(keyPem, path)
      return keyPem
    }
    const keyPem = await make()
    makeFolder(this.#folder)
    makeFolder(folder)
    writeState(path, keyPem, FOR_OWNER)
    return keyPem
  }

  /** Forgets the pending key, as when its request was refused for good. @throws STATE_UNWRITABLE */
  dropPending(): void {
    const folder = join(this.#folder, PENDING)
    attempt(folder, () => {
      rmSync(folder, { recursive: true, force: true })
    })
  }

  /** Makes a generation the current one. @throws STATE_UNWRITABLE, KEY_MISMATCH */
  install({ keyPem, chainPem, bundlePem }: Generation, nowMs: number): void {
    const leaf = new X509Certificate(chainPem)
    if (!leaf.checkPrivateKey(readPrivateKey(keyPem, 'the pending key')))
      throw new PosternError('KEY_MISMATCH', 'the certificate is for another key')
    makeFolder(this.#folder)
    const name = `gen-${String(this.#lastNumber() + 1).padStart(6, '0')}`
    const folder = join(this.#folder, name)
    makeFolder(folder)
    writeState(join(folder, 'key.pem'), keyPem, FOR_OWNER)
    writeState(join(folder, 'chain.pem'), chainPem, FOR_ALL)
    writeState(join(folder, 'bundle.pem'), bundlePem, FOR_ALL)
    const meta = {
      installedAt: new Date(nowMs).toISOString(),
      serial: leaf.serialNumber.toLowerCase(),
      notAfter: new Date(leaf.validTo).toISOString(),
    }
    writeState(join(folder, 'meta.json'), `${JSON.stringify(meta, null, 2)}\n`, FOR_ALL)
    syncFolder(this.#folder)
    this.#switchTo(name)
    this.dropPending()
    this.#dropOld(name)
  }

  #switchTo(name: string): void {
    const link = join(this.#folder, CURRENT)
    const fresh = join(this.#folder, `.${CURRENT}.new`)
    attempt(link, () => {
      if (existsSync(link) && !lstatSync(link).isSymbolicLink())
        throw new Error('it is no link of ours; move it away')
      rmSync(fresh, { force: true })
      symlinkSync(name, fresh)
      renameSync(fresh, link)
    })
    syncFolder(this.#folder)
  }

  #numbers(): number[] {
    return attempt(this.#folder, () =>
      readdirSync(this.#folder).flatMap((name) => {
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
      if (name === current || readlinkSync(join(this.#folder, CURRENT)) === name) continue
      attempt(name, () => {
        rmSync(join(this.#folder, name), { recursive: true, force: true })
      })
    }
  }
}
