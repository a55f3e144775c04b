/** The main job on one machine: gateway, agent, calls, and a Prometheus reached through the tunnel. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DEV_TRUST_DOMAIN, makeDevelopmentCa } from './dev-ca.ts'
import { ChildProcesses, runToEnd } from './child-processes.ts'
import { freePort } from './free-port.ts'
import { startCloudflare, type CloudflareAtHome } from './quickstart-cloudflare.ts'
import { DATA_RULES, dataSteps, startDataPlane } from './quickstart-data.ts'
import { startTarget } from './quickstart-target.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDER = `${ROOT}.quickstart`
const CERTS = `${ROOT}certs-dev`
const WAIT_MS = 30_000
/** What the customer of this machine lets cross. */
const POLICY = `# What no rule allows is refused. docs/POLICY.md says what a policy may say.
version: 1
rules:
  - name: health for the console
    callers: [console]
    methods: [grpc.health.v1.Health/*, postern.v1.Diagnostics/Download]
    budget: { calls: 1000/min }
  - name: metrics for the console
    callers: [console]
    services: [prometheus]
    paths: ["GET /api/v1/**", "POST /api/v1/query"]
${DATA_RULES}`

const children = new ChildProcesses(FOLDER)
let step = ''

/** One step of the job: its name, then what came of it. */
async function perform<T>(
  name: string,
  act: () => Promise<T>,
  describe: (result: T) => string,
): Promise<T> {
  step = name
  const result = await act()
  const [first = '', ...rest] = describe(result).trimEnd().split('\n')
  console.log(`ok    ${name}${first === '' ? '' : `: ${first}`}`)
  for (const line of rest) console.log(`      ${line}`)
  return result
}

/** Writes a settings file; JSON is YAML. */
function writeSettings(name: string, leaf: string, settings: object): string {
  const identity = {
    certificateFile: `${CERTS}/${leaf}.pem`,
    keyFile: `${CERTS}/${leaf}.key`,
    bundleFile: `${CERTS}/bundle.pem`,
  }
  const path = `${FOLDER}/${name}.yaml`
  writeFileSync(
    path,
    `${JSON.stringify({ trustDomain: DEV_TRUST_DOMAIN, identity, ...settings }, null, 2)}\n`,
  )
  return path
}

async function command(program: 'agent' | 'gateway', ...args: string[]): Promise<string> {
  return await runToEnd(process.execPath, [`${ROOT}bin/${program}.js`, ...args])
}

/** Where asked for: bytes go through Cloudflare, which is a stand-in on this machine. */
async function cloudflareAtHome(): Promise<CloudflareAtHome | undefined> {
  if (!process.argv.includes('--cloudflare')) return undefined
  return await perform(
    'Cloudflare',
    () => startCloudflare(FOLDER),
    ({ what }) => what,
  )
}

async function main(once: boolean): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true, mode: 0o700 })
  await perform(
    'development CA',
    () => makeDevelopmentCa(CERTS),
    (made) => (made ? 'made in certs-dev/' : 'still fresh in certs-dev/'),
  )
  const target = await perform(
    'target',
    () => startTarget(children, FOLDER, freePort),
    ({ what, port }) => `${what} on 127.0.0.1:${String(port)}`,
  )
  const hasPrometheus = target.what === 'Prometheus'
  const at = { folder: FOLDER, certs: CERTS, hasPrometheus, kept: keptEvent }
  const dataPlane = await perform(
    'object store',
    () =>
      startDataPlane(children, { ...at, prometheusPort: hasPrometheus ? target.port : undefined }),
    () => 'Azurite, with TLS',
  )
  writeFileSync(`${FOLDER}/policy.yaml`, POLICY)
  const [agentPort, callerPort, apiPort] = [await freePort(), await freePort(), await freePort()]
  const cloudflare = await cloudflareAtHome()
  const gatewayFile = writeSettings('gateway', 'gateway', {
    agents: { listen: `127.0.0.1:${String(agentPort)}`, ...cloudflare?.gateway },
    callers: { listen: `127.0.0.1:${String(callerPort)}` },
    api: { listen: `127.0.0.1:${String(apiPort)}` },
    status: { socket: `${FOLDER}/gateway.sock` },
    records: { file: `${FOLDER}/records.db` },
  })
  const sealKey = `${FOLDER}/console-seal.key`
  const { pin } = JSON.parse(
    await command('gateway', 'seal', 'new', '--out', sealKey, '--json'),
  ) as {
    pin: string
  }
  const agentFile = writeSettings('agent', 'agent', {
    seal: { callers: [{ caller: 'console', pin }] },
    gateway: { address: `localhost:${String(agentPort)}` },
    status: { socket: `${FOLDER}/agent.sock` },
    state: { directory: `${FOLDER}/state` },
    services: [
      { name: 'prometheus', target: `http://127.0.0.1:${String(target.port)}`, dataType: 'metric' },
    ],
    policy: { file: `${FOLDER}/policy.yaml` },
    ...cloudflare?.agent,
    ...dataPlane,
  })
  const callerFile = writeSettings('caller', 'caller', {
    gateway: { address: `localhost:${String(callerPort)}` },
    seal: { keyFile: sealKey },
  })
  await perform(
    'gateway',
    () => startDaemon('gateway', gatewayFile, 'gateway is listening'),
    () =>
      `agents on 127.0.0.1:${String(agentPort)}, callers on 127.0.0.1:${String(callerPort)}, by gRPC and Connect on 127.0.0.1:${String(apiPort)}`,
  )
  await perform(
    'agent',
    () => startDaemon('agent', agentFile, 'the tunnel is up'),
    () => 'the tunnel is up',
  )
  await callThrough(callerFile)
  await callByCurl(apiPort)
  const agentPin = await sealedThrough(callerFile, agentFile)
  await dataThrough(callerFile, agentPin, at)
  await forwardThrough(callerFile, target)
  await refused(callerFile, agentFile)
  await perform(
    'agent status',
    () => command('agent', 'status', '--config', agentFile),
    (text) => `\n${text}`,
  )
  await shown(agentFile)
  if (once) {
    await stop()
    cloudflare?.stop()
    console.log('all steps worked')
    return
  }
  console.log(`\nEverything stays up until Ctrl-C. Try next, in another terminal:
  npm run -s agent -- status --config .quickstart/agent.yaml
  npm run -s agent -- audit tail --follow --config .quickstart/agent.yaml
  npm run -s agent -- lockdown --reason "trying it" --config .quickstart/agent.yaml
  npm run -s gateway -- clusters list --config .quickstart/caller.yaml
  ${curlLine(apiPort)}
  npm run -s gateway -- forward dev prometheus --listen 127.0.0.1:9091 --config .quickstart/caller.yaml`)
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'])
      process.once(signal, () => {
        resolve()
      })
    // Children alone would not keep this process.
    setInterval(() => undefined, 60_000)
  })
  await stop()
  process.exit(0)
}

async function startDaemon(name: 'gateway' | 'agent', file: string, ready: string): Promise<void> {
  const child = children.start(name, process.execPath, [
    `${ROOT}bin/${name}.js`,
    'run',
    '--config',
    file,
  ])
  await child.waitFor(ready, WAIT_MS)
}

/** A call as any program makes it that speaks HTTP: Connect, in JSON. */
function curlLine(apiPort: number): string {
  const certs = 'certs-dev'
  return `curl --cacert ${certs}/bundle.pem --cert ${certs}/caller.pem --key ${certs}/caller.key -H 'content-type: application/json' -H 'postern-cluster: dev' -d '{}' https://localhost:${String(apiPort)}/grpc.health.v1.Health/Check`
}

async function callByCurl(apiPort: number): Promise<void> {
  await perform(
    'the same by curl',
    () => runToEnd('bash', ['-c', `cd '${ROOT}' && ${curlLine(apiPort)} --silent --fail`]),
    (text) => text,
  )
}

async function callThrough(callerFile: string): Promise<void> {
  const call = (...args: string[]) =>
    command('gateway', 'call', 'dev', ...args, '--config', callerFile)
  await perform(
    'health call',
    () => call('grpc.health.v1.Health/Check', '--json'),
    (text) => text,
  )
  const download = [
    'postern.v1.Diagnostics/Download',
    '--stream',
    '--data',
    '{"messages": 3, "messageBytes": 6}',
  ]
  await perform(
    'streaming call',
    () => call(...download),
    (text) => {
      const lines = text.trim().split('\n')
      if (lines.length !== 3) throw new Error(`expected 3 responses, got ${String(lines.length)}`)
      return `3 responses, such as ${lines[0] ?? ''}`
    },
  )
}

/** A call that no gateway reads: the agent shows its pin, and the caller seals to it. */
async function sealedThrough(callerFile: string, agentFile: string): Promise<string> {
  const shown = await command('agent', 'seal', 'show', '--config', agentFile, '--json')
  const { pin } = JSON.parse(shown) as { pin: string }
  const health = ['call', 'dev', 'grpc.health.v1.Health/Check', '--json', '--config', callerFile]
  await perform(
    'sealed call',
    () => command('gateway', ...health, '--sealed', '--pin', pin),
    (text) => `${text.trim()}, to ${pin.slice(0, 15)}…`,
  )
  return pin
}

/** The services of the data plane, each by the way that its data may go. */
async function dataThrough(
  callerFile: string,
  pin: string,
  at: Parameters<typeof dataSteps>[1],
): Promise<void> {
  const call: Parameters<typeof dataSteps>[0] = (method, data, more = []) => {
    const named = ['call', 'dev', `postern.dataplane.v1.${method}`, '--config', callerFile]
    const args = [...named, '--json', '--sealed', '--pin', pin, '--data', '-', ...more]
    const program = [`${ROOT}bin/gateway.js`, ...args]
    return runToEnd(process.execPath, program, JSON.stringify(data))
  }
  for (const { name, act } of dataSteps(call, at)) await perform(name, act, (text) => text)
}

/** Asks the gateway for events of a run until one of a workload is there. */
async function keptEvent(run: string): Promise<string> {
  const data = JSON.stringify({ cluster: 'dev', run })
  const file = `${FOLDER}/caller.yaml`
  const list = ['call', '-', 'postern.v1.Runs/List', '--json', '--config', file, '--data', data]
  const endAtMs = Date.now() + WAIT_MS
  for (;;) {
    const { events = [] } = JSON.parse(await command('gateway', ...list)) as {
      events?: { event: { phase: string; message?: string } }[]
    }
    const told = events.find(({ event }) => event.phase === 'PHASE_RUNNING')
    if (told !== undefined) return `${told.event.phase}, "${told.event.message ?? ''}"`
    if (Date.now() > endAtMs) throw new Error('the gateway has kept no event')
  }
}

async function forwardThrough(
  callerFile: string,
  target: Awaited<ReturnType<typeof startTarget>>,
): Promise<void> {
  const args = [
    'forward',
    'dev',
    'prometheus',
    '--listen',
    '127.0.0.1:0',
    '--json',
    '--config',
    callerFile,
  ]
  const forward = children.start('forward', process.execPath, [`${ROOT}bin/gateway.js`, ...args])
  const query = async (): Promise<string> => {
    const line = await forward.waitFor('"port"', WAIT_MS)
    const { port } = JSON.parse(line) as { port: number }
    return await target.query(`http://127.0.0.1:${String(port)}`)
  }
  await perform(`${target.what} through gateway forward`, query, (text) => text)
}

/** A call that no rule allows: what its caller is told, and what the customer is. */
async function refused(callerFile: string, agentFile: string): Promise<void> {
  const method = 'postern.v1.Diagnostics/Echo'
  await perform(
    'a call that no rule allows',
    () =>
      command('gateway', 'call', 'dev', method, '--data', '{}', '--config', callerFile).then(
        () => {
          throw new Error('it was let through')
        },
        (error: unknown) => (error as Error).message,
      ),
    (text) => /POLICY_DENIED[^\n]*/.exec(text)?.[0] ?? text,
  )
  await perform(
    'why',
    () =>
      command(
        ...(['agent', 'policy', 'test', '--caller', 'console', '--method', method] as const),
        ...['--config', agentFile],
      ).catch((error: unknown) => (error as Error).message),
    (text) => text.slice(text.indexOf('DENY')),
  )
}

/** What crossed, and whether anybody has touched the record of it. */
async function shown(agentFile: string): Promise<void> {
  for (const verb of ['summary', 'verify'])
    await perform(
      `agent audit ${verb}`,
      () => command('agent', 'audit', verb, '--config', agentFile),
      (text) => `\n${text}`,
    )
  for (const verb of ['posture', 'prove'])
    await perform(
      `agent ${verb}`,
      () => command('agent', verb, '--config', agentFile),
      (text) => `\n${text}`,
    )
}

async function stop(): Promise<void> {
  await perform(
    'clean stop',
    () => children.stopAll(),
    (names) => names.join(', '),
  )
}

try {
  await main(process.argv.includes('--once'))
} catch (error) {
  const text = error instanceof Error ? error.message : String(error)
  console.error(`FAIL  ${step}: ${text}\n      logs: .quickstart/*.log`)
  children.killAll()
  process.exit(1)
}
