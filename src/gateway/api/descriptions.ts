import { createHash } from 'node:crypto'
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import type { ByteBudget } from '../../base/byte-budget.ts'
import { PosternError } from '../../base/errors.ts'
import { Notices } from '../../gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../../rpc/typed.ts'
import type { AgentTunnel, Registry } from '../clusters/clusters.ts'

const BYTES_MAX = 4 * 1024 * 1024
/** What a description is once it is read, beside its bytes. */
const READ_FACTOR = 4
const KEPT_MAX = 16
const ASK_MS = 10_000
/** How long a set that could not be had is not asked for again. */
const PAUSE_MS = 30_000

interface Kept {
  readonly registry: Promise<FileRegistry | undefined>
  readonly sinceMs: number
  bytes: number
}

/** The values and collaborators that Descriptions is given. */
export interface DescriptionsPorts {
  readonly registry: Registry
  readonly budget: ByteBudget
  nowMs(): number
}

/** What describes the methods of clusters: asked for when a caller needs it, and kept by its hash, whoever has it. */
export class Descriptions {
  readonly #ports: DescriptionsPorts
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>()

  constructor(ports: DescriptionsPorts) {
    this.#ports = ports
  }

  /** The descriptions of what the agents of a cluster offer; those that cannot be had are left out. */
  async of(cluster: string): Promise<FileRegistry[]> {
    const tunnels = this.#ports.registry.clusters.get(cluster) ?? []
    const byHash = new Map(tunnels.map((tunnel) => [tunnel.hello.descriptorsHash, tunnel]))
    byHash.delete('')
    const found = [...byHash].map(([hash, tunnel]) => this.#setOf(hash, tunnel))
    return (await Promise.all(found)).filter((one) => one !== undefined)
  }

  async #setOf(hash: string, tunnel: AgentTunnel): Promise<FileRegistry | undefined> {
    const kept = this.#kept.get(hash) ?? this.#ask(hash, tunnel)
    this.#kept.delete(hash)
    this.#kept.set(hash, kept)
    const registry = await kept.registry
    const isOld = this.#ports.nowMs() - kept.sinceMs > PAUSE_MS
    if (registry === undefined && isOld) this.#drop(hash)
    return registry
  }

  #ask(hash: string, tunnel: AgentTunnel): Kept {
    const kept: Kept = {
      registry: this.#read(hash, tunnel, (bytes) => {
        this.#reserve(kept, bytes)
      }).catch(() => undefined),
      sinceMs: this.#ports.nowMs(),
      bytes: 0,
    }
    const [oldest] = this.#kept.keys()
    if (this.#kept.size >= KEPT_MAX && oldest !== undefined) this.#drop(oldest)
    return kept
  }

  /** @throws RpcError, MALFORMED_CALL, BUDGET_EXHAUSTED */
  async #read(
    hash: string,
    { connection, cluster }: AgentTunnel,
    hold: (bytes: number) => void,
  ): Promise<FileRegistry> {
    const client = clientOf(Notices, connection.channel(cluster))
    const parts: Uint8Array[] = []
    let offset = 0
    for (;;) {
      const request = { hash: Buffer.from(hash, 'hex'), offset }
      const { part, totalBytes } = await client.describe(request, { timeoutMs: ASK_MS })
      if (totalBytes === 0 || totalBytes > BYTES_MAX || part.length === 0) throw malformed()
      if (offset === 0) hold(totalBytes * READ_FACTOR)
      parts.push(part)
      offset += part.length
      if (offset >= totalBytes) break
    }
    const bytes = Buffer.concat(parts)
    if (createHash('sha256').update(bytes).digest('hex') !== hash) throw malformed()
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
  }

  #reserve(kept: Kept, bytes: number): void {
    if (!this.#ports.budget.reserve(bytes))
      throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for descriptions')
    kept.bytes += bytes
  }

  #drop(hash: string): void {
    const kept = this.#kept.get(hash)
    if (kept === undefined) return
    this.#kept.delete(hash)
    void kept.registry.then(() => {
      this.#ports.budget.release(kept.bytes)
    })
  }
}

function malformed(): PosternError {
  return new PosternError('MALFORMED_CALL', 'the agent has not told what it has a hash of')
}
