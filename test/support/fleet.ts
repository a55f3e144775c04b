import { allowAll } from './allow-all.ts'
import { join } from 'node:path'
import { Agent } from '../../src/agent/agent.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { GATEWAY_SETTINGS } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import type { Ambient } from '../../src/tunnel/process-parts.ts'
import { freePort } from './daemons.ts'
import { eventually } from './eventually.ts'
import { LogRecorder } from './log-recorder.ts'
import { AGENT, CALLER, GATEWAY, TestPki, TRUST_DOMAIN } from './pki.ts'

type Flags = Readonly<Record<string, string>>

export interface FleetGateway {
  readonly name: string
  readonly agentPort: number
  readonly callerPort: number
  gateway: Gateway
}

function identityFlags(files: KeyFilePaths): Flags {
  return {
    trustDomain: TRUST_DOMAIN,
    'identity.certificateFile': files.certificateFile,
    'identity.keyFile': files.keyFile,
    'identity.bundleFile': files.bundleFile,
  }
}

/** Several gateways that know of each other, and agents of one cluster, in this process, over real TLS. */
export class Fleet {
  readonly pki: TestPki
  readonly log = new LogRecorder()
  readonly ambient: Ambient
  readonly gateways: FleetGateway[] = []
  readonly agents: Agent[] = []
  readonly clients: GatewayClient[] = []

  private constructor(pki: TestPki, more: Partial<Ambient>) {
    this.pki = pki
    this.ambient = { clock: systemClock, random: systemRandom, logger: this.log, ...more }
  }

  /** So many gateways, gw-1 and on, each told of the others. */
  static async start(
    count: number,
    flags: Flags = {},
    more: Partial<Ambient> = {},
  ): Promise<Fleet> {
    const fleet = new Fleet(await TestPki.create(), more)
    for (let number = 1; number <= count; number++) {
      const [agentPort, callerPort] = [await freePort(), await freePort()]
      const gateway = undefined as never as Gateway
      fleet.gateways.push({ name: `gw-${String(number)}`, agentPort, callerPort, gateway })
    }
    for (const one of fleet.gateways) await fleet.startGateway(one, flags)
    return fleet
  }

  at(index: number): FleetGateway {
    const found = this.gateways[index]
    if (found === undefined) throw new Error(`there is no gateway ${String(index)}`)
    return found
  }

  async startGateway(one: FleetGateway, flags: Flags = {}): Promise<void> {
    const others = this.gateways.filter((other) => other !== one)
    const peers = others.map(({ name, agentPort }) => ({
      gateway: name,
      address: `localhost:${String(agentPort)}`,
    }))
    const { values } = loadSettings(GATEWAY_SETTINGS, {
      flags: {
        'agents.listen': `127.0.0.1:${String(one.agentPort)}`,
        'callers.listen': `127.0.0.1:${String(one.callerPort)}`,
        'agents.address': `localhost:${String(one.agentPort)}`,
        peers: JSON.stringify(peers),
        ...identityFlags(await this.pki.issue({ ...GATEWAY, gateway: one.name })),
        ...flags,
      },
      environment: {},
      file: undefined,
    })
    one.gateway = await Gateway.open(values, this.ambient)
    await one.gateway.start()
  }

  /** An agent of cluster c-1 that knows of the first gateway alone. */
  async startAgent(
    name: string,
    flags: Flags = {},
    ambient: Partial<Ambient> = {},
  ): Promise<Agent> {
    const { values } = loadSettings(AGENT_SETTINGS, {
      flags: {
        'gateway.address': `localhost:${String(this.at(0).agentPort)}`,
        'status.socket': join(this.pki.folder, `${name}.sock`),
        'state.directory': join(this.pki.folder, `state-${name}`),
        'backoff.min': '20ms',
        'backoff.max': '200ms',
        allow: JSON.stringify(allowAll(flags.services)),
        ...identityFlags(await this.pki.issue({ ...AGENT, agent: name })),
        ...flags,
      },
      environment: {},
      file: undefined,
    })
    const agent = new Agent(values, { ...this.ambient, ...ambient })
    this.agents.push(agent)
    agent.start()
    return agent
  }

  async connect(index = 0): Promise<GatewayClient> {
    const client = await dialGateway({
      address: { host: 'localhost', port: this.at(index).callerPort },
      trustDomain: TRUST_DOMAIN,
      credentials: await this.pki.issue(CALLER),
    })
    this.clients.push(client)
    return client
  }

  stop(): void {
    for (const client of this.clients) client.close()
    for (const agent of this.agents) agent.stop()
    for (const { gateway } of this.gateways) gateway.stop()
  }
}

/** The gateways that an agent's tunnels are with, in order. */
export function gatewaysOf({ tunnels }: Agent): string[] {
  const names = tunnels.ready.map(({ welcome }) => welcome.gateway)
  return names.sort()
}

export async function untilWith(agent: Agent, ...names: readonly string[]): Promise<void> {
  const wanted = names.join()
  await eventually(() => gatewaysOf(agent).join() === wanted, `tunnels with ${wanted}`)
}
