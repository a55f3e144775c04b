import type { Clock } from '../base/clock.ts'
import type { CallOptions } from '../rpc/channel.ts'
import type { CallChannel } from '../rpc/typed.ts'
import { withinCall } from './within-call.ts'

/** Calls over a session that may have to be made first; the time that it takes is taken off their deadlines. */
export class SealedChannel implements CallChannel {
  readonly #ready: () => CallChannel | undefined
  readonly #make: () => Promise<CallChannel>
  readonly #clock: Clock

  constructor(
    ready: () => CallChannel | undefined,
    make: () => Promise<CallChannel>,
    clock: Clock,
  ) {
    this.#ready = ready
    this.#make = make
    this.#clock = clock
  }

  unary(method: string, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    const ready = this.#ready()
    if (ready !== undefined) return ready.unary(method, request, options)
    return this.#made(options).then(({ channel, left }) => channel.unary(method, request, left))
  }

  async *serverStream(
    method: string,
    request: Uint8Array,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const { channel, left } = await this.#made(options)
    yield* channel.serverStream(method, request, left)
  }

  async clientStream(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = {},
  ): Promise<Buffer> {
    const { channel, left } = await this.#made(options)
    return await channel.clientStream(method, requests, left)
  }

  async *bidi(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const { channel, left } = await this.#made(options)
    yield* channel.bidi(method, requests, left)
  }

  async #made(options: CallOptions): Promise<{ channel: CallChannel; left: CallOptions }> {
    const startMs = this.#clock.nowMs()
    const channel = this.#ready() ?? (await withinCall(this.#make(), options, this.#clock))
    const { timeoutMs = 0 } = options
    const passedMs = this.#clock.nowMs() - startMs
    const left =
      timeoutMs > 0 ? { ...options, timeoutMs: Math.max(1, timeoutMs - passedMs) } : options
    return { channel, left }
  }
}
