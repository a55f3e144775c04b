import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { Authority, USAGE_CLIENT, type Validity } from '../src/identity/authority.ts'
import { sleep } from './measure.ts'
import type { Rig } from './rig.ts'
import type { Attack } from './roles/strangers.ts'
import { boundRow, type Pace, type Row } from './row.ts'
import type { WorkerProcess } from './worker-process.ts'

const MINUTE_S = 60
const QUICK_S = 10
const DAY_MS = 86_400_000
const NAMES = 1000
/** So that names times limits stay under OpenSSL's bound of 2^20, beyond which it compares none. */
const CONSTRAINTS = 1020
const CONSTRAINED_CAS = 11
const HOSTILE_CONNECTIONS = 100
const PROBE_APART_MS = 50
const PROBES_PER_LOOK = 20
/** A ping that takes longer is late: a peer would begin to doubt. */
const PING_MS = 1000
const HANDSHAKES = 8
/** OpenSSL compares each name with each limit of each CA before we hear of it; its network pays for that. */
const LONGEST = 'name-constraints'
/** Attacks whose attempts last until they are given up. */
const HELD: readonly string[] = ['silence', 'slow-hello']

type Load = Pick<Attack, 'kind' | 'certificate' | 'key'>

interface Busy {
  readonly cpuMs: number
  readonly loopMs: number
}

/** stranger-cost, stranger-share and livez-under-attack. */
export async function strangerRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { gateway, ports } = await rig.tunnel()
  const strangers = await rig.worker('strangers')
  const [ordinary, ...others] = await loads(rig.folder)
  if (ordinary === undefined) throw new Error('no attack')
  const costOf = (load: Load): Promise<number> =>
    costPerAttempt(gateway, strangers, { ...load, port: ports.agents, seconds: pace.seconds })
  const reference = await costOf(ordinary)
  const rows: Row[] = []
  for (const load of others) {
    const value = await costOf(load)
    rows.push(
      boundRow({
        id: `stranger-cost-${load.kind}`,
        what: `CPU of the gateway per attempt: ${load.kind}`,
        value,
        unit: 'ms',
        under: load.kind === LONGEST ? 150 : 10,
        reference,
        referenceWhat: 'an ordinary refused handshake',
      }),
    )
  }
  const seconds = pace.rounds > 1 ? MINUTE_S : QUICK_S
  const port = await gateway.call<number>('monitor')
  const quiet = await loopShare(gateway, async () => await probeLivez(port, QUICK_S))
  const all = [ordinary, ...others]
  const attacking = all.map((load) =>
    strangers.call('attack', {
      ...load,
      port: ports.agents,
      seconds,
      connections: Math.ceil(HOSTILE_CONNECTIONS / all.length),
      isSpread: false,
    }),
  )
  const tunnel = await gateway.call<string>('tunnelAddress')
  let [p99, pingMs] = [0, 0]
  const attacked = await loopShare(gateway, async () => {
    p99 = await probeLivez(port, seconds, async () => {
      pingMs = Math.max(pingMs, await gateway.call<number>('rtt'))
    })
    await Promise.all(attacking)
  })
  const isUp = (await gateway.call<string>('tunnelAddress')) === tunnel
  const livez = boundRow({
    id: 'livez-under-attack',
    what: `p99 of /livez beside ${String(HOSTILE_CONNECTIONS)} hostile connections from one address, for ${String(seconds)} s; the tunnel of an agent stays up, and no ping of it takes more than ${String(PING_MS)} ms (the longest ${pingMs.toFixed(1)})`,
    value: p99,
    unit: 'ms',
    under: 100,
  })
  rows.push(
    boundRow({
      id: 'stranger-share',
      what: `of the event loop, used while one address attacks in all ways for ${String(seconds)} s, without the ${quiet.toFixed(1)} % that probes and all else take by themselves`,
      value: Math.max(0, attacked - quiet),
      unit: '%',
      // The first burst weighs more in a short run.
      under: seconds === MINUTE_S ? 5 : 10,
    }),
    { ...livez, met: livez.met && isUp && pingMs <= PING_MS },
  )
  return rows
}

/** Of the event loop that is used while something is done, in percent. */
async function loopShare(gateway: WorkerProcess, act: () => Promise<unknown>): Promise<number> {
  const before = await gateway.call<Busy>('busy')
  const beganAtMs = performance.now()
  await act()
  const tookMs = performance.now() - beganAtMs
  const after = await gateway.call<Busy>('busy')
  return (100 * (after.loopMs - before.loopMs)) / tookMs
}

async function costPerAttempt(
  gateway: WorkerProcess,
  strangers: WorkerProcess,
  load: Load & Pick<Attack, 'port' | 'seconds'>,
): Promise<number> {
  await sleep(500)
  // What it does by itself is no stranger's.
  const idle = await gateway.call<Busy>('busy')
  await sleep(load.seconds * 1000)
  const before = await gateway.call<Busy>('busy')
  const attempts = await strangers.call<number>('attack', {
    ...load,
    connections: HELD.includes(load.kind) ? HOSTILE_CONNECTIONS : HANDSHAKES,
    isSpread: true,
  })
  const after = await gateway.call<Busy>('busy')
  const idleMs = before.cpuMs - idle.cpuMs
  return Math.max(0, after.cpuMs - before.cpuMs - idleMs) / attempts
}

/** p99 in ms of GET /livez, asked at intervals; `onProbe` is called about once a second. */
async function probeLivez(
  port: number,
  seconds: number,
  onProbe: () => Promise<void> = () => Promise.resolve(),
): Promise<number> {
  const took: number[] = []
  const endMs = performance.now() + seconds * 1000
  while (performance.now() < endMs) {
    const beganAtMs = performance.now()
    await new Promise<void>((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/livez', agent: false }, (answer) => {
        answer.resume().once('end', resolve)
      }).once('error', reject)
    })
    took.push(performance.now() - beganAtMs)
    if (took.length % PROBES_PER_LOOK === 0) await onProbe()
    await sleep(PROBE_APART_MS)
  }
  took.sort((a, b) => a - b)
  return took[Math.floor(took.length * 0.99)] ?? 0
}

/** The ordinary one first: a certificate of an unknown CA. */
async function loads(folder: string): Promise<Load[]> {
  const notBefore = new Date(Date.now() - 60_000)
  const validity = { notBefore, notAfter: new Date(Date.now() + DAY_MS) }
  const stranger = await Authority.createRoot('a stranger', validity)
  const leaf = async (
    kind: string,
    dnsNames: readonly string[] = [],
    chain: readonly Authority[] = [stranger],
  ): Promise<Load> => {
    const uris = ['spiffe://bench.postern.test/cluster/x/agent/y']
    const usage = [USAGE_CLIENT]
    const issuer = chain[0] ?? stranger
    const issued = await issuer.issueLeaf({ commonName: 'x', uris, dnsNames, usage, ...validity })
    const certificate =
      issued.certificatePem + chain.map(({ certificatePem }) => certificatePem).join('')
    return { kind, certificate, key: issued.keyPem }
  }
  const constrained = await constrainedChain(stranger, validity)
  const names = Array.from({ length: NAMES }, (_, i) => `a-${String(i)}.example.com`)
  return [
    await leaf('untrusted'),
    { kind: 'no-certificate' },
    emptyIssuer(folder),
    await leaf('many-names', names),
    await leaf(LONGEST, constrained.names, constrained.chain),
    { kind: 'garbage' },
    { kind: 'silence' },
    { kind: 'slow-hello' },
  ]
}

/** The longest chain that OpenSSL takes, nearest first: each CA limits names, and each name is held against each limit. */
async function constrainedChain(
  root: Authority,
  validity: Validity,
): Promise<{ names: string[]; chain: Authority[] }> {
  const digits = 'abcdefghijklmnopqrstuvwxyz012345'
  const names = Array.from(
    { length: CONSTRAINTS },
    (_, i) => `${digits[i >> 5] ?? ''}${digits[i & 31] ?? ''}`,
  )
  const chain: Authority[] = []
  let issuer = root
  for (let i = 0; i < CONSTRAINED_CAS; i++) {
    const limits = { uriHosts: ['bench.postern.test'], dnsNames: names }
    issuer = await issuer.createIssuing(`a stranger ${String(i)}`, validity, { names: limits })
    chain.unshift(issuer)
  }
  return { names, chain }
}

function emptyIssuer(folder: string): Load {
  const [key, certificate] = [join(folder, 'odd.key'), join(folder, 'odd.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const rest = ['-subj', '/', '-days', '2', '-keyout', key, '-out', certificate]
  execFileSync('openssl', ['req', '-x509', ...curve, ...rest], { stdio: 'ignore' })
  const read = (path: string): string => readFileSync(path, 'utf8')
  return { kind: 'empty-issuer', certificate: read(certificate), key: read(key) }
}
