import type { Ask, Denial, HttpAsk, Minted } from '../contract/call-guard.ts'
import type { DataType } from '../contract/data-type.ts'

/** What was decided on one call or forward, for the record. Never payload, token, URL or query. */
export interface Decided {
  readonly ask: Ask
  /** In wall-clock ms. */
  readonly atMs: number
  /** `observe`: no rule allows it, and it was let pass to see what rules would refuse. */
  readonly decision: 'allow' | 'observe' | 'deny'
  /** Name of the rule that decided; for a refusal that of the nearest one, where there is one. */
  readonly rule: string | undefined
  /** Of a request within a forward to an HTTP service. */
  readonly http: HttpAsk | undefined
  /** Pattern of its path; undefined where no rule speaks of paths. */
  readonly path: string | undefined
  readonly denial: (Denial & { readonly id: string; readonly why: string }) | undefined
}

/** How a call or forward ended. */
export interface Ended {
  /** In wall-clock ms. */
  readonly atMs: number
  readonly outcome: string
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
  /** What it was about, as the decoded request says. */
  readonly about: DataType | undefined
  /** The presigned URL that it handed out, but for the URL itself. */
  readonly minted: Minted | undefined
}

/** Something that was done to the guard itself: a push, a lockdown, another policy. */
export interface GuardEvent {
  readonly kind: 'push' | 'lockdown' | 'lift' | 'policy' | 'clock' | 'residency'
  readonly text: string
  readonly gateway?: string
}

/** Writes down what the guard decides. Its methods never throw. */
export interface Recorder {
  /** False where nothing can be written and the customer wants calls to stop then. */
  readonly mayGoOn: boolean
  refused(decided: Decided): void
  /** A call with one answer, after its end. */
  called(decided: Decided, ended: Ended): void
  /** A stream or forward begins. Returns the name by which `closed` ends it. */
  opened(decided: Decided): string
  closed(stream: string, ended: Ended): void
  /** One of our own calls, either way: summed up by the hour. `type`: default own. */
  own(name: string, bytesIn: number, bytesOut: number, isAllowed: boolean, type?: DataType): void
  event(event: GuardEvent): void
}

/** Writes nothing down, where no record is kept. */
export const NO_RECORD: Recorder = {
  mayGoOn: true,
  refused: () => undefined,
  called: () => undefined,
  opened: () => '',
  closed: () => undefined,
  own: () => undefined,
  event: () => undefined,
}
