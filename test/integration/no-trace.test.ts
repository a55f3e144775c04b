import { expect } from 'chai'
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair, type Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { Diagnostics, Logs, Metrics, Secrets } from '../../src/client.ts'
import type { SealedCluster } from '../../src/caller/sealed-cluster.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import type { Forwarded } from '../../src/caller/join-forward.ts'
import { codeOfForward } from '../support/code-of-forward.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { sealingKey } from '../support/sealing.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LINE_BYTES = String(1024 * 1024)
const CHUNK = 1024 * 1024
const POLICY = `version: 1
rules:
  - { name: everything by name, callers: ["*"], methods: ["postern.v1.Diagnostics/*", "postern.dataplane.v1.Secrets/*", "postern.dataplane.v1.Logs/*", "postern.dataplane.v1.Metrics/*"], services: [logs, metrics, secrets] }
`

/** What writes to files, and how the system call names the file. Sockets and their like are no files. */
const CALLS = 'write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,vmsplice,mmap'
const NO_FILE = /^\S+ +\w+\(\d+<(?:socket|TCP|TCPv6|UNIX|UNIX-STREAM|anon_inode|NETLINK)[^>]*>/

/** A program that runs, its trace, and its log. */
interface Run {
  readonly child: ChildProcess
  readonly trace: string
  readonly log: string
}

interface Markers {
  readonly log: string
  readonly metric: string
  readonly secret: string
}

describe('what is relayed', function () {
  this.timeout(240_000)
  let daemons: Daemons
  let target: Server
  let key: ReturnType<typeof sealingKey>
  let client: GatewayClient | undefined
  const running: Run[] = []
  const marker = (): string => `marker-${randomBytes(16).toString('hex')}`
  let markers: Markers
  let logs: string

  beforeEach(async () => {
    daemons = await Daemons.create()
    key = sealingKey(daemons.pki.folder, 'console')
    markers = { log: marker(), metric: marker(), secret: marker() }
    // Not below what is searched: it is the customer's own file.
    logs = mkdtempSync(join(tmpdir(), 'postern-logs-'))
    writeFileSync(join(logs, 'train.log'), `${markers.log} said a task\n`)
    target = createServer((incoming, response) => {
      incoming.resume()
      incoming.on('end', () => {
        const { url = '' } = incoming
        const result = [{ metric: { __name__: 'up', job: markers.metric }, value: [1, '1'] }]
        const answer = { status: 'success', data: { resultType: 'vector', result } }
        if (url.startsWith('/api/')) response.end(JSON.stringify(answer))
        else response.end(markers[url.slice(1) as keyof Markers])
      })
    }).listen(0, '127.0.0.1')
    await once(target, 'listening')
  })
  afterEach(async () => {
    client?.close()
    client = undefined
    for (const one of running.splice(0)) await ended(one, 'SIGKILL')
    daemons.stop()
    target.close()
    rmSync(logs, { recursive: true })
  })

  /** A program, run from `root`, perhaps under strace; waits for what it is to say. */
  async function run(
    name: 'agent' | 'gateway',
    config: string,
    says: string,
    { root = ROOT, traced = true, environment = {} } = {},
  ): Promise<Run> {
    const trace = join(daemons.pki.folder, `${name}.trace`)
    const log = join(daemons.pki.folder, `${name}.log`)
    const out = openSync(log, 'a')
    const program = [process.execPath, join(root, `bin/${name}.js`), 'run', '--config', config]
    const tracer = [
      'strace',
      '-f',
      '-y',
      '-s',
      LINE_BYTES,
      '-e',
      `trace=${CALLS}`,
      '-o',
      trace,
      '--',
    ]
    const [command = '', ...args] = traced ? [...tracer, ...program] : program
    const child = spawn(command, args, {
      cwd: daemons.pki.folder,
      stdio: ['ignore', out, out],
      env: { ...process.env, ...environment, POSTERN_LOG_LEVEL: 'debug' },
    })
    const found = { child, trace, log }
    running.push(found)
    closeSync(out)
    await eventually(() => readFileSync(log, 'utf8').includes(says), says)
    return found
  }

  async function agentSettings(): Promise<string> {
    const policy = join(daemons.pki.folder, 'policy.yaml')
    const secrets = join(daemons.pki.folder, 'secrets')
    mkdirSync(secrets)
    writeFileSync(policy, POLICY)
    const { port } = target.address() as AddressInfo
    const to = `http://127.0.0.1:${String(port)}`
    return await daemons.settings('agent', {
      allow: [],
      policy: { file: policy },
      seal: { callers: [{ caller: 'console', pin: key.pin }] },
      services: [
        { name: 'logs', target: to, dataType: 'task-log' },
        { name: 'metrics', target: to, dataType: 'metric' },
        { name: 'secrets', target: to, dataType: 'secret' },
      ],
      secrets: [
        {
          ...{ name: 'files', type: 'files', directory: secrets },
          recipient: await identityToRecipient(await generateIdentity()),
        },
      ],
      logs: [{ name: 'tasks', type: 'files', directory: logs, path: '{task}.log' }],
      prometheus: [{ name: 'cluster', url: to, metrics: ['up'] }],
    })
  }

  async function connected(): Promise<{ open: GatewayClient; sealed: SealedCluster }> {
    const keyFile = join(daemons.pki.folder, 'state/seal-key.pem')
    const { readSealingKey } = await import('../../src/seal/sealing-key.ts')
    const { pin } = readSealingKey({ keyFile, certificateFile: undefined })
    client = await dialGateway({
      address: { host: '127.0.0.1', port: daemons.callerPort },
      serverName: 'localhost',
      trustDomain: TRUST_DOMAIN,
      credentials: await daemons.pki.issue(CALLER),
    })
    return { open: client, sealed: client.sealed('c-1', { ...key, pins: [pin] }) }
  }

  /** A request through a forward; its answer is the marker of the path. */
  async function ask(
    forward: (socket: Duplex) => Promise<Forwarded>,
    path: keyof Markers,
  ): Promise<void> {
    const [near, far] = duplexPair()
    void codeOfForward(forward(far))
    const call = request({
      method: 'POST',
      path: `/${path}`,
      createConnection: () => near,
    })
    call.end(markers[path].repeat(20))
    const [response] = (await once(call, 'response')) as [NodeJS.ReadableStream]
    let body = ''
    for await (const chunk of response) body += String(chunk)
    expect(body).to.equal(markers[path])
  }

  /** Secrets sealed, logs and metrics not: each up and down. */
  async function cross(): Promise<void> {
    const { open, sealed } = await connected()
    const cluster = open.cluster('c-1')
    await ask((socket) => cluster.forward('logs', socket), 'log')
    await ask((socket) => cluster.forward('metrics', socket), 'metric')
    await ask((socket) => sealed.forward('secrets', socket), 'secret')
    await cluster.service(Diagnostics).echo({ payload: Buffer.from(markers.log.repeat(50)) })
    const value = Buffer.from(markers.secret.repeat(100))
    const put = { backend: 'files', scope: { organisation: 'acme' }, name: 'key', value }
    await sealed.service(Secrets).put(put)
    const tail = cluster.service(Logs).tail({ source: 'tasks', labels: { task: 'train' } })
    const lines: string[] = []
    for await (const one of tail) lines.push(...one.lines.map(({ text }) => text))
    expect(lines.join()).to.include(markers.log)
    const { series } = await cluster.service(Metrics).query({ source: 'cluster', query: 'up' })
    expect(series[0]?.labels.job).to.equal(markers.metric)
  }

  const all = (): string[] =>
    [markers.log, markers.metric, markers.secret].flatMap((one) => [
      one,
      Buffer.from(one).toString('hex'),
    ])

  /** Lines of a trace that write a marker to anything but a socket. */
  function writesOf(trace: string): string[] {
    return readFileSync(trace, 'latin1')
      .split('\n')
      .filter((line) => all().some((one) => line.includes(one)) && !NO_FILE.test(line))
  }

  /** Files below a folder that hold a marker; those of the test itself left out. */
  function filesWith(folder: string): string[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.trace'))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => {
        const bytes = readFileSync(path)
        const plain = path.endsWith('.gz') ? gunzipSync(bytes) : bytes
        return all().some((one) => plain.includes(one))
      })
  }

  it('is written to no file, log, record, core or diag bundle by agent or gateway, under strace', async () => {
    const gateway = await run('gateway', await daemons.settings('gateway'), 'gateway is listening')
    const config = await agentSettings()
    const agent = await run('agent', config, 'the tunnel is up')
    await cross()
    const bundle = join(daemons.pki.folder, 'diag.tar.gz')
    const diag = await daemons.run('agent', 'diag', '--config', config, '--out', bundle)
    expect(existsSync(bundle), diag.text).to.equal(true)
    client?.close()
    for (const one of [agent, gateway]) await ended(one, 'SIGTERM')
    for (const { trace } of [agent, gateway]) {
      // It was traced: what it said to sockets and to its log is there.
      expect(readFileSync(trace, 'latin1').split('\n').length).to.be.above(20)
      expect(writesOf(trace)).to.deep.equal([])
    }
    expect(filesWith(daemons.pki.folder)).to.deep.equal([])
    expect(readdirSync(daemons.pki.folder).filter((name) => name.startsWith('core'))).to.deep.equal(
      [],
    )
    const record = readFileSync(
      join(daemons.pki.folder, 'state/audit/record-00000001.jsonl'),
      'utf8',
    )
    expect(existsSync(join(daemons.pki.folder, 'secrets/acme/key.age'))).to.equal(true)
    for (const name of ['Secrets/Put', 'Logs/Tail', 'Metrics/Query'])
      expect(record).to.include(`"method":"postern.dataplane.v1.${name}"`)
    for (const type of ['task-log', 'metric', 'secret'])
      expect(record).to.include(`"type":"${type}"`)
  })

  it('is found where a build leaks it on purpose', async () => {
    await run('gateway', await daemons.settings('gateway'), 'gateway is listening', {
      traced: false,
    })
    const root = join(daemons.pki.folder, 'leaking')
    for (const part of ['src', 'bin', 'package.json'])
      cpSync(join(ROOT, part), join(root, part), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
    const bridge = join(root, 'src/tunnel/stream-bridge.ts')
    const honest = "    if (!this.#passes('in', bytes.length)) return\n"
    const source = readFileSync(bridge, 'utf8')
    expect(source.split(honest).length).to.equal(2)
    const leaking = `${honest}    appendFileSync('leak', bytes)\n`
    writeFileSync(
      bridge,
      `import { appendFileSync } from 'node:fs'\n${source.replace(honest, leaking)}`,
    )
    const agent = await run('agent', await agentSettings(), 'the tunnel is up', { root })
    await cross()
    client?.close()
    await ended(agent, 'SIGTERM')
    expect(writesOf(agent.trace).length).to.be.above(0)
    expect(filesWith(daemons.pki.folder).some((path) => path.endsWith('/leak'))).to.equal(true)
    rmSync(root, { recursive: true })
  })

  it('is nowhere in the memory of a gateway where it was sealed, and is where it was not', async () => {
    const gateway = await run(
      'gateway',
      await daemons.settings('gateway'),
      'gateway is listening',
      { traced: false },
    )
    await run('agent', await agentSettings(), 'the tunnel is up', { traced: false })
    const { open, sealed } = await connected()
    const payload = (text: string): Buffer => Buffer.from(text.repeat(2000))
    for (let i = 0; i < 20; i++) {
      await sealed.service(Diagnostics).echo({ payload: payload(markers.secret) })
      await open
        .cluster('c-1')
        .service(Diagnostics)
        .echo({ payload: payload(markers.log) })
      await ask((socket) => sealed.forward('secrets', socket), 'secret')
    }
    const found = memoryOf(gateway.child.pid ?? 0, [markers.secret, markers.log])
    expect(found).to.deep.equal([false, true])
  })
})

/** Ends a program: strace itself takes no signal, so what it traces gets it. */
async function ended({ child, log }: Run, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  const pid = /"pid":(\d+)/.exec(readFileSync(log, 'utf8'))?.[1]
  process.kill(pid === undefined ? (child.pid ?? 0) : Number(pid), signal)
  await exit
}

/** Which of some texts are in the memory of a process: heap, buffers, stacks. */
function memoryOf(pid: number, texts: readonly string[]): boolean[] {
  const found = texts.map(() => false)
  const wanted = texts.map((text) => Buffer.from(text))
  const memory = openSync(`/proc/${String(pid)}/mem`, 'r')
  const overlap = Math.max(...wanted.map(({ length }) => length))
  for (const line of readFileSync(`/proc/${String(pid)}/maps`, 'utf8').split('\n')) {
    const [, from = '', to = '', mode = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? []
    if (!mode.startsWith('rw')) continue
    const end = Number.parseInt(to, 16)
    const bytes = Buffer.alloc(CHUNK + overlap)
    for (let at = Number.parseInt(from, 16); at < end; at += CHUNK) {
      let count: number
      try {
        count = readSync(memory, bytes, 0, Math.min(bytes.length, end - at), at)
      } catch {
        // Part of it cannot be read, as it was never touched.
        continue
      }
      const seen = bytes.subarray(0, count)
      wanted.forEach((text, index) => (found[index] ||= seen.includes(text)))
    }
  }
  closeSync(memory)
  return found
}
