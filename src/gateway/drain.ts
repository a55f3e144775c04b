import type { CancelTimer, Clock } from '../base/clock.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { RpcConnection } from '../tunnel/rpc-connection.ts'
import { comebackMs } from './agents/agents.ts'

const POLL_MS = 50
const TEXT = 'the gateway is stopping'

/** Tells all peers to leave, agents one after another, and resolves when no stream runs, or after `drain.grace`. */
export async function drainConnections(
  agents: readonly RpcConnection[],
  callers: readonly RpcConnection[],
  settings: GatewaySettings,
  clock: Clock,
  isAnswering: () => boolean = () => false,
): Promise<void> {
  for (const [index, { session }] of agents.entries()) {
    // All at once they would fall upon the next gateway.
    const reconnectAfterMs = comebackMs(index, agents.length, settings['drain.reconnectRate'])
    session.goAway('SHUTDOWN', TEXT, { reconnectAfterMs })
  }
  for (const { session } of callers) session.goAway('SHUTDOWN', TEXT)
  const endAtMs = clock.nowMs() + settings['drain.grace']
  await new Promise<void>((resolve) => {
    const checkIdle = (): CancelTimer | undefined => {
      const runs = [...agents, ...callers].some(({ session }) => session.streamCount > 0)
      const isBusy = runs || isAnswering()
      if (isBusy && clock.nowMs() < endAtMs) return clock.startTimer(POLL_MS, checkIdle)
      resolve()
      return undefined
    }
    checkIdle()
  })
}
