import type { ErrorCode } from '../base/error-codes.ts'
import type { Caller } from './caller.ts'
import type { User, UserVerdict } from './user.ts'
import type { CallData, DataType } from './data-type.ts'

/** How a call or forward goes over its stream. */
export type CallKind = 'unary' | 'serverStream' | 'clientStream' | 'bidi' | 'forward'

/** One call or forward that asks to pass. */
export interface Ask {
  readonly caller: Caller
  /** "package.Service/Method", or the name of a service. */
  readonly name: string
  readonly kind: CallKind
  /** What the caller declared, or undefined. */
  readonly declared: DataType | undefined
  /** What the offer of that name declares; undefined where nothing is offered. */
  readonly data: CallData | undefined
  /** Whether it came within a sealed session, which no gateway reads or alters. */
  readonly sealed: boolean
  /** The user that the caller acts for, by a verified token; undefined: it has handed on none. */
  readonly user?: User | undefined
  /** What is wrong with the token that came with it. */
  readonly userFault?: string | undefined
  /** By which gateway it came, and the region in that gateway's certificate; empty where there is none. */
  readonly gateway: string
  readonly region: string
  /** Key of the connection that it came over, for as long as that lasts. */
  readonly tunnel: string
}

/** The code and text that a stream is refused or ended with. */
export interface Denial {
  readonly code: ErrorCode
  readonly text: string
}

/** One request within a forward to an HTTP service. */
export interface HttpAsk {
  /** Such as GET. */
  readonly method: string
  /** Normalised, without its query. */
  readonly path: string
  /** Whether it asks for another protocol (RFC 9110, section 7.8). */
  readonly isUpgrade: boolean
}

/** What is demanded of the fields of messages that may hold metadata alone. */
export interface FieldRules {
  /** Fields that the description lacks: taken off, or a reason to refuse. */
  readonly unknown: 'strip' | 'refuse'
  /** Longest text or bytes field, in bytes. */
  readonly bytesMax: number
}

/** A presigned URL that was handed out, as the record has it: never the URL itself. */
export interface Minted {
  /** Name of the store, and its kind. */
  readonly store: string
  readonly backend: string
  /** SHA-256 in hex of bucket, slash and key. */
  readonly keyHash: string
  readonly verb: 'GET' | 'PUT'
  /** In wall-clock ms. */
  readonly expiresAtMs: number
  /** So many of them, one for each part of an object; 1: one for all of it. */
  readonly count: number
}

/** Whether bytes come to this side, or leave it. */
export type Direction = 'in' | 'out'

/**
 * The leave of one call or forward to run, and the account of what crosses by it. Nothing runs without one, and none
 * is made outside of `guard/`: the private field makes the class nominal, and the architecture test keeps others from extending it.
 */
export abstract class Permit {
  readonly #isGuards = true
  #onWithdrawn: ((denial: Denial) => void) | undefined
  #withdrawal: Denial | undefined

  /** Hears, once, that the permit is taken back, even where that was before: the call ends at once. */
  set onWithdrawn(listener: (denial: Denial) => void) {
    this.#onWithdrawn = listener
    if (this.#withdrawal !== undefined) listener(this.#withdrawal)
  }

  /** For the guard alone. */
  protected tellWithdrawn(denial: Denial): void {
    this.#withdrawal = denial
    this.#onWithdrawn?.(denial)
  }

  /** Whether a value is a permit, and no denial. */
  static is(value: Permit | Denial): value is Permit {
    return value instanceof Permit && value.#isGuards
  }

  /** Largest single message, in bytes. */
  abstract readonly messageBytesMax: number
  /** What is demanded of the fields of its messages; undefined: nothing, as they are passed on as they are. */
  abstract readonly fields: FieldRules | undefined
  /** Whether metadata of that name may go along. */
  abstract mayTell(name: string): boolean
  /** Counts bytes of one direction. A denial ends the call: they do not cross. */
  abstract pass(direction: Direction, bytes: number): Denial | undefined
  /** Decides on what the decoded request says the call is about. */
  abstract about(type: DataType): Denial | undefined
  /** Whether the policy asks where data lies. */
  abstract readonly demandsRegion: boolean
  /** Decides on the region that the data lies in, as its store says; undefined: it does not say. */
  abstract lies(region: string | undefined): Denial | undefined
  /** Notes that a presigned URL is handed out, for the record. */
  abstract minted(url: Minted): void
  /** Decides on one request within a forward to an HTTP service: it has a permit of its own. */
  abstract request(ask: HttpAsk): Permit | Denial
  /** Says how the call ended, once: `OK`, or a status or code. */
  abstract ended(outcome: string): void
}

/** Decides on every call and forward before it runs. */
export interface CallGuard {
  /** Judges what a server is to offer. @throws CONFIG_INVALID for what declares nothing, or a type that never crosses */
  judgeOffer(name: string, data: CallData): void
  decide(ask: Ask): Permit | Denial
  /** Verifies the token of a user that came with a call. Undefined: no rule speaks of such a call, and it is not looked at. */
  userOf(
    token: string,
    sealed: boolean,
    call: Pick<Ask, 'caller' | 'name' | 'kind'>,
  ): UserVerdict | Promise<UserVerdict> | undefined
}
