import { allowAll } from './allow-all.ts'
import { createPublicKey } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent } from '../../src/agent/agent.ts'
import { enroll } from '../../src/agent/enrolment/enroll.ts'
import { writeEnrollUrl } from '../../src/agent/enrolment/enroll-url.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { GATEWAY_SETTINGS } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { enterCertificate } from '../../src/gateway/ca/certificate-book.ts'
import { Gateway, type GatewayAddresses } from '../../src/gateway/gateway.ts'
import { initGateway, type InitResult } from '../../src/gateway/ca/init.ts'
import { Records } from '../../src/store/records.ts'
import type { CertificateState } from '../../src/store/schema.ts'
import { Tokens } from '../../src/gateway/ca/tokens.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { USAGE_CLIENT, type Authority } from '../../src/identity/authority.ts'
import { Generations } from '../../src/identity/generations.ts'
import { KeyProtection } from '../../src/identity/key-protection.ts'
import { makeKey, privatePem } from '../../src/identity/keys.ts'
import { identityUri } from '../../src/identity/name.ts'
import { pemText } from '../../src/identity/pem.ts'
import type { Ambient } from '../../src/tunnel/process-parts.ts'
import { LogRecorder } from './log-recorder.ts'
import { runCli, type CliRun } from './run-cli.ts'

export const DOMAIN = 'cp.postern.test'

type Flags = Readonly<Record<string, string>>

export interface Planted {
  readonly fromMs: number
  readonly toMs: number
  readonly state?: CertificateState
  /** Whether the gateway has it in its records. */
  readonly isKnown?: boolean
  /** Default: the issuing CA of agents of this control plane. */
  readonly authority?: Authority
}

/** A control plane made by `gateway init`, with its listeners on loopback, in this process. */
export class ControlPlane {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-cp-'))
  readonly log = new LogRecorder()
  readonly agentLog = new LogRecorder()
  readonly agents: Agent[] = []
  readonly clients: GatewayClient[] = []
  init!: InitResult
  addresses!: GatewayAddresses
  gateway!: Gateway
  #onQuery: ((sql: string) => void) | undefined

  /** `onQuery` hears what the gateway asks its store. */
  static async start(flags: Flags = {}, onQuery?: (sql: string) => void): Promise<ControlPlane> {
    const plane = new ControlPlane()
    plane.init = await initGateway(
      {
        folder: join(plane.folder, 'cp'),
        trustDomain: DOMAIN,
        region: 'eu',
        gateway: 'gw-1',
        dnsNames: ['localhost'],
        keyKind: 'p256',
      },
      Date.now(),
    )
    plane.#onQuery = onQuery
    await plane.startGateway(flags)
    return plane
  }

  async startGateway(flags: Flags = {}): Promise<void> {
    const listen = ['agents.listen', 'callers.listen', 'enroll.listen', 'enroll.renewListen']
    const { values } = loadSettings(GATEWAY_SETTINGS, {
      flags: { ...Object.fromEntries(listen.map((key) => [key, '127.0.0.1:0'])), ...flags },
      environment: {},
      file: this.init.configFile,
    })
    const onQuery = this.#onQuery
    const ambient = { clock: systemClock, random: systemRandom, logger: this.log, onQuery }
    this.gateway = await Gateway.open(values, ambient)
    this.addresses = await this.gateway.start()
  }

  /** Flags that make the next gateway listen where this one did. */
  get sameAddresses(): Flags {
    const { agents, callers, enroll, renew } = this.addresses
    const at = (info: { port: number } | undefined) => `127.0.0.1:${String(info?.port)}`
    return {
      'agents.listen': at(agents),
      'callers.listen': at(callers),
      'enroll.listen': at(enroll),
      'enroll.renewListen': at(renew),
    }
  }

  get configFile(): string {
    return this.init.configFile
  }

  get bundleFile(): string {
    return join(this.folder, 'cp', 'bundle.pem')
  }

  get enrollUrl(): string {
    return `https://localhost:${String(this.addresses.enroll?.port)}`
  }

  get renewUrl(): string {
    return `https://localhost:${String(this.addresses.renew?.port)}`
  }

  /** Works on the store beside the running gateway, as the commands do. */
  async records<T>(act: (records: Records, tokens: Tokens) => Promise<T>): Promise<T> {
    const records = await Records.open(join(this.folder, 'cp', 'records.db'))
    try {
      return await act(records, new Tokens(records, systemRandom))
    } finally {
      await records.close()
    }
  }

  /** A new join token. */
  async token(
    more: { cluster?: string; agent?: string; uses?: number; ttlMs?: number } = {},
  ): Promise<{
    id: string
    token: string
  }> {
    const { cluster = 'c-1', agent, uses = 1, ttlMs = 3_600_000 } = more
    const request = { cluster, agent, uses, ttlMs, actor: 'test' }
    return await this.records((_, tokens) => tokens.create(request, Date.now()))
  }

  /** A command of the gateway's on this control plane. */
  async command(...args: readonly string[]): Promise<CliRun> {
    return await runCli('gateway', [...args, '--config', this.configFile])
  }

  stateOf(name: string): string {
    return join(this.folder, 'agents', name)
  }

  /** Enrols an agent, whose state is kept in a folder of its name. */
  async enroll(
    name: string,
    { protection = new KeyProtection(), cluster = 'c-1' } = {},
  ): Promise<void> {
    const { token } = await this.token({ agent: name, cluster })
    await this.enrollWith(name, token, protection)
  }

  /** The same with a token that is there. */
  async enrollWith(name: string, token: string, protection = new KeyProtection()): Promise<void> {
    await enroll(
      {
        gateway: new URL(this.enrollUrl),
        token,
        pins: [this.init.pin],
        bundlePem: undefined,
        trustDomain: DOMAIN,
        keyKind: 'p256',
        onStep: () => undefined,
      },
      new Generations(this.stateOf(name), protection),
      () => systemClock.wallMs(),
    )
  }

  /** Gives an agent a certificate that the gateway knows, with any times, as if it had been issued then. */
  async plant(name: string, planted: Planted): Promise<void> {
    const { fromMs, toMs, state = 'current', isKnown = true } = planted
    const agents = planted.authority ?? readAuthority(join(this.folder, 'cp/ca'), 'agents')
    const key = await makeKey('p256')
    const identity = { role: 'agent', trustDomain: DOMAIN, cluster: 'c-1', agent: name } as const
    const certificate = await agents.issue(createPublicKey(key), {
      commonName: name,
      uris: [identityUri(identity)],
      usage: [USAGE_CLIENT],
      notBefore: new Date(fromMs),
      notAfter: new Date(toMs),
    })
    const der = Buffer.from(certificate.rawData)
    const issued = { der, identity, state, grant: 'planted', nowMs: fromMs }
    if (isKnown) await this.records(({ database }) => enterCertificate(issued, database))
    writeEnrollUrlIn(this.stateOf(name), this.enrollUrl)
    new Generations(this.stateOf(name)).install(
      {
        key,
        keyPem: privatePem(key),
        chainPem: pemText('CERTIFICATE', der) + agents.certificatePem,
        bundlePem: readFileSync(this.bundleFile, 'utf8'),
      },
      Date.now(),
    )
  }

  /** An agent that has enrolled under this name; its tunnel is not waited for. */
  startAgent(name: string, flags: Flags = {}, ambient: Partial<Ambient> = {}): Agent {
    const agent = this.makeAgent(name, flags, ambient)
    agent.start()
    return agent
  }

  makeAgent(name: string, flags: Flags = {}, ambient: Partial<Ambient> = {}): Agent {
    const { values } = loadSettings(AGENT_SETTINGS, {
      flags: {
        'gateway.address': `localhost:${String(this.addresses.agents.port)}`,
        trustDomain: DOMAIN,
        'state.directory': this.stateOf(name),
        'status.socket': join(this.folder, `${name}.sock`),
        'identity.renewApart': '1s',
        'backoff.min': '20ms',
        'backoff.max': '300ms',
        allow: JSON.stringify(allowAll(flags.services)),
        ...flags,
      },
      environment: {},
      file: undefined,
    })
    const real = { clock: systemClock, random: systemRandom, logger: this.agentLog }
    const agent = new Agent(values, { ...real, ...ambient })
    this.agents.push(agent)
    return agent
  }

  /** A caller with a certificate that `gateway certs issue` made. */
  async connect(name = 'tester'): Promise<GatewayClient> {
    const dir = join(this.folder, 'callers')
    const { status, stderr } = await this.command('certs', 'issue', '--caller', name, '--dir', dir)
    if (status !== 0) throw new Error(stderr)
    const client = await dialGateway({
      address: { host: 'localhost', port: this.addresses.callers.port },
      trustDomain: DOMAIN,
      credentials: {
        certificateFile: join(dir, `${name}.pem`),
        keyFile: join(dir, `${name}.key`),
        bundleFile: join(dir, 'bundle.pem'),
      },
    })
    this.clients.push(client)
    return client
  }

  stop(): void {
    for (const client of this.clients) client.close()
    for (const agent of this.agents) agent.stop()
    this.gateway.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function writeEnrollUrlIn(folder: string, url: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeEnrollUrl(folder, new URL(url))
}
