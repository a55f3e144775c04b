import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FOR_ALL, writeState } from '../../identity/state-files.ts'

const FILE = 'enrolled-at.json'

/** Remembers where an agent enrolled, which is also where it may ask why it is refused. @throws STATE_UNWRITABLE */
export function writeEnrollUrl(folder: string, { origin }: URL): void {
  writeState(join(folder, FILE), `${JSON.stringify({ url: origin })}\n`, FOR_ALL)
}

/** Undefined where it is not known. */
export function readEnrollUrl(folder: string): URL | undefined {
  try {
    const content: unknown = JSON.parse(readFileSync(join(folder, FILE), 'utf8'))
    const { url } = content as { url?: unknown }
    const found = typeof url === 'string' ? new URL(url) : undefined
    return found?.protocol === 'https:' ? found : undefined
  } catch {
    // None is there, or it is spoilt: it is not known.
    return undefined
  }
}
