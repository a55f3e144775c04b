import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'

const BYTES_MAX = 64 * 1024

/** Returns what finds the narrower policy of a cluster in a folder, anew each time; undefined of it: there is none. */
export function narrowPolicies(
  directory: string | undefined,
): (cluster: string) => string | undefined {
  return (cluster) => {
    if (directory === undefined) return undefined
    const path = join(directory, `${cluster}.yaml`)
    if (!existsSync(path)) return undefined
    try {
      if (statSync(path).size <= BYTES_MAX) return readFileSync(path, 'utf8')
    } catch (error) {
      const { message } = error as Error
      throw new PosternError('CONFIG_UNREADABLE', `${path}: ${message}`, { path }, { cause: error })
    }
    throw new PosternError('CONFIG_UNREADABLE', `${path}: it is larger than 64 KiB`, { path })
  }
}
