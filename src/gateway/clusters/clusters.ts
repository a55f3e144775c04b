export { type Away, ClusterBook } from './cluster-book.ts'
export { CallRecord } from './call-record.ts'
export {
  HEARTBEATS_BURST,
  HEARTBEATS_PER_SECOND,
  judgeHeartbeat,
  type HeartbeatReport,
} from './heartbeats.ts'
export { HELLO_BYTES_MAX, judgeHello } from './hello.ts'
export { type AgentTunnel, type ClustersReport, isTunnel, Registry } from './registry.ts'
export type { CanaryResult } from './canary-result.ts'
