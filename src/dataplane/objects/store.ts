import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import { PosternError } from '../../base/errors.ts'
import { openStore, type StorePorts } from './open-store.ts'
import type { StoreBackend } from './store-backend.ts'
import type { StoreRow, StoreType } from '../store-row.ts'

const REGION_MS_MAX = 10_000
/** A store that did not tell its region is asked again after so long. */
const AGAIN_MS = 60_000

interface OpenPorts {
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs' | 'startTimer'>
  readonly logger: Logger
}

/** What is known of a store. */
export interface StoreReport {
  readonly name: string
  readonly type: StoreType
  readonly bucket: string
  readonly endpoint: string
  /** As it says itself; undefined: it does not, or was not asked yet. */
  readonly region: string | undefined
}

/** One store of the settings: opened when it is first used, and asked once where it lies. */
export class Store {
  readonly row: StoreRow
  readonly #ports: StorePorts & OpenPorts
  #backend: Promise<StoreBackend> | undefined
  #region: Promise<string | undefined> | undefined
  #known: string | undefined
  #askedAtMs = Number.NEGATIVE_INFINITY

  constructor(row: StoreRow, ports: StorePorts & OpenPorts) {
    this.row = row
    this.#ports = ports
  }

  /** @throws FILE_UNREADABLE, KEY_EXPOSED */
  async open(): Promise<StoreBackend> {
    this.#backend ??= openStore(this.row, this.#ports)
    try {
      return await this.#backend
    } catch (error) {
      // Its files may be there the next time.
      this.#backend = undefined
      throw error
    }
  }

  /** Where it lies, by its own word; undefined: it does not say. */
  async region(): Promise<string | undefined> {
    const nowMs = this.#ports.clock.nowMs()
    if (this.#known === undefined && nowMs - this.#askedAtMs > AGAIN_MS) {
      this.#askedAtMs = nowMs
      this.#region = this.#ask()
    }
    return await this.#region
  }

  report(): StoreReport {
    const { name, type, bucket, endpoint } = this.row
    return { name, type, bucket, endpoint: endpoint.host, region: this.#known }
  }

  async #ask(): Promise<string | undefined> {
    const given = new AbortController()
    const cancel = this.#ports.clock.startTimer(REGION_MS_MAX, () => {
      given.abort()
    })
    try {
      this.#known = await (await this.open()).region(given.signal)
    } catch (error) {
      const isOurs = error instanceof PosternError
      const code = isOurs ? error.code : 'BACKEND_REFUSED'
      const reason = isOurs ? error.rawMessage : (error as Error).name
      const facts = { component: 'dataplane', service: `store ${this.row.name}`, code, reason }
      this.#ports.logger.warn(facts, 'a store does not tell its region')
    } finally {
      cancel()
    }
    return this.#known
  }
}
