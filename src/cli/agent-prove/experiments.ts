import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { policyOf, recordDirectory } from '../../agent/guard/guard.ts'
import { notShown, shown, type Experiment, type ProofOutcome } from '../../agent/prove/prove.ts'
import { asPosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../config/agent-settings.ts'
import {
  SnapshotSchema,
  type AgentStatus,
  type ProveResponse,
} from '../../gen/postern/v1/agent_control_pb.js'
import { proofOf, readWhole } from '../agent-audit/agent-audit.ts'
import { DATA_TYPE_NAMES } from '../../contract/data-type.ts'
import { mayCross } from '../../guard/catalog.ts'
import { expandRegions } from '../../guard/regions.ts'
import { ASK_MS, askAgent, messageJson } from '../place/place.ts'
import type { Surroundings } from '../program/program.ts'

/** Seven handshakes, and what follows them. */
const PROVE_MS = 60_000

/** What experiments are made with. */
export interface ProofPorts {
  readonly settings: AgentSettings
  readonly surroundings: Surroundings
  /** A text that occurs nowhere else. */
  readonly marker: string
  /** Also what disturbs service. */
  readonly all: boolean
}

/** Makes the experiments, one after the other. @throws DAEMON_NOT_RUNNING, NOT_ENROLLED */
export async function* experiments(ports: ProofPorts): AsyncGenerator<Experiment> {
  const { settings, surroundings, marker, all } = ports
  const ask = <T>(call: Parameters<typeof askAgent<T>>[2]): Promise<T> =>
    askAgent(settings['status.socket'], surroundings, call)
  const status = await ask((agent) => agent.status({}, { timeoutMs: ASK_MS }))
  const wanted = { marker, lockdown: all }
  const answer = await ask((agent) => agent.prove(wanted, { timeoutMs: PROVE_MS }))
  for (const name of ['tls-versions', 'tls-suites', 'no-certificate', 'foreign-ca'])
    yield byName(answer, name)
  yield regionExperiment(settings, status)
  const machine = await import('../../agent/prove/machine-experiments.ts')
  const monitor = settings['metrics.listen']
  const isBrought = settings.via.includes('cloudflare-connector')
  const listening = [monitor?.port, isBrought ? settings['cloudflared.listen'].port : undefined]
  const named = listening.filter((port) => port !== undefined)
  yield machine.listenerExperiment(answer.pid, named)
  yield byName(answer, 'widening')
  yield neverExperiment()
  yield await keptExperiment(ports, byName(answer, 'relayed'))
  yield machine.memoryExperiment(answer.pid)
  yield byName(answer, 'sealing')
  yield await recordExperiment(settings, surroundings)
  if (all) yield byName(answer, 'lockdown')
  else
    yield notShown(
      'lockdown',
      'the customer can end everything at once',
      'it disturbs service: --all makes it',
    )
  yield notShown(
    'at-rest',
    'what is stored is encrypted',
    'agent posture shows what stores, hops and the machine tell of it',
  )
}

function byName({ experiments: found }: ProveResponse, name: string): Experiment {
  const one = found.find((experiment) => experiment.name === name)
  if (one === undefined) return notShown(name, name, 'the daemon made no such experiment')
  const { promise, outcome, evidence } = one
  return { name, promise, outcome: outcome as ProofOutcome, evidence }
}

function regionExperiment(settings: AgentSettings, { tunnels }: AgentStatus): Experiment {
  const [name, promise] = ['region', 'gateways are where the policy says']
  const { gatewayRegions } = policyOf(settings)
  const seen = tunnels.flatMap(({ gateway, region }) =>
    gateway === undefined ? [] : [`${gateway} in ${region ?? '?'}`],
  )
  const where = seen.length === 0 ? 'no tunnel is up' : `by certificate: ${seen.join(', ')}`
  if (gatewayRegions.length === 0)
    return notShown(name, promise, `the policy names no regions; ${where}`)
  if (seen.length === 0) return notShown(name, promise, where)
  const allowed = expandRegions(gatewayRegions)
  const isFine = tunnels.every(
    ({ gateway, region = '' }) => gateway === undefined || allowed.has(region),
  )
  return shown(name, promise, isFine, `${where}; allowed: ${[...allowed].join(', ')}`)
}

/** Tries to have each type that never crosses served. */
function neverExperiment(): Experiment {
  const types = DATA_TYPE_NAMES.filter((type) => !mayCross(type))
  const taken = types.filter((dataType) => {
    try {
      AGENT_SETTINGS.services.parse([{ name: 'x', target: 'http://localhost:1', dataType }])
      return true
    } catch {
      // As it should be.
      return false
    }
  })
  const evidence = `refused at start: ${types.join(', ')}`
  const promise = 'what never crosses cannot be served'
  return shown(
    'never',
    promise,
    taken.length === 0,
    taken.length === 0 ? evidence : `taken: ${taken.join(', ')}`,
  )
}

/** Looks for the marker wherever the agent writes, and where it was put on purpose, to see that it would be found. */
async function keptExperiment(
  { settings, surroundings, marker }: ProofPorts,
  relayed: Experiment,
): Promise<Experiment> {
  if (relayed.outcome !== 'PASS') return relayed
  const { searchFor, holdsMarker } = await import('../../agent/prove/machine-experiments.ts')
  const { name, promise } = relayed
  const control = mkdtempSync(join(tmpdir(), 'postern-prove-'))
  try {
    writeFileSync(join(control, 'leak'), `{"payload":"${Buffer.from(marker).toString('base64')}"}`)
    if (searchFor(marker, [control]).found.length !== 1)
      return notShown(name, promise, 'the search does not find what it should')
    const folders = [settings['state.directory'], recordDirectory(settings)]
    const { found, files, unread } = searchFor(
      marker,
      [...new Set(folders)].filter((one) => existsSync(one)),
    )
    const snapshot = await askAgent(settings['status.socket'], surroundings, (agent) =>
      agent.takeSnapshot({}, { timeoutMs: PROVE_MS }),
    )
    const isInDiag = holdsMarker(JSON.stringify(messageJson(SnapshotSchema, snapshot)), marker)
    const places = [
      ...found,
      ...(isInDiag ? ['the snapshot for diag, with the last log lines'] : []),
    ]
    if (places.length === 0 && unread !== undefined) return notShown(name, promise, unread)
    const evidence = `a marker went through guard, record and server; it is in none of ${String(files)} files of state and record, nor in log and diag, and was found where it was put on purpose`
    return shown(
      name,
      promise,
      places.length === 0,
      places.length === 0 ? evidence : `the marker is in ${places.join(', ')}`,
    )
  } finally {
    rmSync(control, { recursive: true })
  }
}

async function recordExperiment(
  settings: AgentSettings,
  surroundings: Surroundings,
): Promise<Experiment> {
  const [name, promise] = ['record', 'the record is whole']
  try {
    const directory = recordDirectory(settings)
    const anchor = settings['audit.anchor']
    const anchorFile = anchor?.startsWith('/') === true ? anchor : undefined
    const { clock } = surroundings.ambient('error', 'prove')
    const proof = proofOf({ key: [], anchor: [] }, { directory, anchorFile })
    const { findings, lines, checkpoints, signedTo, anchoredTo } = await readWhole(
      directory,
      proof,
      clock,
    )
    const [first] = findings
    const anchored =
      anchoredTo === 0 ? 'no anchor looked at' : `anchored to line ${String(anchoredTo)}`
    const evidence =
      first === undefined
        ? `${String(lines)} lines, ${String(checkpoints)} checkpoints, signed to line ${String(signedTo)}, ${anchored}`
        : `${first.file}:${String(first.line)}: ${first.text}`
    return shown(name, promise, first === undefined, evidence)
  } catch (error) {
    return notShown(name, promise, asPosternError(error).rawMessage)
  }
}
