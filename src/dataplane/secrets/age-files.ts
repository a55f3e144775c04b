import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { SecretsRow } from '../secrets-row.ts'
import type { SecretBackend } from './secret-backend.ts'
import {
  isWithin,
  joinPath,
  splitPath,
  type Scope,
  type SecretEntry,
  type SecretPath,
} from './secret-path.ts'

const ENDING = '.age'
const MODE = 0o600
const FOLDER_MODE = 0o700

/** Files that are encrypted to somebody else (age-encryption.org/v1): the agent cannot read back what it wrote. */
export class AgeFiles implements SecretBackend {
  readonly name = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,126}$/
  readonly nameForm = '1 to 127 of letters, digits, - and _'
  readonly idMax = 512
  readonly #row: Extract<SecretsRow, { type: 'files' }>
  readonly #random: Pick<Random, 'hex'>

  constructor(row: Extract<SecretsRow, { type: 'files' }>, random: Pick<Random, 'hex'>) {
    this.#row = row
    this.#random = random
  }

  id(path: SecretPath): string {
    return joinPath(path, '/')
  }

  async put(path: SecretPath, value: Buffer): Promise<string> {
    const { Encrypter } = await import('age-encryption')
    const encrypter = new Encrypter()
    encrypter.addRecipient(this.#row.recipient)
    const sealed = await encrypter.encrypt(value)
    const file = this.#file(path)
    const draft = `${file}.${this.#random.hex(4)}.new`
    return this.#attempt(() => {
      mkdirSync(dirname(file), { recursive: true, mode: FOLDER_MODE })
      try {
        writeFileSync(draft, sealed, { mode: MODE, flag: 'wx', flush: true })
        renameSync(draft, file)
      } finally {
        rmSync(draft, { force: true })
      }
      return ''
    })
  }

  delete(path: SecretPath): Promise<boolean> {
    const file = this.#file(path)
    return Promise.resolve().then(() =>
      this.#attempt(() => {
        const isThere = statSync(file, { throwIfNoEntry: false }) !== undefined
        rmSync(file, { force: true })
        return isThere
      }),
    )
  }

  list(scope: Scope): Promise<readonly SecretEntry[]> {
    const { directory } = this.#row
    return Promise.resolve().then(() =>
      this.#attempt(() =>
        readdirSync(directory, { recursive: true, withFileTypes: true }).flatMap((entry) => {
          if (!entry.isFile() || !entry.name.endsWith(ENDING)) return []
          const file = join(entry.parentPath, entry.name)
          const path = splitPath(relative(directory, file).slice(0, -ENDING.length), '/')
          if (path === undefined || !isWithin(path, scope)) return []
          return [{ ...path, createdMs: Math.floor(statSync(file).mtimeMs), version: '' }]
        }),
      ),
    )
  }

  #file(path: SecretPath): string {
    return join(this.#row.directory, `${this.id(path)}${ENDING}`)
  }

  /** @throws BACKEND_REFUSED */
  #attempt<T>(act: () => T): T {
    try {
      return act()
    } catch (error) {
      const { code = 'an error' } = error as NodeJS.ErrnoException
      throw new PosternError('BACKEND_REFUSED', `its files: ${code}`, {}, { cause: error })
    }
  }
}
