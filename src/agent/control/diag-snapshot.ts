import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { create } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { SnapshotSchema, type Snapshot } from '../../gen/postern/v1/agent_control_pb.js'
import type { AgentRooms } from './rooms.ts'
import { agentStatus } from './status.ts'

/** Takes a snapshot of a daemon for its support file: what only the daemon itself can tell. */
export async function takeSnapshot(
  agent: AgentRooms,
  clock: Clock,
  log: readonly string[],
): Promise<Snapshot> {
  // The library of metrics is large, and nobody may ever ask.
  const { agentMetrics } = await import('./metrics.ts')
  const handles: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
  return create(SnapshotSchema, {
    status: agentStatus(agent.report(), clock.wallMs()),
    metrics: await agentMetrics(agent, clock).text(),
    log: [...log],
    memory: { ...process.memoryUsage() },
    heap: { ...getHeapStatistics() },
    heapSpaces: getHeapSpaceStatistics().map(({ space_name: name, ...sizes }) => ({ name, sizes })),
    handles,
    uptimeMs: Math.round(process.uptime() * 1000),
  })
}
