import { create, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, type FileDescriptorSet } from '@bufbuild/protobuf/wkt'
import { createHash } from 'node:crypto'
import { fileMarks } from '../../base/file-marks.ts'
import type { HealthBoard } from '../../dataplane/health.ts'
import type { ServiceHealth } from '../../dataplane/probes.ts'
import {
  type EmbeddedService,
  type GrpcRow,
  type VendorPorts,
  VendorService,
} from '../../dataplane/vendor/vendor.ts'
import type { RpcServer } from '../../rpc/server.ts'

/** What is known of a vendor's server, for status. */
export interface VendorReport {
  readonly name: string
  readonly target: string
  readonly health: ServiceHealth | undefined
}

/** A FileDescriptorSet, encoded, and its SHA-256. */
export interface Described {
  readonly bytes: Buffer
  readonly hash: Buffer
}

interface Held {
  readonly service: VendorService
  /** What tells one state of its row and its descriptors from another. */
  readonly mark: string
}

/** The servers of gRPC behind the agent: offered by what their descriptions say, and anew when those change. */
export class Vendors {
  readonly #server: RpcServer
  readonly #board: HealthBoard
  readonly #ports: VendorPorts
  readonly #held = new Map<string, Held>()
  readonly #embedded: EmbeddedService[] = []
  #isStarted = false
  #described: Described | undefined

  constructor(server: RpcServer, board: HealthBoard, ports: VendorPorts) {
    this.#server = server
    this.#board = board
    this.#ports = ports
  }

  /** Goes over to these rows; returns whether anything has changed. @throws CONFIG_INVALID, and nothing changes */
  apply(rows: readonly GrpcRow[]): boolean {
    const next = rows.map((row) => ({ row, mark: markOf(row) }))
    const isKept = ({ row, mark }: (typeof next)[number]): boolean =>
      this.#held.get(row.name)?.mark === mark
    const made = next.filter((one) => !isKept(one)).map(({ row, mark }) => this.#make(row, mark))
    const names = new Set(rows.map(({ name }) => name))
    const gone = [...this.#held.keys()].filter((name) => !names.has(name))
    for (const name of [...gone, ...made.map(({ service }) => service.row.name)]) this.#drop(name)
    for (const held of made) this.#take(held)
    if (gone.length + made.length > 0) this.#describe()
    return gone.length + made.length > 0
  }

  /** Offers a service whose handlers run in this process; it stays. */
  embed(service: EmbeddedService): void {
    this.#embedded.push(service)
    for (const offer of service.offers) this.#server.offer(offer)
    this.#board.set(service.name, true)
    this.#describe()
  }

  start(): void {
    this.#isStarted = true
    for (const { service } of this.#held.values()) service.start()
  }

  stop(): void {
    for (const { service } of this.#held.values()) service.stop()
  }

  /** What describes the methods, and its hash; undefined: nothing does. */
  get described(): Described | undefined {
    return this.#described
  }

  report(): VendorReport[] {
    const here = this.#embedded.map(({ name }) => ({
      ...{ name, target: 'in this process', health: undefined },
    }))
    const behind = [...this.#held.values()].map(({ service: { row, health } }) => ({
      ...{ name: row.name, target: targetText(row), health },
    }))
    return [...here, ...behind]
  }

  #describe(): void {
    const behind = [...this.#held.values()].map(({ service }) => service.descriptors?.files ?? [])
    this.#described = describedBy([...this.#embedded.map(({ files }) => files), ...behind])
  }

  #make(row: GrpcRow, mark: string): Held {
    return { service: new VendorService(row, this.#ports), mark }
  }

  #take(held: Held): void {
    const { service } = held
    this.#held.set(service.row.name, held)
    for (const offer of service.offers) this.#server.offer(offer)
    this.#board.set(service.row.name, true)
    if (this.#isStarted) service.start()
  }

  #drop(name: string): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    held.service.stop()
    for (const offer of held.service.offers) this.#server.withdraw(offer.name)
    this.#board.remove(name)
  }
}

/** One set of descriptions out of those of all servers: of files with one name the first. */
function describedBy(all: readonly FileDescriptorSet['file'][]): Described | undefined {
  const files = new Map<string, FileDescriptorSet['file'][number]>()
  for (const file of all.flat()) if (!files.has(file.name)) files.set(file.name, file)
  if (files.size === 0) return undefined
  const set = create(FileDescriptorSetSchema, { file: [...files.values()] })
  const bytes = Buffer.from(toBinary(FileDescriptorSetSchema, set))
  return { bytes, hash: createHash('sha256').update(bytes).digest() }
}

/** Returns where a server is, for people. */
export function targetText({ target, socketPath, isTls }: GrpcRow): string {
  if (target === undefined) return `unix:${socketPath ?? ''}`
  return `${isTls ? 'grpcs' : 'grpc'}://${target.host}:${String(target.port)}`
}

function markOf(row: GrpcRow): string {
  return `${JSON.stringify(row)} ${fileMarks(row.descriptorsFile)}`
}
