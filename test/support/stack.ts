import { allowAll } from './allow-all.ts'
import { join } from 'node:path'
import { Agent } from '../../src/agent/agent.ts'
import type { Clock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../src/config/agent-settings.ts'
import { GATEWAY_SETTINGS, type GatewaySettings } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { SettingsTable } from '../../src/config/setting.ts'
import { Gateway, type GatewayAddresses } from '../../src/gateway/gateway.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { CountedClock } from './counted-clock.ts'
import { eventually } from './eventually.ts'
import { LogRecorder } from './log-recorder.ts'
import { AGENT, CALLER, GATEWAY, TestPki, TRUST_DOMAIN } from './pki.ts'

type Flags = Readonly<Record<string, string>>

function identityFlags(files: KeyFilePaths): Flags {
  return {
    trustDomain: TRUST_DOMAIN,
    'identity.certificateFile': files.certificateFile,
    'identity.keyFile': files.keyFile,
    'identity.bundleFile': files.bundleFile,
  }
}

function values<T extends SettingsTable>(
  table: T,
  flags: Flags,
): ReturnType<typeof loadSettings<T>>['values'] {
  return loadSettings(table, { flags, environment: {}, file: undefined }).values
}

/** A gateway, agents and callers in this process, over real TLS on loopback. */
export class Stack {
  readonly pki: TestPki
  readonly log = new LogRecorder()
  readonly clock = new CountedClock()
  readonly ambient = { clock: this.clock, random: systemRandom, logger: this.log }
  readonly agents: Agent[] = []
  readonly clients: GatewayClient[] = []
  gateway!: Gateway
  addresses!: GatewayAddresses
  agentPort = 0
  callerPort = 0

  private constructor(pki: TestPki) {
    this.pki = pki
  }

  static async start(flags: Flags = {}): Promise<Stack> {
    const stack = new Stack(await TestPki.create())
    await stack.startGateway(flags)
    return stack
  }

  async startGateway(flags: Flags = {}): Promise<void> {
    this.gateway = await Gateway.open(
      this.gatewaySettings(await this.pki.issue(GATEWAY), flags),
      this.ambient,
    )
    this.addresses = await this.gateway.start()
    this.agentPort = this.addresses.agents.port
    this.callerPort = this.addresses.callers.port
  }

  gatewaySettings(files: KeyFilePaths, flags: Flags = {}): GatewaySettings {
    const listen = {
      'agents.listen': `127.0.0.1:${String(this.agentPort)}`,
      'callers.listen': `127.0.0.1:${String(this.callerPort)}`,
    }
    return values(GATEWAY_SETTINGS, { ...listen, ...identityFlags(files), ...flags })
  }

  agentSettings(files: KeyFilePaths, flags: Flags = {}): AgentSettings {
    return values(AGENT_SETTINGS, {
      'gateway.address': `127.0.0.1:${String(this.agentPort)}`,
      'gateway.serverName': 'localhost',
      'status.socket': join(this.pki.folder, 'agent.sock'),
      'state.directory': join(this.pki.folder, 'state'),
      'backoff.min': '20ms',
      'backoff.max': '200ms',
      allow: JSON.stringify(allowAll(flags.services)),
      ...identityFlags(files),
      ...flags,
    })
  }

  /** An agent that dials; not waited for. */
  async dialAgent(flags: Flags = {}, files?: KeyFilePaths): Promise<Agent> {
    const agent = new Agent(
      this.agentSettings(files ?? (await this.pki.issue(AGENT)), flags),
      this.ambient,
    )
    this.agents.push(agent)
    agent.start()
    return agent
  }

  /** An agent whose tunnel is up. */
  async startAgent(flags: Flags = {}): Promise<Agent> {
    const agent = await this.dialAgent(flags)
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    return agent
  }

  async connect(files?: KeyFilePaths, clock?: Clock): Promise<GatewayClient> {
    const client = await dialGateway({
      address: { host: '127.0.0.1', port: this.callerPort },
      serverName: 'localhost',
      trustDomain: TRUST_DOMAIN,
      credentials: files ?? (await this.pki.issue(CALLER)),
      ...(clock === undefined ? {} : { clock }),
    })
    this.clients.push(client)
    return client
  }

  stop(): void {
    for (const client of this.clients) client.close()
    for (const agent of this.agents) agent.stop()
    this.gateway.stop()
  }
}
