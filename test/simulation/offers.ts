import { plainData } from '../../src/contract/data-type.ts'
import type { Offer } from '../../src/rpc/service.ts'
import { RpcError } from '../../src/rpc/status.ts'
import type { FakeClock } from '../support/fake-clock.ts'

/** Bytes that anyone can make again from their length, so that both ends can compare. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + length) & 0xff
  return bytes
}

/** What the simulated agent serves: echoes of each kind, one that fails, and one that never ends. */
export function simulatedOffers(clock: FakeClock): Offer[] {
  const data = plainData('cluster-record')
  return [
    {
      name: 's.S/Echo',
      data,
      handler: { kind: 'unary', handle: (request) => Buffer.from(request) },
    },
    {
      name: 's.S/Fail',
      data,
      handler: { kind: 'unary', handle: () => Promise.reject(new RpcError('NOT_FOUND', 'no')) },
    },
    {
      name: 's.S/Hang',
      data,
      handler: {
        kind: 'unary',
        handle: (_request, context) =>
          new Promise((_resolve, reject) => {
            context.signal.addEventListener('abort', () => {
              reject(new Error('aborted'))
            })
          }),
      },
    },
    {
      name: 's.S/Down',
      data,
      handler: {
        kind: 'serverStream',
        async *handle(request, context) {
          const count = request[0] ?? 0
          for (let i = 0; i < count && !context.signal.aborted; i++) {
            if (i % 4 === 3) await new Promise<void>((resolve) => void clock.startTimer(5, resolve))
            yield pattern(i * 997)
          }
        },
      },
    },
    {
      name: 's.S/Up',
      data,
      handler: {
        kind: 'clientStream',
        async handle(requests) {
          let bytes = 0
          for await (const request of requests) bytes += request.length
          return Buffer.from(String(bytes))
        },
      },
    },
    {
      name: 's.S/Both',
      data,
      handler: {
        kind: 'bidi',
        async *handle(requests) {
          for await (const request of requests) yield Buffer.from(request)
        },
      },
    },
  ]
}
