/**
 * The public API for control-plane services, published as `@postern/client`: connect to gateways, call clusters behind them.
 *
 *     await using gateways = await connect({ addresses: [{ host: 'gw', port: 7444 }], trustDomain, credentials })
 *     const health = gateways.cluster('eu-1').service(Health)
 *     await health.check({ service: '' }, { timeoutMs: 5000 })
 */
export { connectPool as connect } from './caller/gateway-pool.ts'
export type { ConnectOptions, GatewayPool, PooledCluster } from './caller/gateway-pool.ts'
export type { ConnectionOptions } from './caller/connect.ts'
export type { CallerPems, CredentialProvider, Credentials } from './caller/credentials.ts'
export type { Forwarded } from './caller/join-forward.ts'
export type { ListOptions } from './caller/gateway-client.ts'
export type { SealOptions } from './caller/sealed-cluster.ts'
export type { KeyFilePaths } from './identity/key-files.ts'
export type { SealingFiles } from './seal/sealing-key.ts'
export type { SessionSettings } from './tunnel/process-parts.ts'
export type { Address } from './base/address.ts'
export type { CancelTimer, Clock } from './base/clock.ts'
export type { Random } from './base/random.ts'
export type { Logger, LogFacts } from './base/logger.ts'
export { PosternError, type ErrorCode, type ErrorFacts, type Recovery } from './base/errors.ts'
export { RpcError, type StatusName } from './rpc/status.ts'
export type { CallOptions } from './rpc/channel.ts'
export type { CallChannel, Client } from './rpc/typed.ts'
export type { Metadata } from './wire/metadata.ts'
export type { DataType } from './contract/data-type.ts'
export type { Cluster } from './gen/postern/v1/gateway_pb.js'
export { Health } from './gen/grpc/health/v1/health_pb.js'
export { Gateway } from './gen/postern/v1/gateway_pb.js'
export { DataType as DataTypeNumber } from './gen/postern/v1/data_pb.js'
export { Diagnostics } from './gen/postern/v1/diagnostics_pb.js'
export { Runs } from './gen/postern/v1/runs_pb.js'
export { Cluster as ClusterService } from './gen/postern/dataplane/v1/cluster_pb.js'
export { Logs } from './gen/postern/dataplane/v1/logs_pb.js'
export { Metrics } from './gen/postern/dataplane/v1/metrics_pb.js'
export { ObjectStore } from './gen/postern/dataplane/v1/object_store_pb.js'
export { Secrets } from './gen/postern/dataplane/v1/secrets_pb.js'
export { Phase, Tasks } from './gen/postern/dataplane/v1/tasks_pb.js'
