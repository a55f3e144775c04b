import assert from 'node:assert/strict'
import type { PosternError } from '../base/errors.ts'
import type { RegisterResponse } from '../gen/postern/v1/tunnel_pb.js'
import type { RpcConnection } from './rpc-connection.ts'

/**
 * The state of one tunnel in its life. Data lives in the state that needs it and nowhere else.
 *
 *   idle --> connecting --> ready --> draining --> closed
 *              ^    |         |                      ^
 *              |    v         v                      |
 *              backoff <------+      any state ------+
 *
 * A ready tunnel may also go over to another connection, and stays ready. Draining may begin in any state.
 */
export type TunnelState =
  | { readonly name: 'idle' }
  | { readonly name: 'connecting'; readonly attempt: number }
  | {
      readonly name: 'ready'
      readonly sinceWallMs: number
      readonly connection: RpcConnection
      readonly welcome: RegisterResponse
    }
  | {
      readonly name: 'backoff'
      readonly attempt: number
      readonly delayMs: number
      /** When the next dial is due, in wall-clock ms. */
      readonly untilWallMs: number
      readonly cause: PosternError
    }
  | { readonly name: 'draining'; readonly connection: RpcConnection | undefined }
  | { readonly name: 'closed' }

const NEXT: Readonly<Record<TunnelState['name'], readonly TunnelState['name'][]>> = {
  idle: ['connecting', 'draining', 'closed'],
  connecting: ['ready', 'backoff', 'draining', 'closed'],
  ready: ['ready', 'backoff', 'draining', 'closed'],
  backoff: ['connecting', 'draining', 'closed'],
  draining: ['closed'],
  closed: [],
}

/** Holds the state of one tunnel, and lets it take the steps of the diagram alone. */
export class Lifecycle {
  #state: TunnelState = { name: 'idle' }
  readonly #onTransition: (from: TunnelState, to: TunnelState) => void

  constructor(onTransition: (from: TunnelState, to: TunnelState) => void) {
    this.#onTransition = onTransition
  }

  get state(): TunnelState {
    return this.#state
  }

  /** A step that the diagram lacks is our bug, never the network's, so it asserts. */
  enter(to: TunnelState): void {
    const from = this.#state
    assert(NEXT[from.name].includes(to.name), `illegal transition ${from.name} -> ${to.name}`)
    this.#state = to
    this.#onTransition(from, to)
  }
}
