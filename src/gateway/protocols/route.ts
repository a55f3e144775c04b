import { RpcError } from '../../rpc/status.ts'
import { isLabel } from '../../identity/name.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import type { ApiProtocol } from './api-call.ts'
import { connectStream, connectUnary } from './connect.ts'
import { contentType } from './fields.ts'
import { GRPC } from './grpc.ts'
import { grpcWeb } from './grpc-web.ts'

/** By content type; gRPC itself needs the trailers of HTTP/2. */
const PROTOCOLS: ReadonlyMap<string, ApiProtocol> = new Map([
  ['application/grpc', GRPC],
  ['application/grpc+proto', GRPC],
  ['application/grpc-web', grpcWeb(false)],
  ['application/grpc-web+proto', grpcWeb(false)],
  ['application/grpc-web-text', grpcWeb(true)],
  ['application/grpc-web-text+proto', grpcWeb(true)],
  ['application/proto', connectUnary(false)],
  ['application/json', connectUnary(true)],
  ['application/connect+proto', connectStream(false)],
  ['application/connect+json', connectStream(true)],
])

/** Field that names the cluster, where the host does not. */
export const CLUSTER_FIELD = 'postern-cluster'
const PATH = /^\/([A-Za-z_][\w.]{0,200}\/[A-Za-z_]\w{0,200})$/
const HOST = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/

/** An answer of HTTP's own, to a request that is no call. */
export interface HttpRefusal {
  readonly status: number
  readonly text: string
}

/** What a request asks for. */
export interface Route {
  readonly protocol: ApiProtocol
  /** "package.Service/Method". */
  readonly method: string
  /** Undefined: it names none, which is an error of the call. */
  readonly cluster: string | undefined
}

/** Finds out which protocol a request speaks, what it calls and where. `domain`: below which clusters have names of their own; empty: nowhere. */
export function routeOf(exchange: ApiExchange, domain: string): Route | HttpRefusal {
  const protocol = PROTOCOLS.get(contentType(exchange))
  if (protocol === undefined)
    return {
      status: 415,
      text: 'the content type is of no protocol that is spoken here: gRPC, gRPC-Web or Connect',
    }
  if (exchange.method !== 'POST') return { status: 405, text: 'calls are made by POST' }
  if (protocol === GRPC && !exchange.isHttp2)
    return { status: 505, text: 'gRPC needs HTTP/2; gRPC-Web and Connect do not' }
  const [, method] = PATH.exec(exchange.target) ?? []
  if (method === undefined) return { status: 404, text: 'calls go to /package.Service/Method' }
  const hosts = clusterOfHost(exchange, domain)
  if (typeof hosts === 'object') return hosts
  const named = exchange.headers[CLUSTER_FIELD]
  if (named !== undefined && hosts !== undefined && named !== hosts)
    return { status: 421, text: `the host names another cluster than ${CLUSTER_FIELD}` }
  return { protocol, method, cluster: named ?? hosts }
}

/** Refuses with the words of the protocol where a call names no cluster that can be one. @throws RpcError INVALID_ARGUMENT */
export function clusterOf({ cluster }: Route): string {
  if (cluster === undefined)
    throw new RpcError(
      'INVALID_ARGUMENT',
      `name the cluster by ${CLUSTER_FIELD}, or by the host name; "-" is the gateway itself`,
    )
  if (cluster === '-') return ''
  if (isLabel(cluster)) return cluster
  throw new RpcError('INVALID_ARGUMENT', `${CLUSTER_FIELD} is no name of a cluster`)
}

/** Every request of a connection is judged: clients join those to names that one certificate has. */
function clusterOfHost(
  { authority, peer: { serverName } }: ApiExchange,
  domain: string,
): string | undefined | HttpRefusal {
  const host = authority.toLowerCase().replace(/:\d{1,5}$/, '')
  if (serverName !== '' && host !== serverName)
    return { status: 421, text: 'the request is for another host than the connection' }
  if (domain === '' || !HOST.test(host) || !host.endsWith(`.${domain}`)) return undefined
  const label = host.slice(0, -domain.length - 1)
  return isLabel(label) ? label : undefined
}
