import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import type { Clock } from '../../base/clock.ts'
import type { AgentRooms } from './rooms.ts'
import { agentMetrics } from './metrics.ts'
import { agentStatus, type AgentStatus } from './status.ts'

/** What only the daemon itself can tell, for a support ticket. */
export interface Inside {
  readonly status: AgentStatus
  /** In Prometheus' text format. */
  readonly metrics: string
  /** The last lines of its log, oldest first. */
  readonly log: readonly string[]
  readonly memory: object
  readonly heap: object
  readonly heapSpaces: readonly object[]
  /** What keeps the event loop busy, by kind. */
  readonly handles: Readonly<Record<string, number>>
  readonly uptimeMs: number
}

/** Takes the snapshot of a daemon for its support file. */
export async function inside(
  agent: AgentRooms,
  clock: Clock,
  log: readonly string[],
): Promise<Inside> {
  const handles: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
  return {
    status: agentStatus(agent, clock.wallMs()),
    metrics: await agentMetrics(agent, clock).text(),
    log,
    memory: process.memoryUsage(),
    heap: getHeapStatistics(),
    heapSpaces: getHeapSpaceStatistics(),
    handles,
    uptimeMs: Math.round(process.uptime() * 1000),
  }
}
