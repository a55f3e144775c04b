/**
 * The public API for control-plane services: connect to gateways, call clusters behind them.
 *
 *     const gateways = await connectGateways({ addresses: [{ host: 'gw', port: 7444 }], trustDomain, files })
 *     const health = gateways.cluster('eu-1').service(Health)
 *     await health.check({ service: '' }, { timeoutMs: 5000 })
 *     gateways.close()
 */
export { PosternError, type ErrorCode } from './base/errors.ts'
export { RpcError, type StatusName } from './rpc/status.ts'
export type { CallOptions } from './rpc/channel.ts'
export type { CallChannel, Client } from './rpc/typed.ts'
export type { Address } from './base/address.ts'
export type { KeyFilePaths } from './identity/key-files.ts'
export { connectGateway, type ConnectOptions } from './caller/connect.ts'
export { GatewayClient, ClusterClient } from './caller/gateway-client.ts'
export { connectGateways, GatewayPool, type ConnectGatewaysOptions } from './caller/gateway-pool.ts'
export type { PooledCluster } from './caller/gateway-pool.ts'
export type { SealedCluster, SealOptions } from './caller/sealed-cluster.ts'
export type { CallerSettings } from './config/gateway-settings.ts'
export type { Logger, LogFacts } from './base/logger.ts'
export type { Cluster } from './gen/postern/v1/gateway_pb.js'
export type { RpcChannel } from './rpc/channel.ts'
export type { Metadata } from './wire/metadata.ts'
export type { DataType } from './contract/data-type.ts'
export { Health } from './gen/grpc/health/v1/health_pb.js'
export { Diagnostics } from './gen/postern/v1/diagnostics_pb.js'
export { DataType as DataTypeNumber } from './gen/postern/v1/data_pb.js'
export { Logs } from './gen/postern/dataplane/v1/logs_pb.js'
export { Runs } from './gen/postern/v1/runs_pb.js'
export { Tasks, Phase } from './gen/postern/dataplane/v1/tasks_pb.js'
export { Metrics } from './gen/postern/dataplane/v1/metrics_pb.js'
export { Secrets } from './gen/postern/dataplane/v1/secrets_pb.js'
export { ObjectStore } from './gen/postern/dataplane/v1/object_store_pb.js'
