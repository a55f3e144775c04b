import { realpathSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { rpcErrorOfCode, type RpcError } from '../../rpc/status.ts'
import type { LogsRow } from '../logs-row.ts'

const VALUE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/

/** The path of the log that labels name. @throws RpcError LOG_UNKNOWN */
export function logPath(
  { directory, path }: LogsRow,
  labels: Readonly<Record<string, string>>,
): string {
  const used = new Set<string>()
  const segments = path.map((pieces) =>
    pieces
      .map((piece) => {
        if ('text' in piece) return piece.text
        used.add(piece.label)
        const value = Object.hasOwn(labels, piece.label) ? labels[piece.label] : undefined
        if (value === undefined) throw unknown(`the label ${piece.label} is missing`)
        if (!VALUE.test(value))
          throw unknown(`the label ${piece.label} has a value that is no name`)
        return value
      })
      .join(''),
  )
  if (Object.keys(labels).some((label) => !used.has(label)))
    throw unknown(`the labels of its logs are ${[...used].join(', ')}`)
  const found = join(directory, ...segments)
  judgeFolder(directory, dirname(found))
  return found
}

/** Whoever writes logs could make a link to a folder of somebody else's. @throws RpcError LOG_UNKNOWN */
function judgeFolder(directory: string, folder: string): void {
  const [root, real] = [realOf(directory), realOf(folder)]
  if (real !== root && !real.startsWith(`${root}${sep}`))
    throw unknown('there is none of these labels')
}

function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    // Not there, or not ours to read: what lies beside it is nobody's business.
    throw unknown('there is none of these labels')
  }
}

/** Makes the error for a log that is not there, or not named. */
export function unknown(why: string): RpcError {
  return rpcErrorOfCode('LOG_UNKNOWN', `the log: ${why}`)
}
