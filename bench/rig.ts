import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Serializable } from 'node:child_process'
import { Authority, USAGE_CLIENT, USAGE_SERVER } from '../src/identity/authority.ts'
import type { KeyFilePaths } from '../src/identity/key-files.ts'
import { identityUri, type Identity } from '../src/identity/name.ts'
import { writeFileSync } from 'node:fs'
import { WorkerProcess } from './worker-process.ts'

export const TRUST_DOMAIN = 'bench.postern.test'
const DAY_MS = 86_400_000

const IDENTITIES = {
  gateway: { role: 'gateway', trustDomain: TRUST_DOMAIN, region: 'local', gateway: 'gw-1' },
  agent: { role: 'agent', trustDomain: TRUST_DOMAIN, cluster: 'bench', agent: 'agent-1' },
  caller: { role: 'caller', trustDomain: TRUST_DOMAIN, caller: 'bench' },
} as const satisfies Record<string, Identity>

export type Leaf = keyof typeof IDENTITIES

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + DAY_MS) }
}

/** Certificates and worker processes of one benchmark run. */
export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  readonly #workers: WorkerProcess[] = []
  readonly #root: Authority

  private constructor(root: Authority) {
    this.#root = root
  }

  static async create(): Promise<Rig> {
    const root = await Authority.createRoot('bench root', validity())
    const rig = new Rig(root)
    writeFileSync(join(rig.folder, 'bundle.pem'), root.certificatePem)
    for (const [name, identity] of Object.entries(IDENTITIES)) await rig.#issue(name, identity)
    return rig
  }

  /** Files of agents beyond the first, each of an identity of its own. */
  async moreAgents(count: number): Promise<KeyFilePaths[]> {
    const agents: KeyFilePaths[] = []
    for (let i = 0; i < count; i++) {
      const name = `agent-${String(i)}`
      agents.push(await this.#issue(name, { ...IDENTITIES.agent, cluster: name }))
    }
    return agents
  }

  files(leaf: Leaf): KeyFilePaths {
    return this.#paths(leaf)
  }

  async #issue(name: string, identity: Identity): Promise<KeyFilePaths> {
    const isGateway = identity.role === 'gateway'
    const leaf = await this.#root.issueLeaf({
      commonName: name,
      uris: [identityUri(identity)],
      dnsNames: isGateway ? ['localhost'] : [],
      usage: isGateway ? [USAGE_SERVER, USAGE_CLIENT] : [USAGE_CLIENT],
      ...validity(),
    })
    const paths = this.#paths(name)
    writeFileSync(paths.certificateFile, leaf.certificatePem)
    writeFileSync(paths.keyFile, leaf.keyPem, { mode: 0o600 })
    return paths
  }

  #paths(name: string): KeyFilePaths {
    const path = (file: string): string => join(this.folder, file)
    return {
      certificateFile: path(`${name}.pem`),
      keyFile: path(`${name}.key`),
      bundleFile: path('bundle.pem'),
    }
  }

  /** Settings of a daemon with this leaf, as flags. */
  flags(leaf: Leaf): Record<string, string> {
    const { certificateFile, keyFile, bundleFile } = this.files(leaf)
    return {
      trustDomain: TRUST_DOMAIN,
      'identity.certificateFile': certificateFile,
      'identity.keyFile': keyFile,
      'identity.bundleFile': bundleFile,
    }
  }

  #agents = 0

  async worker(role: string): Promise<WorkerProcess> {
    const worker = await WorkerProcess.start(role)
    this.#workers.push(worker)
    return worker
  }

  /** A gateway and one agent, each a process; `through` may put a proxy between. */
  async tunnel(
    options: {
      through?: (port: number) => Promise<number>
      agentFlags?: Record<string, string>
      gatewayFlags?: Record<string, string>
    } = {},
  ): Promise<Tunnel> {
    const gateway = await this.worker('gateway')
    const listen = {
      'agents.listen': '127.0.0.1:0',
      'callers.listen': '127.0.0.1:0',
      'limits.bufferBytesMax': '4GiB',
      'limits.tunnelsPerAgentMax': '1000',
      // Idle tunnels are dialled as fast as the machine can.
      'admission.rate': '10000',
      'admission.burst': '100000',
    }
    const ports = await gateway.call<Tunnel['ports']>('start', {
      ...this.flags('gateway'),
      ...listen,
      ...options.gatewayFlags,
    })
    const port = (await options.through?.(ports.agents)) ?? ports.agents
    const agent = await this.worker('agent')
    await agent.call('start', {
      ...this.flags('agent'),
      'gateway.address': `127.0.0.1:${String(port)}`,
      'gateway.serverName': 'localhost',
      allow: JSON.stringify([{ caller: '*', methods: ['*'], services: ['*'] }]),
      'state.directory': join(this.folder, `state-${String(++this.#agents)}`),
      ...options.agentFlags,
    })
    return { gateway, agent, ports }
  }

  async stopAll(): Promise<void> {
    for (const worker of this.#workers.splice(0)) await worker.stop()
  }
}

export interface Tunnel {
  readonly gateway: WorkerProcess
  readonly agent: WorkerProcess
  readonly ports: { readonly agents: number; readonly callers: number; readonly api: number }
}

export type Arguments = Serializable
