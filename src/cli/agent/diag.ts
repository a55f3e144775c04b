import { execFileSync } from 'node:child_process'
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type CheckStep, doctorSteps } from '../../agent/doctor/doctor.ts'
import { readLastStatus } from '../../agent/control/control.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { VERSION } from '../../base/version.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../config/agent-settings.ts'
import { AgentStatusSchema, SnapshotSchema } from '../../gen/postern/v1/agent_control_pb.js'
import {
  settingsJson,
  type Surroundings,
  settingsOf,
  type SettingsArguments,
  command,
} from '../program/program.ts'
import { withProxy, withPassphrase } from '../daemon/daemon.ts'
import { ASK_MS, askAgent, messageJson } from '../place/place.ts'

const FOR_OWNER = 0o600
const JOURNAL_LINES = '2000'
const JOURNAL_MS_MAX = 10_000
const UNIT = 'postern-agent'

/** `agent diag`: everything that a support ticket needs, and no secret. */
export const agentDiag = command({
  path: 'diag',
  describe:
    'Write a tar.gz for a support ticket: status, events, settings, log, metrics, doctor, versions, heap and handles. No key, token or password is in it. Works without the daemon, with less.',
  settings: { table: AGENT_SETTINGS },
  options: {
    out: {
      type: 'string',
      describe:
        'The file to write; default: postern-diag-TIME.tar.gz here. One that is there is kept.',
    },
  },
  run: (args, surroundings) => collect(args, args.out, surroundings),
})

async function collect(
  args: SettingsArguments,
  out: string | undefined,
  surroundings: Surroundings,
): Promise<number> {
  const { environment, output } = surroundings
  const ambient = surroundings.ambient('error', 'diag')
  const stamp = new Date(ambient.clock.wallMs()).toISOString().replace(/\.\d+|[-:]/g, '')
  const name = `postern-diag-${stamp}`
  const file = out ?? `${name}.tar.gz`
  if (existsSync(file)) throw new PosternError('STATE_EXISTS', `${file} is there already`)
  const loaded = settingsOf(AGENT_SETTINGS, args, environment)
  const settings = withProxy(withPassphrase(loaded.values, environment), environment)
  const work = mkdtempSync(join(tmpdir(), 'postern-diag-'))
  const folder = join(work, name)
  mkdirSync(folder)
  const notes: string[] = []
  const put = (path: string, content: string): void => {
    writeFileSync(join(folder, path), content, { mode: FOR_OWNER })
  }
  try {
    put('settings.json', settingsJson(AGENT_SETTINGS, loaded))
    put('versions.json', JSON.stringify(versions(), null, 2))
    await putDaemon(settings, surroundings, put, notes)
    putJournal(put, notes)
    put('doctor.json', JSON.stringify(await doctor(settings, surroundings), null, 2))
    put('notes.txt', notes.map((note) => `${note}\n`).join(''))
    const { create } = await import('tar')
    // Exclusive: nothing that somebody put there meanwhile is written through.
    const archive = create({ gzip: true, portable: true, cwd: work }, [name])
    await pipeline(archive, createWriteStream(file, { flags: 'wx', mode: FOR_OWNER }))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  for (const note of notes) output.note(`agent: ${note}`)
  output.result(file)
  return 0
}

/** What the daemon tells of itself; of one that is down what was last known. */
async function putDaemon(
  settings: AgentSettings,
  surroundings: Surroundings,
  put: (path: string, content: string) => void,
  notes: string[],
): Promise<void> {
  try {
    const snapshot = await askAgent(settings['status.socket'], surroundings, (agent) =>
      agent.takeSnapshot({}, { timeoutMs: ASK_MS }),
    )
    const { status, memory, heap, heapSpaces, handles, uptimeMs } = messageJson(
      SnapshotSchema,
      snapshot,
    )
    const node = { memory, heap, heapSpaces, handles, uptimeMs }
    put('status.json', JSON.stringify(status, null, 2))
    put('metrics.txt', snapshot.metrics)
    put('log.jsonl', snapshot.log.join(''))
    put('process.json', JSON.stringify(node, null, 2))
  } catch (error) {
    const { code, rawMessage } = asPosternError(error)
    notes.push(`the daemon was not asked: ${code}: ${rawMessage}`)
    const last = readLastStatus(settings['state.directory'])
    if (last === undefined) return
    const { savedAt, status } = last
    const known = { savedAt, status: messageJson(AgentStatusSchema, status) }
    put('last-status.json', JSON.stringify(known, null, 2))
  }
}

function putJournal(put: (path: string, content: string) => void, notes: string[]): void {
  const args = [
    '--unit',
    UNIT,
    '--lines',
    JOURNAL_LINES,
    '--no-pager',
    '--output',
    'cat',
    '--quiet',
  ]
  try {
    const options = { encoding: 'utf8', timeout: JOURNAL_MS_MAX, stdio: 'pipe' } as const
    const text = execFileSync('journalctl', args, options)
    if (text !== '') put('journal.txt', text)
  } catch {
    // The rest of the bundle is worth having without it.
    notes.push('there is no journal of the unit: journalctl is missing, or may not be read')
  }
}

async function doctor(settings: AgentSettings, surroundings: Surroundings): Promise<CheckStep[]> {
  const steps: CheckStep[] = []
  for await (const step of doctorSteps(settings, surroundings.ambient('error', 'doctor')))
    steps.push(step)
  return steps
}

function versions(): object {
  const { node, v8, openssl, uv } = process.versions
  const { platform, arch, execArgv } = process
  return { postern: VERSION, node, v8, openssl, uv, platform, arch, kernel: release(), execArgv }
}
