import type { KeyObject } from 'node:crypto'
import { recordDirectory } from '../../agent/guard/guard.ts'
import { publicKeyPaths, readPublicKey } from '../../audit/audit-key.ts'
import { readAnchors } from '../../audit/anchor.ts'
import type { Checkpoint } from '../../audit/chain.ts'
import { readRecord, settledEnd, type PlacedLine } from '../../audit/read-record.ts'
import { headerOf } from '../../audit/tail.ts'
import { RecordVerifier, type Verified } from '../../audit/verify-record.ts'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { parseDuration } from '../../config/setting.ts'
import { settingsOf, type ArgumentsOf, type Surroundings } from '../program/program.ts'

const PLACES = {
  'audit.directory': AGENT_SETTINGS['audit.directory'],
  'audit.anchor': AGENT_SETTINGS['audit.anchor'],
  'state.directory': AGENT_SETTINGS['state.directory'],
}

/** How the commands of the record find it. */
export const RECORD_OPTIONS = {
  config: {
    type: 'string',
    describe: 'The file of the daemon, to find its record. (POSTERN_CONFIG)',
  },
  directory: { type: 'string', describe: 'Where the record lies, in place of that.' },
} as const

/** How far it is proven. */
export const PROOF_OPTIONS = {
  key: {
    type: 'strings',
    describe: 'Public keys, in PEM, that its owner vouches for. Default: those beside the record.',
  },
  anchor: {
    type: 'strings',
    describe:
      'Files with checkpoints that were kept elsewhere. Default: audit.anchor, where that is a file.',
  },
} as const

/** From when to when. */
export const SPAN_OPTIONS = {
  since: {
    type: 'string',
    describe: 'From when: a time back, such as 30d, or 2026-11-01. Default: its beginning.',
  },
  until: { type: 'string', describe: 'To when, likewise. Default: now.' },
} as const

type RecordArguments = ArgumentsOf<typeof RECORD_OPTIONS>

interface Places {
  readonly directory: string
  readonly anchorFile: string | undefined
}

/** Where the record lies that a command is about. */
export function placeOf(
  { config, directory }: RecordArguments,
  { environment }: Surroundings,
): Places {
  if (directory !== undefined) return { directory, anchorFile: undefined }
  const { values } = settingsOf(PLACES, { config }, environment, true)
  const anchor = values['audit.anchor']
  return {
    directory: recordDirectory(values),
    anchorFile: anchor?.startsWith('/') === true ? anchor : undefined,
  }
}

/** The keys and anchors that a command goes by. @throws FILE_UNREADABLE */
export function proofOf(
  { key, anchor }: ArgumentsOf<typeof PROOF_OPTIONS>,
  { directory, anchorFile }: Places,
): { keys: readonly KeyObject[]; anchors: readonly Checkpoint[] } {
  const files = anchor.length > 0 ? anchor : anchorFile === undefined ? [] : [anchorFile]
  const keys = key.length > 0 ? key : publicKeyPaths(directory)
  return { keys: keys.map(readPublicKey), anchors: files.flatMap(readAnchors) }
}

/** Reads a record whole, also one that is being written: verifies it, and gives each of its numbered lines to `onLine`. @throws FILE_UNREADABLE */
export async function readWhole(
  directory: string,
  proof: ReturnType<typeof proofOf>,
  clock: Clock,
  onLine: (line: Readonly<Record<string, unknown>>) => void = () => undefined,
): Promise<Verified & { readonly identity: string }> {
  const verifier = new RecordVerifier(proof)
  let identity = ''
  const end = await settledEnd(directory, clock)
  for await (const placed of readRecord(directory, undefined, end)) {
    verifier.add(placed)
    if (placed.line === 1) identity = headerOf(placed.bytes.toString())?.identity ?? identity
    const line = numbered(placed)
    if (line !== undefined) onLine(line)
  }
  return { ...verifier.end(), identity }
}

/** The data of a numbered line; undefined for other lines, and for what cannot be read. */
export function numbered({
  bytes,
  isWhole,
}: PlacedLine): Readonly<Record<string, unknown>> | undefined {
  if (!isWhole || bytes[2] !== 0x6e) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString())
    const isLine = typeof value === 'object' && value !== null && 'n' in value
    return isLine ? value : undefined
  } catch {
    // The verifier says so.
    return undefined
  }
}

/** Reads a moment: a time back from now, or a day or time of the calendar. @throws USAGE */
export function momentOf(text: string | undefined, nowMs: number, fallbackMs: number): number {
  if (text === undefined) return fallbackMs
  try {
    return nowMs - parseDuration(text)
  } catch {
    // It may be a day.
  }
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN
  if (!Number.isNaN(ms)) return ms
  throw new PosternError(
    'USAGE',
    `${JSON.stringify(text)} is neither a time such as 30d nor a day such as 2026-11-01`,
  )
}
