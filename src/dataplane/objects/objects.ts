import { createHash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import type { Minted } from '../../contract/call-guard.ts'
import { dataTypeOfNumber } from '../../contract/data-type.ts'
import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  ObjectStore,
  type SignedUrlSchema,
} from '../../gen/postern/dataplane/v1/object_store_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import { useBackend, type FaultPorts } from '../backend-use.ts'
import {
  endOf,
  judgeContentType,
  judgeLife,
  judgeParts,
  judgeUpload,
  judgeUploadId,
  judgeWritten,
} from './judge-terms.ts'
import { judgeKey } from '../object-key.ts'
import { seen, type Seen } from '../../base/finding.ts'
import { openStore, type StorePorts } from './open-store.ts'
import { Store } from './store.ts'
import type { Life, SignedUrl } from './store-backend.ts'
import { STORED_TYPES, type StoreRow } from '../store-row.ts'

/** The collaborators of the object stores. */
export interface ObjectPorts extends FaultPorts {
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs' | 'startTimer'>
}

/** What a call says of the object that it is about. */
interface Named {
  readonly store: string
  readonly dataType: number
  readonly key: string
}

/** The customer's object stores: hands out URLs to single objects of theirs, and takes no byte of these. */
export class ObjectStores {
  readonly #ports: ObjectPorts
  readonly #stores: ReadonlyMap<string, Store>

  constructor(rows: readonly StoreRow[], ports: ObjectPorts) {
    this.#ports = ports
    this.#stores = new Map(rows.map((row) => [row.name, new Store(row, ports)]))
  }

  /** `postern.dataplane.v1.ObjectStore`. */
  offers(): Offer[] {
    return offersOf(ObjectStore, {
      createDownloadUrl: (request, context) =>
        this.#run(request, context, async ({ store, key, life }) => {
          const life_ = life(request.expiresSeconds)
          const url = await (await store.open()).download(key, life_)
          this.#minted(context, store, key, 'GET', life_, 1)
          return { url: message(url, life_) }
        }),
      createUploadUrl: (request, context) =>
        this.#run(request, context, async ({ store, key, life }) => {
          const backend = await store.open()
          const life_ = life(request.expiresSeconds)
          if (request.parts.length === 0 && request.uploadId === '') {
            const url = await backend.upload(key, judgeUpload(request, store.row, backend), life_)
            this.#minted(context, store, key, 'PUT', life_, 1)
            return { urls: [message(url, life_)] }
          }
          const parts = judgeParts(request, store.row, backend)
          const contentType = judgeContentType(request.contentType)
          const algorithm = parts[0]?.checksum.algorithm ?? 'md5'
          const uploadId =
            request.uploadId === ''
              ? await backend.begin(key, { contentType, algorithm }, context.signal)
              : request.uploadId
          const urls: MessageInitShape<typeof SignedUrlSchema>[] = []
          for (const part of parts) {
            const url = await backend.part(key, uploadId, part, life_)
            urls.push({ ...message(url, life_), part: part.number })
          }
          this.#minted(context, store, key, 'PUT', life_, parts.length)
          return { urls, uploadId }
        }),
      completeUpload: (request, context) =>
        this.#run(request, context, async ({ store, key }) => {
          const backend = await store.open()
          const parts = judgeWritten(request.parts, backend)
          const contentType = judgeContentType(request.contentType)
          const uploadId = judgeUploadId(request.uploadId)
          return { etag: await backend.complete(key, uploadId, parts, contentType, context.signal) }
        }),
      abortUpload: (request, context) =>
        this.#run(request, context, async ({ store, key }) => {
          const backend = await store.open()
          await backend.abort(key, judgeUploadId(request.uploadId), context.signal)
          return {}
        }),
    })
  }

  /** Asks every store for its region, so that the first call need not wait for it. */
  start(): void {
    for (const store of this.#stores.values()) void store.region()
  }

  /** What is known of every store. */
  report(): ReturnType<Store['report']>[] {
    return [...this.#stores.values()].map((store) => store.report())
  }

  async #run<T>(
    { store: name, dataType, key }: Named,
    { permit }: CallContext,
    act: (on: { store: Store; key: string; life: (seconds: number) => Life }) => Promise<T>,
  ): Promise<T> {
    const store = this.#stores.get(name)
    const type = STORED_TYPES.find((one) => one === dataTypeOfNumber(dataType))
    const prefixes = type === undefined ? undefined : store?.row.prefixes.get(type)
    if (store === undefined || prefixes === undefined)
      throw rpcErrorOfCode('STORE_UNKNOWN', 'no store of that name holds data of that type')
    judgeKey(key, prefixes)
    return await useBackend({ setting: 'stores', name }, this.#ports, async () => {
      const denial = permit.lies(permit.demandsRegion ? await store.region() : undefined)
      if (denial !== undefined) throw rpcErrorOfCode(denial.code, denial.text)
      const life = (seconds: number): Life =>
        judgeLife(seconds, store.row, this.#ports.clock.wallMs())
      return await act({ store, key, life })
    })
  }

  #minted(
    { permit }: CallContext,
    { row }: Store,
    key: string,
    verb: Minted['verb'],
    { fromMs, seconds }: Life,
    count: number,
  ): void {
    const keyHash = createHash('sha256').update(`${row.bucket}/${key}`).digest('hex')
    const expiresAtMs = fromMs + seconds * 1000
    permit.minted({ store: row.name, backend: row.type, keyHash, verb, expiresAtMs, count })
  }
}

function message(
  { url, method, headers }: SignedUrl,
  life: Life,
): MessageInitShape<typeof SignedUrlSchema> {
  return { url, method, headers: { ...headers }, expiresAt: endOf(life) }
}

/** Looks how a store keeps what is in it, by its own word. @throws FILE_UNREADABLE, KEY_EXPOSED */
export async function storePosture(
  row: StoreRow,
  ports: StorePorts,
  signal: AbortSignal,
): Promise<readonly Seen[]> {
  const backend = await openStore(row, ports)
  const region = await backend.region(signal).catch(() => undefined)
  const told = region ?? 'the store does not tell where it lies'
  return [
    ...(await backend.posture(signal)),
    seen('region', region === undefined ? 'UNKNOWN' : 'OK', told),
  ]
}

export { openStore } from './open-store.ts'
export type { StoreBackend, StoredObject } from './store-backend.ts'
