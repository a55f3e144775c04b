import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import { FOR_OWNER } from '../identity/state-files.ts'
import { postHttps } from '../transport/https-get.ts'
import { sendSyslog } from '../transport/syslog-send.ts'
import type { Checkpoint } from './chain.ts'

const FILE_BYTES_MAX = 64 * 1024 * 1024
const OK_MIN = 200
const OK_MAX = 299

/** Takes a checkpoint to where an anchor keeps it. @throws the network codes, STATE_UNWRITABLE, PEER_REFUSED */
export async function sendToAnchor(
  anchor: string,
  identity: string,
  checkpoint: Checkpoint,
): Promise<void> {
  const text = JSON.stringify({ identity, checkpoint })
  if (anchor.startsWith('/')) appendTo(anchor, text)
  else if (anchor.startsWith('https:')) {
    const { status } = await postHttps(new URL(anchor), text)
    if (status < OK_MIN || status > OK_MAX)
      throw new PosternError('PEER_REFUSED', `${anchor} answered ${String(status)}`)
  } else {
    const { hostname: host, port } = new URL(anchor.replace('syslog:', 'http:'))
    await sendSyslog({ host, port: Number(port) }, 'checkpoint', text, checkpoint.at)
  }
}

function appendTo(path: string, text: string): void {
  try {
    const file = openSync(path, 'a', FOR_OWNER)
    try {
      writeSync(file, `${text}\n`)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    const reason = `${path}: ${(error as Error).message}`
    throw new PosternError('STATE_UNWRITABLE', reason, { path }, { cause: error })
  }
}

/** Reads checkpoints that an anchor kept, one JSON object a line. Other lines are nobody's business. @throws FILE_UNREADABLE */
export function readAnchors(path: string): readonly Checkpoint[] {
  let text: string
  try {
    const bytes = readFileSync(path)
    if (bytes.length > FILE_BYTES_MAX) throw new RangeError('it is larger than 64 MiB')
    text = bytes.toString()
  } catch (error) {
    const reason = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', reason, { path }, { cause: error })
  }
  return text.split('\n').flatMap((line) => {
    const start = line.indexOf('{')
    if (start === -1) return []
    try {
      const { checkpoint } = JSON.parse(line.slice(start)) as { checkpoint?: Partial<Checkpoint> }
      const { n, hash } = checkpoint ?? {}
      return typeof n === 'number' && typeof hash === 'string' ? [checkpoint as Checkpoint] : []
    } catch {
      // A log that checkpoints go to may hold other things.
      return []
    }
  })
}
