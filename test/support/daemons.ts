import { allowAll } from './allow-all.ts'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child, ChildProcesses } from '../../scripts/child-processes.ts'
import { freePort } from '../../scripts/free-port.ts'
import { noteOutput } from './seen.ts'
import { AGENT, CALLER, GATEWAY, TestPki, TRUST_DOMAIN } from './pki.ts'

export { freePort }

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The two programs as real processes, with real files. */
export class Daemons {
  readonly pki: TestPki
  readonly children: ChildProcesses
  readonly agentPort: number
  readonly callerPort: number
  #serial = 0
  readonly #started: Child[] = []

  private constructor(pki: TestPki, agentPort: number, callerPort: number) {
    this.pki = pki
    this.agentPort = agentPort
    this.callerPort = callerPort
    this.children = new ChildProcesses(pki.folder)
  }

  static async create(): Promise<Daemons> {
    return new Daemons(await TestPki.create(), await freePort(), await freePort())
  }

  async settings(name: 'gateway' | 'agent' | 'caller', more: object = {}): Promise<string> {
    const identity = { gateway: GATEWAY, agent: AGENT, caller: CALLER }[name]
    const own = {
      gateway: {
        agents: { listen: `127.0.0.1:${String(this.agentPort)}` },
        callers: { listen: `127.0.0.1:${String(this.callerPort)}` },
        status: { socket: join(this.pki.folder, 'gateway.sock') },
      },
      agent: {
        gateway: { address: `localhost:${String(this.agentPort)}` },
        status: { socket: join(this.pki.folder, 'agent.sock') },
        state: { directory: join(this.pki.folder, 'state') },
        backoff: { min: '50ms', max: '500ms' },
        allow: allowAll((more as { services?: readonly unknown[] }).services),
      },
      caller: { gateway: { address: `localhost:${String(this.callerPort)}` } },
    }[name]
    const path = join(this.pki.folder, `${name}-${String(++this.#serial)}.yaml`)
    const settings = {
      trustDomain: TRUST_DOMAIN,
      identity: await this.pki.issue(identity),
      ...own,
      ...more,
    }
    writeFileSync(path, JSON.stringify(settings))
    return path
  }

  start(name: 'gateway' | 'agent', ...args: string[]): Child {
    const label = `${name}-${String(++this.#serial)}`
    const command = [`${ROOT}bin/${name}.js`, ...args]
    const child = this.children.start(label, process.execPath, command)
    this.#started.push(child)
    return child
  }

  async startGateway(more: object = {}): Promise<Child> {
    const gateway = this.start('gateway', 'run', '--config', await this.settings('gateway', more))
    await gateway.waitFor('gateway is listening', 150000)
    return gateway
  }

  async startAgent(more: object = {}): Promise<Child> {
    const agent = this.start('agent', 'run', '--config', await this.settings('agent', more))
    await agent.waitFor('the tunnel is up', 150000)
    return agent
  }

  /** Runs a command to its end; its exit status and what it printed. */
  async run(
    name: 'gateway' | 'agent',
    ...args: string[]
  ): Promise<{ status: number; text: string }> {
    const child = this.start(name, ...args)
    const status = await child.ended
    return { status, text: child.text }
  }

  stop(): void {
    for (const { text } of this.#started) noteOutput(text)
    this.children.killAll()
  }
}
