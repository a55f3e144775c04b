import { create, fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf'
import {
  Server as GrpcServer,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServiceDefinition,
} from '@grpc/grpc-js'
import {
  AbortResponseSchema,
  DispatchRequestSchema,
  DispatchResponseSchema,
  Phase,
  Tasks,
  TaskStatusResponseSchema,
  type DispatchRequest,
} from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { StandIn, type Answered, type Asked } from './secrets/stand-ins.ts'

/** An executor over HTTP with JSON: it checks what it is sent, and begins each attempt once. */
export class HttpExecutor extends StandIn {
  readonly begun: DispatchRequest[] = []

  protected answer({ method, url, headers, text }: Asked): Answered {
    if (method !== 'POST' || headers['content-type'] !== 'application/json') return { status: 415 }
    if (headers['connect-protocol-version'] !== '1') return { status: 400 }
    if (headers.authorization !== 'Bearer executor-token') return { status: 401 }
    if (!/^([\w.-]+\/){5}\d+$/.test(String(headers['idempotency-key']))) return { status: 400 }
    switch (url.pathname) {
      case '/base/postern.dataplane.v1.Tasks/Dispatch': {
        this.begun.push(fromJsonString(DispatchRequestSchema, text))
        const answer = create(DispatchResponseSchema, {
          phase: Phase.QUEUED,
          message: 'in line\u0007',
        })
        return {
          status: 200,
          body: JSON.parse(toJsonString(DispatchResponseSchema, answer)) as object,
        }
      }
      case '/base/postern.dataplane.v1.Tasks/Abort':
        return { status: 200, body: { phase: 'PHASE_ABORTED', unheardOf: 1 } }
      case '/base/postern.dataplane.v1.Tasks/Status':
        return {
          status: 200,
          body: { phase: 'PHASE_FAILED', message: 'x'.repeat(5000), exitCode: 137 },
        }
      default:
        return { status: 404 }
    }
  }
}

/** An executor over gRPC, by the library of gRPC's own. */
export class GrpcExecutor {
  readonly begun: DispatchRequest[] = []
  readonly #server = new GrpcServer()

  constructor() {
    const handlers = {
      Dispatch: ({ request }: { request: DispatchRequest }, done: sendUnaryData<object>) => {
        this.begun.push(request)
        done(null, create(DispatchResponseSchema, { phase: Phase.RUNNING }))
      },
      Abort: (_call: object, done: sendUnaryData<object>) => {
        done(null, create(AbortResponseSchema, { phase: Phase.ABORTED }))
      },
      Status: (_call: object, done: sendUnaryData<object>) => {
        done({ code: status.NOT_FOUND, details: 'secret words of the executor' })
      },
    }
    const outputs = {
      Dispatch: DispatchResponseSchema,
      Abort: AbortResponseSchema,
      Status: TaskStatusResponseSchema,
    }
    this.#server.addService(
      Object.fromEntries(
        Tasks.methods.map((method) => [
          method.name,
          {
            path: `/${Tasks.typeName}/${method.name}`,
            ...{ requestStream: false, responseStream: false },
            requestSerialize: (message: never) => Buffer.from(toBinary(method.input, message)),
            requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
            responseSerialize: (message: never) =>
              Buffer.from(toBinary(outputs[method.name as keyof typeof outputs], message)),
            responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
          },
        ]),
      ) as ServiceDefinition,
      handlers,
    )
  }

  async start(): Promise<string> {
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound)
        else reject(error)
      })
    })
    return `http://127.0.0.1:${String(port)}`
  }

  stop(): void {
    this.#server.forceShutdown()
  }
}
