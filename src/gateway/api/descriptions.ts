import { createHash } from 'node:crypto'
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { BUDGET_SHARE, type ByteBudget } from '../../base/byte-budget.ts'
import { PosternError } from '../../base/errors.ts'
import { Notices } from '../../gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../../rpc/typed.ts'
import { scanDescriptors } from './descriptor-scan.ts'
import type { AgentTunnel, Registry } from '../clusters/clusters.ts'

const BYTES_MAX = 4 * 1024 * 1024
const KEPT_MAX = 16
const ASK_MS = 10_000
/** Parts are of this size but for the last: nobody is fed byte by byte. */
const PART_BYTES = 256 * 1024
/** How long a set that could not be had is not asked for again, of one tunnel. */
const PAUSE_MS = 30_000

/** A set that has the hash under which it is kept. */
interface Kept {
  readonly registry: FileRegistry
  readonly bytes: number
}

/** The values and collaborators that Descriptions is given. */
export interface DescriptionsPorts {
  readonly registry: Registry
  readonly budget: ByteBudget
  readonly nowMs: () => number
}

/**
 * What describes the methods of clusters: asked for when a caller needs it. Sets whose hash was proven are kept by it, whoever has them; what
 * is under way or has failed is one tunnel's own, so that no agent spoils what another tells.
 */
export class Descriptions {
  readonly #ports: DescriptionsPorts
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>()
  readonly #asked = new WeakMap<AgentTunnel, Promise<FileRegistry | undefined>>()
  readonly #failedAtMs = new WeakMap<AgentTunnel, number>()

  constructor(ports: DescriptionsPorts) {
    this.#ports = ports
  }

  /** The descriptions of what the agents of a cluster offer; those that cannot be had in ten seconds are left out. */
  async of(cluster: string): Promise<FileRegistry[]> {
    const tunnels = this.#ports.registry.clusters.get(cluster) ?? []
    const byHash = new Map(tunnels.map((tunnel) => [tunnel.hello.descriptorsHash, tunnel]))
    byHash.delete('')
    const found = [...byHash].map(([hash, tunnel]) => this.#setOf(hash, tunnel))
    return (await Promise.all(found)).filter((one) => one !== undefined)
  }

  async #setOf(hash: string, tunnel: AgentTunnel): Promise<FileRegistry | undefined> {
    const kept = this.#kept.get(hash)
    if (kept !== undefined) {
      this.#kept.delete(hash)
      this.#kept.set(hash, kept)
      return kept.registry
    }
    const { nowMs } = this.#ports
    if (nowMs() - (this.#failedAtMs.get(tunnel) ?? -Infinity) < PAUSE_MS) return undefined
    const asked =
      this.#asked.get(tunnel) ??
      this.#ask(hash, tunnel)
        .catch(() => {
          this.#failedAtMs.set(tunnel, nowMs())
          return undefined
        })
        .finally(() => this.#asked.delete(tunnel))
    this.#asked.set(tunnel, asked)
    return await asked
  }

  /** @throws RpcError, MALFORMED_CALL, BUDGET_EXHAUSTED */
  async #ask(hash: string, tunnel: AgentTunnel): Promise<FileRegistry> {
    const bytes = await this.#read(hash, tunnel)
    if (createHash('sha256').update(bytes).digest('hex') !== hash) throw malformed()
    const size = scanDescriptors(bytes)
    if (!this.#ports.budget.reserve(size, BUDGET_SHARE.message)) throw noRoom()
    try {
      const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
      const [oldest] = this.#kept.keys()
      if (this.#kept.size >= KEPT_MAX && oldest !== undefined) this.#drop(oldest)
      this.#drop(hash)
      this.#kept.set(hash, { registry, bytes: size })
      return registry
    } catch (error) {
      this.#ports.budget.release(size)
      throw error
    }
  }

  /** @throws RpcError, MALFORMED_CALL, BUDGET_EXHAUSTED */
  async #read(hash: string, { connection, cluster }: AgentTunnel): Promise<Buffer> {
    const { nowMs, budget } = this.#ports
    const client = clientOf(Notices, connection.channel(cluster))
    const endAtMs = nowMs() + ASK_MS
    const parts: Uint8Array[] = []
    let [offset, total] = [0, 0]
    try {
      do {
        const request = { hash: Buffer.from(hash, 'hex'), offset }
        const timeoutMs = Math.max(1, endAtMs - nowMs())
        const { part, totalBytes } = await client.describe(request, { timeoutMs })
        if (offset === 0) {
          if (totalBytes === 0 || totalBytes > BYTES_MAX) throw malformed()
          if (!budget.reserve(totalBytes, BUDGET_SHARE.message)) throw noRoom()
          total = totalBytes
        }
        const isLast = offset + part.length === total
        if (totalBytes !== total || offset + part.length > total) throw malformed()
        if (!isLast && part.length < PART_BYTES) throw malformed()
        parts.push(part)
        offset += part.length
      } while (offset < total)
      return Buffer.concat(parts)
    } finally {
      budget.release(total)
    }
  }

  #drop(hash: string): void {
    const kept = this.#kept.get(hash)
    if (kept === undefined) return
    this.#kept.delete(hash)
    this.#ports.budget.release(kept.bytes)
  }
}

function noRoom(): PosternError {
  return new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for descriptions')
}

function malformed(): PosternError {
  return new PosternError('MALFORMED_CALL', 'the agent has not told what it has a hash of')
}
