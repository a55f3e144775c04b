import {
  Permit,
  type Denial,
  type Direction,
  type FieldRules,
  type HttpAsk,
  type Minted,
} from '../contract/call-guard.ts'
import type { CallData, DataType } from '../contract/data-type.ts'
import type { Budget } from './budget.ts'
import type { Decided, Recorder } from './recorder.ts'
import { mayCross } from './catalog.ts'
import type { TypeCounts } from './type-counts.ts'

/** What a permit draws on and reports to. */
export interface PermitPorts {
  readonly nowMs: () => number
  readonly recorder: Recorder
  readonly counts: TypeCounts
  /** Decides on a request within a forward. */
  readonly request: (permit: CallPermit, ask: HttpAsk) => Permit | Denial
  /** Told once, when the call has ended. */
  readonly onEnded: (permit: CallPermit) => void
}

/** The bounds of what crosses by a permit. */
export interface PermitBounds {
  readonly messageBytesMax: number
  readonly fields: FieldRules | undefined
  /** Names of metadata that go along. */
  readonly metadata: readonly string[]
  /** What the rule allows calls to be about; undefined: whatever the method can be about. */
  readonly about: readonly DataType[] | undefined
  /** Regions that the customer's data may lie in; empty: any. */
  readonly storeRegions: readonly string[]
}

/** The permit of one call or forward that a rule allows. Made by the guard alone. */
export class CallPermit extends Permit {
  override readonly messageBytesMax: number
  override readonly fields: FieldRules | undefined
  readonly decided: Decided
  readonly #ports: PermitPorts
  readonly #data: CallData | undefined
  readonly #budgets: readonly Budget[]
  readonly #mayBeAbout: readonly DataType[] | undefined
  readonly #metadata: readonly string[]
  readonly #storeRegions: readonly string[]
  readonly #startedAtMs: number
  readonly #stream: string | undefined
  #bytesIn = 0
  #bytesOut = 0
  #about: DataType | undefined
  #minted: Minted | undefined
  #hasEnded = false
  #withdrawal: Denial | undefined

  constructor(
    ports: PermitPorts,
    decided: Decided,
    budgets: readonly Budget[],
    { messageBytesMax, fields, metadata, about, storeRegions }: PermitBounds,
    startedAtMs: number,
  ) {
    super()
    this.fields = fields
    this.#metadata = metadata
    this.#storeRegions = storeRegions
    this.#ports = ports
    this.decided = decided
    this.#data = decided.ask.data
    this.#budgets = budgets
    this.messageBytesMax = messageBytesMax
    this.#mayBeAbout = about
    this.#startedAtMs = startedAtMs
    // A request is one line, unless it becomes a stream of bytes.
    const isUnary =
      decided.http === undefined ? decided.ask.kind === 'unary' : !decided.http.isUpgrade
    this.#stream = isUnary ? undefined : ports.recorder.opened(decided)
    if (this.#data !== undefined) ports.counts.called(this.#data.carries)
  }

  override mayTell(name: string): boolean {
    return this.#metadata.includes(name)
  }

  override pass(direction: Direction, bytes: number): Denial | undefined {
    if (this.#withdrawal !== undefined) return this.#withdrawal
    for (const budget of this.#budgets)
      if (!budget.spend(bytes, this.#ports.nowMs()))
        return { code: 'POLICY_BUDGET', text: 'the budget of bytes for this is used up' }
    if (direction === 'in') this.#bytesIn += bytes
    else this.#bytesOut += bytes
    const data = this.#data
    if (data === undefined) return undefined
    const type = direction === 'in' ? data.request : data.response
    this.#ports.counts.passed(type, direction, bytes)
    return undefined
  }

  override about(type: DataType): Denial | undefined {
    this.#about = type
    const known = this.#data?.about ?? []
    if (known.includes(type) && this.#mayBeAbout?.includes(type) !== false) return undefined
    const { name } = this.decided.ask
    const text = mayCross(type) ? 'this caller may not use it' : 'it is not about such data'
    return { code: 'POLICY_DENIED', text: `${name} for ${type}: ${text}` }
  }

  override get demandsRegion(): boolean {
    return this.#storeRegions.length > 0
  }

  override lies(region: string | undefined): Denial | undefined {
    if (this.#storeRegions.length === 0) return undefined
    if (region !== undefined && this.#storeRegions.includes(region.toLowerCase())) return undefined
    const how = region === undefined ? 'does not tell its region' : 'lies in a region'
    const text = `the store ${how}${region === undefined ? '' : ' that the policy does not allow'}`
    return { code: 'REGION_REFUSED', text }
  }

  override minted(url: Minted): void {
    this.#minted = url
  }

  override request(ask: HttpAsk): Permit | Denial {
    return this.#withdrawal ?? this.#ports.request(this, ask)
  }

  /** Takes the leave back: the call ends now, and nothing more of it crosses. */
  withdraw(denial: Denial): void {
    if (this.#withdrawal !== undefined || this.#hasEnded) return
    this.#withdrawal = denial
    this.tellWithdrawn(denial)
  }

  override ended(outcome: string): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const { recorder, nowMs, onEnded } = this.#ports
    const durationMs = nowMs() - this.#startedAtMs
    const ended = {
      atMs: this.decided.atMs + durationMs,
      outcome: this.#withdrawal?.code ?? outcome,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      durationMs,
      about: this.#about,
      minted: this.#minted,
    }
    if (this.#stream === undefined) recorder.called(this.decided, ended)
    else recorder.closed(this.#stream, ended)
    onEnded(this)
  }
}

/** Newer peers may say more than this version knows: that is taken off. */
const OWN_FIELDS: FieldRules = { unknown: 'strip', bytesMax: Infinity }

/** The permit of a call of Postern's own, between agent and gateway: bounded, counted, summed up by the hour. */
export class OwnPermit extends Permit {
  override readonly messageBytesMax: number
  override readonly fields = OWN_FIELDS
  override readonly demandsRegion = false
  readonly #name: string
  readonly #recorder: Recorder
  readonly #counts: TypeCounts
  #bytesIn = 0
  #bytesOut = 0
  #hasEnded = false

  readonly #type: DataType

  constructor(
    name: string,
    recorder: Recorder,
    counts: TypeCounts,
    bounds: { readonly type: DataType; readonly messageBytesMax: number },
  ) {
    super()
    this.#type = bounds.type
    this.#name = name
    this.#recorder = recorder
    this.#counts = counts
    this.messageBytesMax = bounds.messageBytesMax
    counts.called(bounds.type)
  }

  override mayTell(): boolean {
    return false
  }

  override pass(direction: Direction, bytes: number): undefined {
    if (direction === 'in') this.#bytesIn += bytes
    else this.#bytesOut += bytes
    this.#counts.passed(this.#type, direction, bytes)
    return undefined
  }

  override about(): undefined {
    return undefined
  }

  override lies(): undefined {
    return undefined
  }

  override minted(): void {
    // It hands out none.
  }

  override request(): Denial {
    return { code: 'POLICY_DENIED', text: 'it is no forward' }
  }

  override ended(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#recorder.own(this.#name, this.#bytesIn, this.#bytesOut, true, this.#type)
  }
}
