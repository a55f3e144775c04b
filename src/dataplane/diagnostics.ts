import type { Clock } from '../base/clock.ts'
import { pause } from '../base/pause.ts'
import { Diagnostics } from '../gen/postern/v1/diagnostics_pb.js'
import type { Offer } from '../rpc/service.ts'
import { RpcError } from '../rpc/status.ts'
import { offersOf } from '../rpc/typed.ts'

const MESSAGE_BYTES_MAX = 1024 * 1024

/** postern.v1.Diagnostics: made-up bytes through every kind of call. */
export function diagnosticsOffers(clock: Clock): Offer[] {
  return offersOf(Diagnostics, {
    echo: ({ payload }) => ({ payload }),
    async *download({ messages, messageBytes, intervalMs }, context) {
      if (messageBytes > MESSAGE_BYTES_MAX) {
        throw new RpcError(
          'INVALID_ARGUMENT',
          `message_bytes is at most ${String(MESSAGE_BYTES_MAX)}`,
        )
      }
      const payload = new Uint8Array(messageBytes)
      for (let sent = 0; sent < messages && !context.signal.aborted; sent++) {
        if (sent > 0 && intervalMs > 0) await pause(clock, intervalMs, context.signal)
        yield { payload }
      }
    },
    upload: async (requests) => {
      let messages = 0n
      let bytes = 0n
      for await (const { payload } of requests) {
        messages++
        bytes += BigInt(payload.length)
      }
      return { messages, bytes }
    },
    async *echoStream(requests) {
      for await (const { payload } of requests) yield { payload }
    },
  })
}
