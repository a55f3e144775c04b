import { channel } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import { PosternError } from '../base/errors.ts'

/**
 * The edge: the one way by which handlers are put on sockets, servers and requests. What a stranger sends
 * decides which of them run, and a throw out of one would end the process; here it ends one connection.
 */
const FAULTS = channel('postern.fault')

/** Hears of every handler of ours that threw, as INTERNAL errors. Returns how to stop. */
export function onFault(hear: (fault: PosternError) => void): () => void {
  const listener = (fault: unknown): void => {
    hear(fault as PosternError)
  }
  FAULTS.subscribe(listener)
  return () => {
    FAULTS.unsubscribe(listener)
  }
}

/** A callback that cannot throw: where `act` does, the fault is told and `instead` answers. */
export function total<Args extends unknown[], Result>(
  act: (...args: Args) => Result,
  instead: (fault: PosternError, ...args: Args) => Result,
): (...args: Args) => Result {
  return (...args) => {
    try {
      return act(...args)
    } catch (error) {
      return instead(tell(error), ...args)
    }
  }
}

type Handler<Args extends unknown[]> = (...args: Args) => void

/** Registers a handler. Where it throws, the socket or request at hand is destroyed. Returns how to remove it. */
export function on<Args extends unknown[]>(
  emitter: EventEmitter,
  event: string,
  handler: Handler<Args>,
): () => void {
  const guarded = guard(emitter, handler)
  emitter.on(event, guarded as Handler<unknown[]>)
  return () => emitter.off(event, guarded as Handler<unknown[]>)
}

/** `on`, for the first time only. */
export function once<Args extends unknown[]>(
  emitter: EventEmitter,
  event: string,
  handler: Handler<Args>,
): () => void {
  const guarded = guard(emitter, handler)
  emitter.once(event, guarded as Handler<unknown[]>)
  return () => emitter.off(event, guarded as Handler<unknown[]>)
}

/** `on`, before the handlers that are there. */
export function onFirst<Args extends unknown[]>(
  emitter: EventEmitter,
  event: string,
  handler: Handler<Args>,
): void {
  emitter.prependListener(event, guard(emitter, handler) as Handler<unknown[]>)
}

/** Errors of this emitter concern nobody, and end nothing. */
export function ignoreErrors(emitter: EventEmitter): void {
  emitter.on('error', nothing)
}

/** Tells of a fault of ours that no handler can answer for. Returns it as an INTERNAL error. */
export function tell(error: unknown): PosternError {
  const reason = error instanceof Error ? error.message : String(error)
  const fault = new PosternError('INTERNAL', `a handler failed: ${reason}`, {}, { cause: error })
  FAULTS.publish(fault)
  return fault
}

function guard<Args extends unknown[]>(emitter: EventEmitter, handler: Handler<Args>) {
  return total(handler, (fault, ...args) => {
    for (const one of [emitter, ...args]) if (isDestroyable(one)) destroy(one, fault)
  })
}

interface Destroyable extends EventEmitter {
  destroy(error: Error): void
}

function isDestroyable(value: unknown): value is Destroyable {
  return typeof (value as Partial<Destroyable> | null)?.destroy === 'function'
}

function destroy(one: Destroyable, fault: PosternError): void {
  ignoreErrors(one)
  one.destroy(fault)
}

const nothing = (): void => undefined
