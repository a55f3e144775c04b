import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, createReadStream, existsSync, rmSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { PosternError, printable } from '../../base/errors.ts'
import { makeFolder } from '../../identity/state-files.ts'

/** From here on it writes its log as JSON where a flag says so. */
const VERSION_MIN = [2025, 6, 1] as const
const COPY_NAME = 'cloudflared'
const FOR_OWNER_TO_RUN = 0o500
const ASK_MS = 15_000
const OUTPUT_BYTES_MAX = 64 * 1024
/** What a program needs that is given nothing of ours. */
export const BARE_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
}

/** A cloudflared that may be run. */
export interface Program {
  readonly path: string
  /** What is run: the same, or a copy that nobody else can write, where it is pinned. */
  readonly runs: string
  readonly version: string
  readonly isPinned: boolean
}

/**
 * Judges a cloudflared before it is run: that it is the one that is pinned, and new enough. It is run for its version, with nothing
 * of our environment. @throws CONNECTOR_MISSING
 */
export async function judgeProgram(
  named: string | undefined,
  sha256: string | undefined,
  folder: string,
): Promise<Program> {
  if (named === undefined)
    throw missing(
      'no cloudflared: neither cloudflared.path, nor CLOUDFLARED_BIN, nor PATH, nor the npm package cloudflared leads to one; it is never downloaded (docs/CLOUDFLARE.md)',
    )
  const path = resolve(named)
  const runs = sha256 === undefined ? path : await ownCopy(path, sha256, folder)
  const version = await versionOf(runs)
  if (!isNewEnough(version))
    throw missing(
      `${path} is version ${printable(version, 40)}; ${VERSION_MIN.join('.')} is needed at least`,
    )
  return { path, runs, version, isPinned: sha256 !== undefined }
}

/** What is checked is what is run: a copy in a folder that only we may enter. Where that is whole already, it stays. */
async function ownCopy(path: string, sha256: string, folder: string): Promise<string> {
  const copy = resolve(folder, COPY_NAME)
  if (existsSync(copy) && (await hashOf(copy)) === sha256) return copy
  try {
    makeFolder(folder)
    rmSync(copy, { force: true })
    await copyFile(path, copy)
    chmodSync(copy, FOR_OWNER_TO_RUN)
  } catch (error) {
    throw missing(`${path} cannot be copied to ${copy}, to be run: ${(error as Error).message}`)
  }
  const found = await hashOf(copy)
  if (found === sha256) return copy
  rmSync(copy, { force: true })
  throw missing(`${path} has SHA-256 ${found}, and cloudflared.sha256 pins ${sha256}`)
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  return hash.digest('hex')
}

/** Old programs print their usage, and exit 0, for what they do not know. */
async function versionOf(path: string): Promise<string> {
  const options = { env: BARE_ENVIRONMENT, timeout: ASK_MS, maxBuffer: OUTPUT_BYTES_MAX }
  return await new Promise((found, reject) => {
    execFile(path, ['version', '--short'], options, (error, stdout) => {
      if (error === null) found(stdout.trim().split('\n').at(-1) ?? '')
      else reject(missing(`${path} version: ${printable(error.message)}`))
    })
  })
}

function isNewEnough(version: string): boolean {
  const parts = /^(\d{4})\.(\d{1,3})\.(\d{1,3})(?:$|[^\d.])/.exec(version)?.slice(1).map(Number)
  if (parts === undefined) return false
  const first = VERSION_MIN.findIndex((least, i) => parts[i] !== least)
  return first === -1 || (parts[first] ?? 0) > (VERSION_MIN[first] ?? 0)
}

function missing(text: string): PosternError {
  return new PosternError('CONNECTOR_MISSING', text)
}
