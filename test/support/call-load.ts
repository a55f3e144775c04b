import { Diagnostics, RpcError, type GatewayClient } from '../../src/client.ts'
import { eventually } from './eventually.ts'

const WORKERS = 8

/** Calls one cluster after another, again and again, until it is stopped. */
export function startLoad(clientOf: () => GatewayClient, names: readonly string[]) {
  const failures: string[] = []
  let calls = 0
  let isOver = false
  let gate: ReturnType<typeof Promise.withResolvers<undefined>> | undefined
  let waiting = 0
  const worker = async (index: number): Promise<void> => {
    for (let i = index; !isOver; i++) {
      if (gate !== undefined) {
        waiting++
        await gate.promise
        waiting--
      }
      try {
        const cluster = clientOf().cluster(`c-${names[i % names.length] ?? ''}`)
        await cluster.service(Diagnostics).echo({}, { timeoutMs: 20_000 })
        calls++
      } catch (error) {
        // Not started at the other end: it may be sent again, and is.
        if (!(error instanceof RpcError && error.notStarted)) failures.push(String(error))
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  const running = Promise.all(Array.from({ length: WORKERS }, (_, index) => worker(index)))
  return {
    pause: async (): Promise<void> => {
      gate = Promise.withResolvers<undefined>()
      await eventually(() => waiting === WORKERS, 'no call is under way', 20_000)
    },
    resume: (): void => {
      const { resolve } = gate ?? {}
      gate = undefined
      resolve?.(undefined)
    },
    stop: async (): Promise<{ calls: number; failures: readonly string[] }> => {
      isOver = true
      await running
      return { calls, failures }
    },
  }
}
