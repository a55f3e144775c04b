import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Agent } from '../../../src/agent/agent.ts'
import type { Client } from '../../../src/rpc/typed.ts'
import { DataType } from '../../../src/gen/postern/v1/data_pb.js'
import {
  ObjectStore,
  type CreateUploadUrlRequestSchema,
  type SignedUrl,
} from '../../../src/gen/postern/dataplane/v1/object_store_pb.js'
import { Stack } from '../stack.ts'
import { crc32c } from './crc32c.ts'
import { send, type Sent } from './send.ts'

/** A row of `stores`, but for what is said otherwise. */
export type StoreSettings = Readonly<Record<string, unknown>>

/** A stack whose agent hands out URLs to one store, `artifacts`. */
export class ObjectStack {
  readonly stack: Stack
  readonly caFile: string
  agent!: Agent
  objects!: Client<typeof ObjectStore>

  private constructor(stack: Stack, caFile: string) {
    this.stack = stack
    this.caFile = caFile
  }

  /** `policy`: more of it, as YAML. */
  static async start(
    stack: Stack,
    caFile: string,
    row: StoreSettings,
    policy = '',
  ): Promise<ObjectStack> {
    const made = new ObjectStack(stack, caFile)
    const file = join(stack.pki.folder, 'policy.yaml')
    const rules =
      'rules: [{ name: urls, callers: [tester], methods: [postern.dataplane.v1.ObjectStore/*] }]'
    writeFileSync(file, `version: 1\nsealed: { presigned-url: optional }\n${rules}\n${policy}`)
    const store = {
      ...{ name: 'artifacts', bucket: 'artifacts', caFile },
      prefixes: { 'task-io': ['runs/'], report: ['reports/'] },
      ...row,
    }
    made.agent = await stack.startAgent({
      allow: '[]',
      'policy.file': file,
      stores: JSON.stringify([store]),
    })
    made.objects = (await stack.connect()).cluster('c-1').service(ObjectStore)
    return made
  }

  async download(key: string, expiresSeconds = 0): Promise<SignedUrl> {
    const named = { store: 'artifacts', dataType: DataType.TASK_IO, key }
    const { url } = await this.objects.createDownloadUrl({ ...named, expiresSeconds })
    return url!
  }

  async upload(key: string, body: Buffer, more: object = {}): Promise<SignedUrl> {
    const request = {
      ...{ store: 'artifacts', dataType: DataType.TASK_IO, key },
      length: BigInt(body.length),
      checksum: sumOf('sha256', body),
      contentType: 'text/plain',
      ...more,
    } as MessageInitShape<typeof CreateUploadUrlRequestSchema>
    const { urls } = await this.objects.createUploadUrl(request)
    return urls[0]!
  }

  /** Uses a URL; `changes`: as somebody would who wants something else of it. */
  send(
    { url, method, headers }: SignedUrl,
    body?: Buffer,
    changes: Partial<Sent> = {},
  ): ReturnType<typeof send> {
    const sent = { url, method, headers, ...(body === undefined ? {} : { body }), ...changes }
    return send(sent, this.caFile)
  }

  async status(...args: Parameters<ObjectStack['send']>): Promise<number> {
    return (await this.send(...args)).status
  }
}

/** A checksum as a request has it. */
export function sumOf(algorithm: 'sha256' | 'md5' | 'crc32c', body: Buffer) {
  const value =
    algorithm === 'crc32c'
      ? Buffer.from(crc32c(body), 'base64')
      : createHash(algorithm).update(body).digest()
  return { value: { case: algorithm, value } } as const
}
