import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type handleBidiStreamingCall,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const PROTO = fileURLToPath(new URL('../../../proto', import.meta.url))

/** Writes the descriptor set of `acme.proto`, as a vendor's build would. */
export function writeDescriptors(path: string): void {
  const words = [`-I${HERE}`, `-I${PROTO}`, '-I/usr/include', '--include_imports']
  execFileSync('protoc', [...words, `--descriptor_set_out=${path}`, 'acme.proto'])
}

const same = (bytes: Buffer): Buffer => bytes

/** Encodes a Job with a name. */
export function job(name: string): Buffer {
  return Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)])
}

/** A server of `acme.v1.Jobs` and of gRPC's health, by grpc-js: it gives back what it gets. */
export class AcmeServer {
  readonly #server = new Server({ 'grpc.max_receive_message_length': -1 })
  /** Metadata of the last call, and what it had left of its deadline. */
  seen: Record<string, unknown> = {}
  deadlineMs = 0
  isServing = true
  cancelled = 0
  calls = 0

  constructor() {
    const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
      ...{ path: `/acme.v1.Jobs/${name}`, requestStream, responseStream },
      ...{ requestSerialize: same, requestDeserialize: same },
      ...{ responseSerialize: same, responseDeserialize: same },
    })
    this.#server.addService(
      {
        get: method('Get', false, false),
        describe: method('Describe', false, false),
        watch: method('Watch', false, true),
        put: method('Put', true, false),
        chat: method('Chat', true, true),
      },
      {
        get: this.#unary,
        describe: this.#unary,
        watch: this.#watch,
        put: this.#put,
        chat: this.#chat,
      },
    )
    this.#server.addService(
      {
        check: { ...method('x', false, false), path: '/grpc.health.v1.Health/Check' },
      },
      {
        check: (_call: unknown, done: sendUnaryData<Buffer>) => {
          done(null, Buffer.from([8, this.isServing ? 1 : 2]))
        },
      },
    )
  }

  /** Resolves to the port; 0 for a unix socket. */
  async listen(
    address = '127.0.0.1:0',
    credentials = ServerCredentials.createInsecure(),
  ): Promise<number> {
    return await new Promise((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, port) => {
        if (error === null) resolve(port)
        else reject(error)
      })
    })
  }

  stop(): void {
    this.#server.forceShutdown()
  }

  #note(call: { metadata: Metadata; getDeadline(): Date | number }): void {
    this.calls++
    this.seen = call.metadata.getMap()
    this.deadlineMs = Number(call.getDeadline()) - Date.now()
  }

  #head(): Metadata {
    const head = new Metadata()
    head.set('served-by', 'acme')
    head.set('not-listed', 'x')
    return head
  }

  #tail(): Metadata {
    const tail = new Metadata()
    tail.set('cost', '7')
    return tail
  }

  readonly #unary = (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void => {
    this.#note(call)
    call.sendMetadata(this.#head())
    if (call.request.includes('never')) {
      call.on('cancelled', () => this.cancelled++)
      return
    }
    if (call.request.includes('fail'))
      done({ code: status.NOT_FOUND, details: 'the secret is hunter2', metadata: this.#tail() })
    else done(null, call.request, this.#tail())
  }

  readonly #watch = (call: ServerWritableStream<Buffer, Buffer>): void => {
    this.#note(call)
    call.sendMetadata(this.#head())
    for (let at = 0; at < 3; at++) call.write(call.request)
    if (call.request.includes('fail'))
      call.emit('error', { code: status.ABORTED, details: 'the secret is hunter2' })
    else call.end(this.#tail())
  }

  readonly #put = (
    call: ServerReadableStream<Buffer, Buffer>,
    done: sendUnaryData<Buffer>,
  ): void => {
    this.#note(call)
    const parts: Buffer[] = []
    call.on('data', (part: Buffer) => parts.push(part))
    call.on('end', () => {
      done(null, Buffer.concat(parts))
    })
  }

  readonly #chat: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    this.#note(call)
    call.on('data', (part: Buffer) => call.write(part))
    call.on('end', () => {
      call.end()
    })
  }
}
