import { Diagnostics, RpcError } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'

const WORKERS = 8
const CALL_MS = 20_000

/**
 * Calls one cluster after another, again and again, until it is stopped. A call that was certainly not
 * started is sent again, as a careful caller does; any other error, or no answer in time, is a failure.
 */
export function startLoad(clientOf: () => GatewayClient, names: readonly string[]) {
  const failures: string[] = []
  let [calls, resent] = [0, 0]
  let isOver = false
  const call = async (name: string): Promise<void> => {
    const endAtMs = Date.now() + CALL_MS
    for (;;)
      try {
        const diagnostics = clientOf().cluster(`c-${name}`).service(Diagnostics)
        await diagnostics.echo({}, { timeoutMs: CALL_MS })
        calls++
        return
      } catch (error) {
        const mayResend = error instanceof RpcError && error.notStarted && Date.now() < endAtMs
        if (!mayResend) {
          failures.push(String(error))
          return
        }
        resent++
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
  }
  const worker = async (index: number): Promise<void> => {
    for (let i = index; !isOver; i++) {
      await call(names[i % names.length] ?? '')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  const running = Promise.all(Array.from({ length: WORKERS }, (_, index) => worker(index)))
  return {
    stop: async (): Promise<{ calls: number; resent: number; failures: readonly string[] }> => {
      isOver = true
      await running
      return { calls, resent, failures }
    },
  }
}
