/**
 * 2 000 real agents lose their gateway: `node bench/storm.ts [AGENTS] [--write]`. The gateway, a process
 * of its own, is killed and started again; what it logs of registrations is the curve. --write puts the
 * figures into docs/RECONNECTS.md and the plot into docs/reconnects.svg.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../scripts/free-port.ts'
import { sleep } from './measure.ts'
import { plotReconnects } from './plot.ts'
import { Rig } from './rig.ts'
import type { WorkerProcess } from './worker-process.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const AGENTS = Number(process.argv.find((word) => /^\d+$/.test(word)) ?? 2000)
const WORKERS = 4
const RATE = 200
const BURST = 400
const DOWN_MS = 1000
const WAIT_MS = 120_000
const TICK_MS = 250

interface Line {
  readonly time: string
  readonly msg: string
}

/** The gateway's process, and when each agent registered with it. */
class LoggedGateway {
  readonly registeredAtMs: number[] = []
  readonly #child: ChildProcess

  constructor(file: string) {
    this.#child = spawn(process.execPath, [join(ROOT, 'bin/gateway.js'), 'run', '--config', file], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let rest = ''
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      const lines = `${rest}${chunk.toString()}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const { msg, time } = JSON.parse(line) as Line
        if (msg === 'tunnel registered') this.registeredAtMs.push(Date.parse(time))
      }
    })
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}

async function untilAll(workers: readonly WorkerProcess[]): Promise<void> {
  const endAtMs = Date.now() + WAIT_MS
  for (;;) {
    const counts = await Promise.all(workers.map((worker) => worker.call<number>('ready')))
    if (counts.reduce((sum, count) => sum + count, 0) === AGENTS) return
    if (Date.now() > endAtMs) throw new Error(`only ${String(counts)} of ${String(AGENTS)} are up`)
    await sleep(TICK_MS)
  }
}

async function startAgents(rig: Rig, port: number): Promise<WorkerProcess[]> {
  const files = await rig.moreAgents(AGENTS)
  const flags = files.map(({ certificateFile, keyFile, bundleFile }) => ({
    ...rig.flags('agent'),
    'identity.certificateFile': certificateFile,
    'identity.keyFile': keyFile,
    'identity.bundleFile': bundleFile,
    'gateway.address': `127.0.0.1:${String(port)}`,
    'gateway.serverName': 'localhost',
    'state.directory': rig.folder,
  }))
  const workers: WorkerProcess[] = []
  for (let index = 0; index < WORKERS; index++) workers.push(await rig.worker('storm-agents'))
  const share = Math.ceil(AGENTS / WORKERS)
  await Promise.all(
    workers.map((worker, index) =>
      worker.call('start', flags.slice(index * share, (index + 1) * share)),
    ),
  )
  return workers
}

const rig = await Rig.create()
const [agents, callers] = [await freePort(), await freePort()]
const file = join(rig.folder, 'gateway.yaml')
const settings = {
  ...rig.flags('gateway'),
  'agents.listen': `127.0.0.1:${String(agents)}`,
  'callers.listen': `127.0.0.1:${String(callers)}`,
  'status.socket': join(rig.folder, 'gateway.sock'),
  'admission.rate': RATE,
  'admission.burst': BURST,
}
writeFileSync(file, JSON.stringify(settings))
const first = new LoggedGateway(file)
const workers = await startAgents(rig, agents)
await untilAll(workers)
console.log(`${String(AGENTS)} agents are up; the gateway is killed`)
await first.kill()
await sleep(DOWN_MS)
const second = new LoggedGateway(file)
const beganAtMs = Date.now()
await untilAll(workers)
const times = second.registeredAtMs.map((time) => time - beganAtMs).sort((a, b) => a - b)
await second.kill()
await rig.stopAll()

const last = (times.at(-1) ?? 0) / 1000
const perSecond = Array.from(
  { length: Math.ceil(last) },
  (_, second) => times.filter((time) => Math.floor(time / 1000) === second).length,
)
const most = Math.max(...perSecond)
const afterBurst = Math.max(0, ...perSecond.slice(4))
console.log(`registrations in each second: ${perSecond.join(' ')}`)
console.log(
  `all ${String(times.length)} are back after ${last.toFixed(1)} s; at most ${String(most)} in one second, ${String(afterBurst)} once the burst of ${String(BURST)} is used up; the rate is ${String(RATE)}`,
)
if (process.argv.includes('--write')) {
  const figures = { agents: AGENTS, rate: RATE, burst: BURST, downMs: DOWN_MS, times, perSecond }
  writeFileSync(join(ROOT, 'docs/reconnects.svg'), plotReconnects(figures))
  const text = `# Reconnects

What happens when a gateway with ${String(AGENTS)} agents is killed, and started again ${String(DOWN_MS / 1000)} s later. Made by
\`node bench/storm.ts --write\`: real agents with identities of their own, in ${String(WORKERS)} processes, over mutual TLS on loopback,
and a gateway with \`admission.rate: ${String(RATE)}\` and \`admission.burst: ${String(BURST)}\`.

![Registrations per second, and agents that are back, over time](reconnects.svg)

All ${String(times.length)} agents were back after ${last.toFixed(1)} s. Registrations in each second: ${perSecond.join(', ')}.

An agent that comes while others are let in is told when to come back, and then let in for certain: it waits as long, with
up to \`backoff.min\` of jitter, rather than knocking again and again. The same loss is simulated on a virtual clock, with
several seeds, in \`test/simulation/reconnect-storm.test.ts\`, which holds the curve to the rate.
`
  writeFileSync(join(ROOT, 'docs/RECONNECTS.md'), text)
}
