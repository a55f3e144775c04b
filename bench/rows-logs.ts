import { open } from 'node:fs/promises'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Logs } from '../src/client.ts'
import { dialGateway } from '../src/caller/connect.ts'
import { BuiltAgent } from './built-agent.ts'
import { sleep } from './measure.ts'
import { TRUST_DOMAIN, type Rig } from './rig.ts'
import { boundRow, type Pace, type Row } from './row.ts'

const MB = 1e6
const WRITES_PER_SECOND = 50
const SOURCE_BYTES_PER_SECOND = 100 * MB
const READER_BYTES_PER_SECOND = MB
const LINE = `${'2026-01-01T00:00:00.000Z a line of a log that says what a task has done '.padEnd(199, 'x')}\n`

/** slow-log-reader and slow-log-reader-drop: what an agent holds for a caller who reads at a hundredth of what the log grows by. */
export async function logRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { agent, ports } = await rig.tunnel()
  await agent.stop()
  const folder = join(rig.folder, 'logs')
  mkdirSync(folder)
  const built = await BuiltAgent.start(rig.folder, {
    ...rig.flags('agent'),
    'gateway.address': `localhost:${String(ports.agents)}`,
    'status.socket': join(rig.folder, 'agent.sock'),
    'state.directory': join(rig.folder, 'state'),
    allow: [{ caller: '*', methods: ['*'] }],
    logs: [{ name: 'tasks', type: 'files', directory: folder, path: '{task}.log' }],
  })
  try {
    const client = await dialGateway({
      address: { host: 'localhost', port: ports.callers },
      trustDomain: TRUST_DOMAIN,
      credentials: rig.files('caller'),
    })
    const logs = client.cluster('bench').service(Logs)
    const read = (task: string, drop: boolean, signal: AbortSignal): ReturnType<typeof drink> =>
      drink(logs.tail({ source: 'tasks', labels: { task }, follow: true, drop }, { signal }))
    // What the first tail of all costs once, its expressions and code, belongs to no reader.
    const [rows, before] = [[] as Row[], await heated(folder, read, built)]
    for (const drop of [false, true]) {
      const held = await mostHeld(
        folder,
        drop ? 'dropping' : 'waiting',
        pace,
        built,
        (task, signal) => read(task, drop, signal),
      )
      rows.push(
        boundRow({
          id: drop ? 'slow-log-reader-drop' : 'slow-log-reader',
          what: `resident memory that an agent grows by for a caller who takes 1 MB/s of a log that grows by ${(held.written / MB / held.seconds).toFixed(0)} MB/s${drop ? ', with drop' : ''}`,
          value: Math.max(0, held.most - before) / MB,
          unit: 'MB',
          under: 40,
          reference: held.written / MB,
          referenceWhat: 'written',
        }),
      )
    }
    client.close()
    return rows
  } finally {
    built.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

type Read = (task: string, drop: boolean, signal: AbortSignal) => Promise<void>

async function heated(folder: string, read: Read, built: BuiltAgent): Promise<number> {
  const given = new AbortController()
  const writing = write(join(folder, 'first.log'), 1)
  const reading = read('first', false, given.signal)
  await writing
  given.abort()
  await reading
  await sleep(1000)
  return built.residentBytes()
}

async function mostHeld(
  folder: string,
  task: string,
  { seconds }: Pace,
  built: BuiltAgent,
  read: (task: string, signal: AbortSignal) => Promise<void>,
): Promise<{ readonly most: number; readonly written: number; readonly seconds: number }> {
  const path = join(folder, `${task}.log`)
  const given = new AbortController()
  const startMs = performance.now()
  const done = new AbortController()
  const writing = write(path, 2 * seconds).finally(() => {
    done.abort()
  })
  const reading = read(task, given.signal)
  let most = 0
  while (!done.signal.aborted) {
    await sleep(100)
    most = Math.max(most, built.residentBytes())
  }
  const written = await writing
  given.abort()
  await reading
  rmSync(path)
  return { most, written, seconds: (performance.now() - startMs) / 1000 }
}

/** Writes a log at its rate, and returns how many bytes that were. */
async function write(path: string, seconds: number): Promise<number> {
  const file = await open(path, 'a')
  const part = Buffer.from(LINE.repeat(SOURCE_BYTES_PER_SECOND / WRITES_PER_SECOND / LINE.length))
  const startMs = performance.now()
  let written = 0
  for (let i = 1; i <= seconds * WRITES_PER_SECOND; i++) {
    written += (await file.write(part)).bytesWritten
    const dueMs = startMs + (1000 * i) / WRITES_PER_SECOND
    if (dueMs > performance.now()) await sleep(dueMs - performance.now())
  }
  await file.close()
  return written
}

/** Takes lines at the reader's rate, until the call is given up. */
async function drink(
  answers: AsyncIterable<{ readonly lines: readonly { readonly text: string }[] }>,
): Promise<void> {
  try {
    for await (const { lines } of answers) {
      const bytes = lines.reduce((sum, { text }) => sum + text.length + 1, 0)
      await sleep((1000 * bytes) / READER_BYTES_PER_SECOND)
    }
  } catch {
    // Given up.
  }
}
