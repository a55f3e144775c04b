import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { plainData } from '../../src/contract/data-type.ts'
import { RpcError } from '../../src/rpc/status.ts'
import type { RpcServer } from '../../src/rpc/server.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { eventually } from './eventually.ts'
import { CALLER } from './pki.ts'
import { Stack } from './stack.ts'

const RULES = `rules:
  - {name: all, callers: ["*", "*@token"], methods: ["*"]}
`

/** A `google.rpc.Status` of 9 with the same text, and an Any of a `test.v1.Why` with the bytes 01 02. */
const DETAILS = ((): string => {
  const field = (number: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
  const why = [
    field(1, Buffer.from('type.googleapis.com/test.v1.Why')),
    field(2, Buffer.from([1, 2])),
  ]
  const said = [field(2, Buffer.from('as you wish: 100 % é')), field(3, Buffer.concat(why))]
  return Buffer.concat([Buffer.from([8, 9]), ...said])
    .toString('base64')
    .replace(/=+$/, '')
})()

/** PEM texts for a client of HTTPS. */
export interface ClientTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Reads what a client needs. */
export function clientTls(files: KeyFilePaths): ClientTls {
  const read = (path: string): string => readFileSync(path, 'utf8')
  return {
    ca: read(files.bundleFile),
    cert: read(files.certificateFile),
    key: read(files.keyFile),
  }
}

/** A gateway with an API, an agent that offers `test.v1.Echo`, and the files of a caller. */
export class ApiStack {
  readonly stack: Stack
  readonly files: KeyFilePaths

  private constructor(stack: Stack, files: KeyFilePaths) {
    this.stack = stack
    this.files = files
  }

  /** `metadata`: names that the agent's policy lets through; `ofAgent`: its rules and settings, where they are others. */
  static async start(
    flags: Readonly<Record<string, string>> = {},
    metadata = ['served-by', 'cost', 'tenant', 'grpc-status-details-bin', 'blob-bin'],
    ofAgent: { rules?: string; flags?: Readonly<Record<string, string>> } = {},
  ): Promise<ApiStack> {
    const stack = await Stack.start({ 'api.listen': '127.0.0.1:0', ...flags })
    const policy = join(stack.pki.folder, 'policy.yaml')
    writeFileSync(
      policy,
      `version: 1\nmetadata: [${metadata.join(', ')}]\n${ofAgent.rules ?? RULES}`,
    )
    const agent = await stack.dialAgent({
      ...{ 'policy.file': policy, allow: '[]', ...ofAgent.flags },
    })
    // Before it has registered, so that the gateway hears of it.
    offerEcho(agent.services.server)
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    return new ApiStack(stack, await stack.pki.issue(CALLER))
  }

  /** Of api.listen. */
  get port(): number {
    return this.stack.addresses.api?.port ?? 0
  }

  /** Of api.tokenListen. */
  get tokenPort(): number {
    return this.stack.addresses.apiTokens?.port ?? 0
  }

  get tls(): ClientTls {
    return clientTls(this.files)
  }

  stop(): void {
    this.stack.stop()
  }
}

/** `test.v1.Echo`: one method of each kind. A request of `fail` fails. */
export function offerEcho(server: RpcServer): void {
  const data = plainData('metric')
  const judge = (request: Uint8Array): Uint8Array => {
    if (!Buffer.from(request).includes('fail')) return request
    throw new RpcError('FAILED_PRECONDITION', 'as you wish: 100 % é', {
      metadata: { cost: '3', 'grpc-status-details-bin': DETAILS },
    })
  }
  server.offer({
    ...{ name: 'test.v1.Echo/Unary', data },
    handler: {
      kind: 'unary',
      handle: (request, context) => {
        context.sendHeaders({ 'served-by': context.metadata.tenant ?? 'nobody' })
        context.trailers = { cost: '7' }
        return judge(request)
      },
    },
  })
  server.offer({
    ...{ name: 'test.v1.Echo/Many', data },
    handler: {
      kind: 'serverStream',
      async *handle(request, context) {
        context.sendHeaders({ 'served-by': context.metadata.tenant ?? 'nobody' })
        context.trailers = { cost: '7' }
        for (let at = 0; at < 3; at++) yield await Promise.resolve(request)
        judge(request)
      },
    },
  })
  server.offer({
    ...{ name: 'test.v1.Echo/Sum', data },
    handler: {
      kind: 'clientStream',
      async handle(requests) {
        const parts: Uint8Array[] = []
        for await (const request of requests) parts.push(Buffer.from(request))
        return judge(Buffer.concat(parts))
      },
    },
  })
  server.offer({
    ...{ name: 'test.v1.Echo/Both', data },
    handler: {
      kind: 'bidi',
      async *handle(requests) {
        for await (const request of requests) yield judge(Buffer.from(request))
      },
    },
  })
  server.offer({
    ...{ name: 'test.v1.Echo/Never', data },
    handler: {
      kind: 'unary',
      handle: (_request, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(new RpcError('CANCELLED', 'gone'))
          })
        }),
    },
  })
}
