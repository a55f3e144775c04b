import { expect } from 'chai'
import type { Agent } from '../../../src/agent/agent.ts'
import { Diagnostics } from '../../../src/gen/postern/v1/diagnostics_pb.js'
import { eventually } from '../eventually.ts'
import { Stack } from '../stack.ts'
import { statusNow, type StatusJson } from '../status-now.ts'
import { EdgeStandIn } from './edge.ts'
import { FrontStandIn } from './front.ts'
import { writeProgram, writeTunnelToken } from './program.ts'

export type ConnectorJson = NonNullable<StatusJson['connector']>

/** A gateway, a stand-in for Cloudflare's front and edge, and agents that supervise a cloudflared: ours, or that of CLOUDFLARED_BIN. */
export class ConnectorStack {
  readonly stack: Stack
  readonly front: FrontStandIn
  readonly edge: EdgeStandIn

  readonly #real: string | undefined

  private constructor(stack: Stack, front: FrontStandIn, edge: EdgeStandIn, real?: string) {
    this.#real = real
    this.stack = stack
    this.front = front
    this.edge = edge
    front.routes.set('localhost', edge.upgrade)
  }

  /** `isOurs`: with the stand-in for cloudflared, whatever CLOUDFLARED_BIN says: it alone can be told to misbehave. */
  static async start(isOurs = false): Promise<ConnectorStack> {
    const real = isOurs ? undefined : process.env.CLOUDFLARED_BIN
    const stack = await Stack.start()
    const { folder } = stack.pki
    return new ConnectorStack(
      stack,
      await FrontStandIn.start(folder),
      await EdgeStandIn.start(folder),
      real,
    )
  }

  stop(): void {
    this.stack.stop()
    this.front.stop()
    this.edge.stop()
    expect(this.front.faults).to.deep.equal([])
  }

  /** A cloudflared that finds the stand-in: its own arguments go through as they are. `variables`: for the fake one. */
  program(variables: Record<string, string> = {}, name = 'cloudflared'): string {
    const { folder } = this.stack.pki
    return writeProgram(folder, this.edge, { name, variables, real: this.#real })
  }

  get tokenFile(): string {
    return writeTunnelToken(this.stack.pki.folder)
  }

  get flags(): Record<string, string> {
    return {
      via: 'cloudflare-connector',
      'cloudflared.path': this.program(),
      'cloudflared.tokenFile': this.tokenFile,
      'cloudflared.listen': '127.0.0.1:0',
      'cloudflared.protocol': 'http2',
      'cloudflared.outage': '3s',
      'cloudflared.grace': '2s',
      'tunnel.dialTimeout': '3s',
    }
  }

  /** An agent whose cloudflared has been started, and a gateway that dials its front. */
  async dialAgent(more: Record<string, string> = {}): Promise<Agent> {
    const agent = await this.stack.dialAgent({ ...this.flags, ...more })
    const port = await eventually(() => {
      const { connector } = agent.tunnels.report().ways
      return connector !== undefined && connector.starts > 0 && connector.port
    }, 'it is started')
    this.edge.ingress = `tcp://127.0.0.1:${String(port)}`
    const { gateway } = this.stack
    const row = {
      address: { host: 'localhost', port: this.front.port },
      caFile: this.front.caFile,
      serviceTokenFile: this.front.tokenFile,
    }
    gateway.reload({ ...gateway.settings, 'agents.fronts': [row] })
    return agent
  }

  async startAgent(more: Record<string, string> = {}): Promise<Agent> {
    const agent = await this.dialAgent(more)
    await this.untilUp(agent)
    return agent
  }

  async untilUp(agent: Agent): Promise<void> {
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
  }

  async untilDown(agent: Agent): Promise<void> {
    await eventually(() => agent.tunnel.state.name !== 'ready', 'the tunnel is down')
  }

  connector(agent: Agent): ConnectorJson {
    const { connector } = statusNow(agent, Date.now())
    if (connector === null) throw new Error('it supervises none')
    return connector
  }

  async echo(bytes: number): Promise<void> {
    const client = await this.stack.connect()
    const payload = Buffer.alloc(bytes, 'postern')
    const echo = client.cluster('c-1').service(Diagnostics).echo({ payload }, { timeoutMs: 20_000 })
    const answer = await echo
    expect(Buffer.from(answer.payload).equals(payload)).to.equal(true)
  }
}
