import { readRecord } from './read-record.ts'
import { listSegments } from './segments.ts'

/** No URL lives for longer. */
const LIFE_MS_MAX = 3_600_000

/** Presigned URLs that somebody may still hold: those of one store, together. */
export interface HandedOut {
  readonly store: string
  readonly backend: string
  count: number
  /** When the last of them ends, in wall-clock ms. */
  untilMs: number
}

/** What the record has of a presigned URL that was handed out. */
export interface MintedLine {
  readonly store: string
  readonly backend: string
  /** SHA-256 of bucket, slash and key, in hex. */
  readonly key: string
  readonly verb: string
  readonly expires: string
  readonly count: number
}

/** Returns the presigned URL that a line of a record speaks of; undefined: none. */
export function mintedOf(line: Readonly<Record<string, unknown>>): MintedLine | undefined {
  const { url } = line
  if (typeof url !== 'object' || url === null) return undefined
  const { store, backend, key, verb, expires, count } = url as Partial<MintedLine>
  const texts = [store, backend, key, verb, expires]
  return texts.every((one) => typeof one === 'string') && typeof count === 'number'
    ? (url as MintedLine)
    : undefined
}

/** Lists what was handed out and has not ended, out of the record. @throws FILE_UNREADABLE */
export async function handedOut(directory: string, nowMs: number): Promise<readonly HandedOut[]> {
  const found = new Map<string, HandedOut>()
  const young = listSegments(directory).find(({ writtenAtMs }) => writtenAtMs > nowMs - LIFE_MS_MAX)
  if (young === undefined) return []
  for await (const { bytes } of readRecord(directory, { segment: young.number, offset: 0 })) {
    if (!bytes.includes('"url":{')) continue
    const minted = mintedOf(lineOf(bytes))
    const untilMs = Date.parse(minted?.expires ?? '')
    if (minted === undefined || !(untilMs > nowMs)) continue
    const { store, backend, count } = minted
    const known = found.get(store) ?? { store, backend, count: 0, untilMs: 0 }
    known.count += count
    known.untilMs = Math.max(known.untilMs, untilMs)
    found.set(store, known)
  }
  return [...found.values()]
}

/** How what was handed out for a store is taken back before it ends, in words for its owner. */
export function howToRevoke(backend: string): string {
  switch (backend) {
    case 's3':
      return 'revoke the sessions of the role that signed (IAM, "Revoke active sessions"), or deactivate its access key'
    case 'gcs':
      return 'disable the key of the service account that signed, or the account'
    case 'azure':
      return 'az storage account revoke-delegation-keys, or a new account key where that one signed'
    default:
      return 'take the credentials that signed away'
  }
}

function lineOf(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    // agent audit verify tells of it.
    return {}
  }
}
