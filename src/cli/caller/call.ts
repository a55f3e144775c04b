import {
  createRegistry,
  fromJson,
  toJson,
  create,
  type DescMethod,
  type JsonValue,
} from '@bufbuild/protobuf'
import { PosternError } from '../../base/errors.ts'
import type { ClusterClient } from '../../caller/gateway-client.ts'
import { CALLER_SETTINGS } from '../../config/gateway-settings.ts'
import { parseDuration } from '../../config/setting.ts'
import { file_grpc_health_v1_health } from '../../gen/grpc/health/v1/health_pb.js'
import { file_postern_dataplane_v1_cluster } from '../../gen/postern/dataplane/v1/cluster_pb.js'
import { file_postern_dataplane_v1_logs } from '../../gen/postern/dataplane/v1/logs_pb.js'
import { file_postern_dataplane_v1_metrics } from '../../gen/postern/dataplane/v1/metrics_pb.js'
import { file_postern_dataplane_v1_object_store } from '../../gen/postern/dataplane/v1/object_store_pb.js'
import { file_postern_dataplane_v1_secrets } from '../../gen/postern/dataplane/v1/secrets_pb.js'
import { file_postern_dataplane_v1_tasks } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import { file_postern_v1_diagnostics } from '../../gen/postern/v1/diagnostics_pb.js'
import { file_postern_v1_gateway } from '../../gen/postern/v1/gateway_pb.js'
import { file_postern_v1_runs } from '../../gen/postern/v1/runs_pb.js'
import type { CallOptions } from '../../rpc/channel.ts'
import { methodKind, splitMethodName } from '../../rpc/typed.ts'
import { SEAL_OPTIONS, sealOf, USER_OPTION, userTokenOf } from './seal.ts'
import { callerSettings, withGateway } from './with-gateway.ts'
import { type Surroundings, command } from '../program/program.ts'

/** Descriptions of every method that an agent or a gateway of this version offers. */
const REGISTRY = createRegistry(
  file_grpc_health_v1_health,
  file_postern_v1_diagnostics,
  file_postern_dataplane_v1_cluster,
  file_postern_dataplane_v1_logs,
  file_postern_dataplane_v1_metrics,
  file_postern_dataplane_v1_object_store,
  file_postern_dataplane_v1_secrets,
  file_postern_dataplane_v1_tasks,
  file_postern_v1_gateway,
  file_postern_v1_runs,
)
const ITSELF = '-'

/** `gateway call CLUSTER METHOD --data JSON`. */
export const gatewayCall = command({
  path: 'call <cluster> <method>',
  describe: 'Call a method of a connected cluster.',
  settings: { table: CALLER_SETTINGS },
  options: {
    cluster: {
      type: 'string',
      required: true,
      describe: 'Name of the cluster; "-" is the gateway itself.',
    },
    method: { type: 'string', required: true, describe: 'package.Service/Method' },
    data: {
      type: 'string',
      default: '{}',
      describe:
        'The request as JSON; a JSON array of requests where the method takes a stream; "-" reads standard input.',
    },
    stream: {
      type: 'boolean',
      default: false,
      describe: 'Expect a stream of responses: one line of JSON each, as it comes.',
    },
    limit: { type: 'string', describe: 'End the call after this many responses of a stream.' },
    timeout: {
      type: 'string',
      default: '30s',
      describe: 'Deadline of the call, such as 500ms or 5s; 0s: none.',
    },
    metadata: { type: 'strings', describe: 'key=value, one or more; may be given again.' },
    ...SEAL_OPTIONS,
    ...USER_OPTION,
    json: { type: 'boolean', default: false, describe: 'Print a single response on one line.' },
  },
  examples: [
    ["$0 call eu-1 grpc.health.v1.Health/Check --data '{}'", 'Ask an agent for its health.'],
    ['$0 call eu-1 grpc.health.v1.Health/Check --sealed', 'The same, so that no gateway reads it.'],
  ],
  run: async (args, surroundings) => {
    // The command line is judged before the settings, and both before anything is dialled.
    const planned = await plan(args, surroundings)
    const cluster = args.cluster === ITSELF ? '' : args.cluster
    const seal = sealOf(args, callerSettings(args, surroundings))
    return await withGateway(args, surroundings, (gateway) =>
      call(
        seal === undefined ? gateway.cluster(cluster) : gateway.sealed(cluster, seal),
        planned,
        surroundings,
      ),
    )
  },
})

interface CallArguments {
  readonly method: string
  readonly data: string
  readonly stream: boolean
  readonly limit?: string | undefined
  readonly timeout: string
  readonly metadata: readonly string[]
  readonly sealed: boolean
  readonly 'user-token-file'?: string | undefined
  readonly json: boolean
}

interface PlannedCall {
  readonly method: DescMethod
  readonly requests: readonly unknown[]
  readonly options: CallOptions
  readonly answersMax: number
  readonly onOneLine: boolean
}

/** @throws USAGE */
async function plan(args: CallArguments, surroundings: Surroundings): Promise<PlannedCall> {
  const method = findMethod(args.method)
  const kind = methodKind(method)
  if (args.stream && (kind === 'unary' || kind === 'clientStream'))
    throw new PosternError('USAGE', `${args.method} answers once: leave --stream out`)
  const options = { ...callOptions(args), ...userTokenOf(args) }
  const answersMax = args.limit === undefined ? Number.POSITIVE_INFINITY : Number(args.limit)
  if (!(answersMax >= 1)) throw new PosternError('USAGE', '--limit must be a number from 1 up')
  const isList = kind === 'clientStream' || kind === 'bidi'
  const requests = await readRequests(method, isList, args.data, surroundings)
  return { method, requests, options, answersMax, onOneLine: args.json }
}

async function call(
  cluster: Pick<ClusterClient, 'service'>,
  { method, requests, options, answersMax, onOneLine }: PlannedCall,
  surroundings: Surroundings,
): Promise<number> {
  const kind = methodKind(method)
  const abort = new AbortController()
  const unsubscribe = surroundings.onSignal(() => {
    abort.abort()
  })
  try {
    const client = cluster.service(method.parent) as Record<
      string,
      (request: unknown, options: CallOptions) => unknown
    >
    const input = kind === 'unary' || kind === 'serverStream' ? requests[0] : iterate(requests)
    const answer = client[method.localName]?.(input, { ...options, signal: abort.signal })
    if (kind === 'serverStream' || kind === 'bidi')
      await printAll(method, answer as AsyncIterable<unknown>, answersMax, surroundings)
    else printOne(method, await answer, onOneLine, surroundings)
    return 0
  } finally {
    unsubscribe()
  }
}

function findMethod(name: string): DescMethod {
  const { service, method } = splitMethodName(name)
  const found = REGISTRY.getService(service)?.methods.find((one) => one.name === method)
  if (found !== undefined) return found
  const known = [...REGISTRY].filter((type) => type.kind === 'service')
  const names = known.flatMap((type) => type.methods.map((one) => `${type.typeName}/${one.name}`))
  throw new PosternError(
    'USAGE',
    `no method ${name} is known here; known are:\n  ${names.join('\n  ')}`,
  )
}

async function readRequests(
  method: DescMethod,
  isList: boolean,
  data: string,
  surroundings: Surroundings,
): Promise<unknown[]> {
  const text = data === '-' ? await surroundings.readStdin() : data
  let value: JsonValue
  try {
    value = JSON.parse(text) as JsonValue
  } catch (error) {
    throw new PosternError('USAGE', `--data is not JSON: ${(error as Error).message}`)
  }
  const list = isList && Array.isArray(value) ? value : [value]
  try {
    return list.map((one) => fromJson(method.input, one))
  } catch (error) {
    throw new PosternError(
      'USAGE',
      `--data is no ${method.input.typeName}: ${(error as Error).message}`,
    )
  }
}

function callOptions({ timeout, metadata }: CallArguments): CallOptions {
  const timeoutMs = readTimeout(timeout)
  const entries = metadata.map((pair) => {
    const at = pair.indexOf('=')
    if (at < 1) throw new PosternError('USAGE', `--metadata ${pair} is not key=value`)
    return [pair.slice(0, at), pair.slice(at + 1)] as const
  })
  return { timeoutMs, metadata: Object.fromEntries(entries) }
}

function readTimeout(text: string): number {
  try {
    return parseDuration(text)
  } catch (error) {
    throw new PosternError('USAGE', `--timeout ${(error as Error).message}`)
  }
}

async function* iterate(requests: readonly unknown[]): AsyncGenerator {
  for (const request of requests) yield await Promise.resolve(request)
}

function printOne(
  method: DescMethod,
  message: unknown,
  onOneLine: boolean,
  { output }: Surroundings,
): void {
  output.result(JSON.stringify(jsonOf(method, message), null, onOneLine ? 0 : 2))
}

async function printAll(
  method: DescMethod,
  messages: AsyncIterable<unknown>,
  answersMax: number,
  { output }: Surroundings,
): Promise<void> {
  let count = 0
  for await (const message of messages) {
    output.result(JSON.stringify(jsonOf(method, message)))
    if (++count >= answersMax) return
  }
}

function jsonOf(method: DescMethod, message: unknown): JsonValue {
  return toJson(method.output, create(method.output, message as Record<string, unknown>), {
    registry: REGISTRY,
    alwaysEmitImplicit: true,
  })
}
