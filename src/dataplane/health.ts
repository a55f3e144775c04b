import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from '../gen/grpc/health/v1/health_pb.js'
import { RpcError } from '../rpc/status.ts'
import type { Offer } from '../rpc/service.ts'
import { offersOf } from '../rpc/typed.ts'

/** Which services are serving. The empty name is the agent as a whole. */
export class HealthBoard {
  readonly #serving = new Map<string, boolean>([['', true]])
  readonly #watchers = new Set<() => void>()

  set(service: string, isServing: boolean): void {
    this.#serving.set(service, isServing)
    for (const wake of this.#watchers) wake()
  }

  remove(service: string): void {
    this.#serving.delete(service)
    for (const wake of this.#watchers) wake()
  }

  status(service: string): Status {
    const isServing = this.#serving.get(service)
    if (isServing === undefined) return Status.SERVICE_UNKNOWN
    return isServing ? Status.SERVING : Status.NOT_SERVING
  }

  /** The status now, and each later one that differs, until `signal` is aborted. */
  async *watch(service: string, signal: AbortSignal): AsyncGenerator<Status, undefined> {
    let last: Status | undefined
    while (!signal.aborted) {
      const status = this.status(service)
      if (status !== last) {
        last = status
        yield status
      } else await this.#changed(signal)
    }
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#watchers.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      this.#watchers.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}

/** grpc.health.v1.Health over a board. */
export function healthOffers(board: HealthBoard): Offer[] {
  return offersOf(Health, {
    check: ({ service }) => {
      const status = board.status(service)
      if (status === Status.SERVICE_UNKNOWN)
        throw new RpcError('NOT_FOUND', `no service ${service}`)
      return { status }
    },
    async *watch({ service }, context) {
      for await (const status of board.watch(service, context.signal)) yield { status }
    },
  })
}
