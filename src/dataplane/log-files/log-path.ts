import { realpathSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { LabelValues, logUnknown } from '../log-labels.ts'
import type { FilesLogsRow } from '../logs-row.ts'

/** The path of the log that labels name. @throws RpcError LOG_UNKNOWN */
export function logPath(
  { directory, path }: FilesLogsRow,
  labels: Readonly<Record<string, string>>,
): string {
  const values = new LabelValues(labels)
  const segments = path.map((pieces) => values.fill(pieces))
  values.finish()
  const found = join(directory, ...segments)
  judgeFolder(directory, dirname(found))
  return found
}

/** Whoever writes logs could make a link to a folder of somebody else's. @throws RpcError LOG_UNKNOWN */
function judgeFolder(directory: string, folder: string): void {
  const [root, real] = [realOf(directory), realOf(folder)]
  if (real !== root && !real.startsWith(`${root}${sep}`))
    throw logUnknown('there is none of these labels')
}

function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    // Not there, or not ours to read: what lies beside it is nobody's business.
    throw logUnknown('there is none of these labels')
  }
}
