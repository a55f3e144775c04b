import { createHash, createVerify, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'
import { verifyAws, verifyGcs, type AwsKeys, type Fault, type Seen } from './verify-v4.ts'
import { crc32c } from './crc32c.ts'

/** An object that a stand-in holds. */
export interface Held {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
  readonly modified?: string
}

interface Answer {
  readonly status: number
  readonly body?: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
}

interface Begun {
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly parts: Map<number, { readonly body: Buffer; readonly etag: string }>
}

const xml = (status: number, code: string): Answer => ({
  status,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>SECRET-TEXT-OF-THE-STORE</Message></Error>`,
})
const digest = (algorithm: string, body: Buffer): string =>
  createHash(algorithm).update(body).digest('base64')

/**
 * A store over HTTPS that takes nothing on trust: signatures, expiry, checksums, preconditions and parts are checked as the published
 * rules of its kind say, by code of its own. One bucket, in the path.
 */
export abstract class ObjectServer {
  readonly objects = new Map<string, Held>()
  /** What it was asked, such as "PUT runs/a". */
  readonly requests: string[] = []
  readonly uploads = new Map<string, Begun>()
  nowMs: () => number = Date.now
  readonly bucket = 'artifacts'
  readonly #server: Server
  #uploads = 0

  constructor(files: KeyFilePaths) {
    const { certificateFile, keyFile } = files
    this.#server = createServer(
      { cert: readFileSync(certificateFile), key: readFileSync(keyFile) },
      (request, response) => {
        void this.#take(request, response)
      },
    )
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `https://localhost:${String((this.#server.address() as AddressInfo).port)}`
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const { method = '', url: target = '', headers } = request
    const seen = { method, target, headers, body: Buffer.concat(pieces) }
    const { status, body = '', headers: more = {} } = this.answer(seen)
    response.writeHead(status, more)
    response.end(method === 'HEAD' ? undefined : body)
  }

  /** What is wrong with the signature of a request. */
  protected abstract verify(seen: Seen): Fault
  /** The answer to a request that is about the bucket; undefined: none is known. */
  protected abstract aboutBucket(seen: Seen): Answer | undefined
  /** What is wrong with what is written, by what its headers promise. */
  protected abstract judgeWrite(seen: Seen, existing: Held | undefined): Fault

  answer(seen: Seen): Answer {
    const { method, target, headers, body } = seen
    const [path = ''] = target.split('?')
    const query = new URLSearchParams(target.split('?')[1])
    const key = decodeURIComponent(path).slice(`/${this.bucket}/`.length)
    this.requests.push(`${method} ${key}`)
    const wrong = this.verify(seen)
    if (wrong !== undefined) return xml(wrong.status, wrong.code)
    const own = this.aboutBucket(seen)
    if (own !== undefined) return own
    const uploadId = query.get('uploadId')
    if (method === 'POST' && query.has('uploads')) return this.#begin(key, seen)
    if (uploadId !== null) return this.#ofUpload(uploadId, key, query, seen)
    if (method === 'PUT') {
      const fault = this.judgeWrite(seen, this.objects.get(key))
      if (fault !== undefined) return xml(fault.status, fault.code)
      this.objects.set(key, { body, headers: headers as Record<string, string> })
      return { status: 200, headers: { etag: `"${createHash('md5').update(body).digest('hex')}"` } }
    }
    const held = this.objects.get(key)
    if (method === 'GET' && key === '' && query.get('list-type') === '2') return this.#list(query)
    if (method === 'GET' || method === 'HEAD')
      return held === undefined ? xml(404, 'NoSuchKey') : ranged(held, headers.range)
    return xml(405, 'MethodNotAllowed')
  }

  /** ListObjectsV2, two to a page. */
  #list(query: URLSearchParams): Answer {
    if (query.get('encoding-type') !== 'url') return xml(400, 'InvalidArgument')
    const [prefix, after] = [query.get('prefix') ?? '', query.get('start-after') ?? '']
    const keys = [...this.objects.keys()].filter((one) => one.startsWith(prefix) && one > after)
    const items = keys
      .sort()
      .slice(0, 2)
      .map((one) => {
        const { body, modified } = this.objects.get(one)!
        return `<Contents><Key>${encodeURIComponent(one)}</Key><LastModified>${modified ?? '2026-01-01T00:00:00.000Z'}</LastModified><ETag>&quot;e&quot;</ETag><Size>${String(body.length)}</Size></Contents>`
      })
    return { status: 200, body: `<ListBucketResult>${items.join('')}</ListBucketResult>` }
  }

  #begin(key: string, { headers }: Seen): Answer {
    const id = `upload-${String(++this.#uploads)}/+=`
    this.uploads.set(id, { key, headers: headers as Record<string, string>, parts: new Map() })
    return { status: 200, body: `<R><UploadId>${id}</UploadId></R>` }
  }

  #ofUpload(id: string, key: string, query: URLSearchParams, seen: Seen): Answer {
    const upload = this.uploads.get(id)
    if (upload?.key !== key) return xml(404, 'NoSuchUpload')
    if (seen.method === 'DELETE') {
      this.uploads.delete(id)
      return { status: 204 }
    }
    if (seen.method === 'PUT') {
      const fault = this.judgeWrite(
        { ...seen, headers: { ...seen.headers, 'x-part': '1' } },
        undefined,
      )
      if (fault !== undefined) return xml(fault.status, fault.code)
      const etag = `"${createHash('md5').update(seen.body).digest('hex')}"`
      upload.parts.set(Number(query.get('partNumber')), { body: seen.body, etag })
      return { status: 200, headers: { etag } }
    }
    if (seen.headers['if-none-match'] === '*' && this.objects.has(key))
      return xml(412, 'PreconditionFailed')
    const named = [
      ...seen.body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]+)/g),
    ]
    const bodies: Buffer[] = []
    for (const [, number, etag] of named) {
      const part = upload.parts.get(Number(number))
      // Said with 200, as S3 does once it has begun to answer.
      if (part?.etag !== etag?.replaceAll('&quot;', '"')) return { ...xml(200, 'InvalidPart') }
      bodies.push(part?.body ?? Buffer.alloc(0))
    }
    this.objects.set(key, { body: Buffer.concat(bodies), headers: upload.headers })
    this.uploads.delete(id)
    return { status: 200, body: '<R><ETag>&quot;made-of-parts&quot;</ETag></R>' }
  }
}

/** A part of an object (RFC 9110 section 14). */
function ranged({ body }: Held, range: string | undefined): Answer {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
  if (from === undefined) return { status: 200, body }
  if (Number(from) >= body.length) return xml(416, 'InvalidRange')
  return { status: 206, body: body.subarray(Number(from), Number(to) + 1) }
}

/** A stand-in for S3: it looks at checksums in headers alone, as S3 does. */
export class S3Server extends ObjectServer {
  keys: AwsKeys = { AKIDTEST: { secret: 'secret-of-tests' } }
  region = 'eu-west-1'

  protected override verify(seen: Seen): Fault {
    return verifyAws(seen, this.keys, this.region, this.nowMs())
  }

  protected override aboutBucket({ method, target }: Seen): Answer | undefined {
    if (target.split('?')[0] !== `/${this.bucket}` || target.includes('list-type')) return undefined
    return method === 'HEAD'
      ? { status: 200, headers: { 'x-amz-bucket-region': this.region } }
      : { status: 200, body: `<LocationConstraint>${this.region}</LocationConstraint>` }
  }

  protected override judgeWrite({ headers, body }: Seen, existing: Held | undefined): Fault {
    if (headers['if-none-match'] === '*' && existing !== undefined)
      return { status: 412, code: 'PreconditionFailed' }
    const sums = [
      [headers['x-amz-checksum-sha256'], digest('sha256', body)],
      [headers['x-amz-checksum-crc32c'], crc32c(body)],
      [headers['content-md5'], digest('md5', body)],
    ]
    const isWrong = sums.some(([said, is]) => said !== undefined && said !== is)
    return isWrong ? { status: 400, code: 'BadDigest' } : undefined
  }
}

/** A stand-in for GCS: signed URLs, and its APIs with tokens that a service account has signed for itself. */
export class GcsServer extends ObjectServer {
  readonly #account: { readonly email: string; readonly key: KeyObject }
  location = 'EUROPE-WEST1'
  /** A token that it knows for one of the account's, beside those that the account has signed. */
  token: string | undefined

  constructor(files: KeyFilePaths, account: { readonly email: string; readonly key: KeyObject }) {
    super(files)
    this.#account = account
  }

  protected override verify(seen: Seen): Fault {
    const { authorization } = seen.headers
    if (authorization === undefined) return verifyGcs(seen, this.#account, this.nowMs())
    if (this.token !== undefined && authorization === `Bearer ${this.token}`) return undefined
    const [head = '', claims = '', signature = ''] = authorization.replace('Bearer ', '').split('.')
    const said = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
    const isGood =
      createVerify('sha256')
        .update(`${head}.${claims}`)
        .verify(this.#account.key, signature, 'base64url') &&
      said.iss === this.#account.email &&
      String(said.scope).includes('devstorage.read_write') &&
      Number(said.exp) * 1000 > this.nowMs()
    return isGood ? undefined : { status: 401, code: 'AuthenticationRequired' }
  }

  protected override aboutBucket({ target }: Seen): Answer | undefined {
    return target === `/storage/v1/b/${this.bucket}?fields=location`
      ? { status: 200, body: JSON.stringify({ location: this.location }) }
      : undefined
  }

  protected override judgeWrite({ headers, body }: Seen, existing: Held | undefined): Fault {
    if (headers['x-goog-if-generation-match'] === '0' && existing !== undefined)
      return { status: 412, code: 'PreconditionFailed' }
    const [least, most] = String(headers['x-goog-content-length-range'] ?? '0,Infinity').split(',')
    if (body.length < Number(least) || body.length > Number(most))
      return { status: 400, code: 'EntityTooLarge' }
    const crc = /crc32c=(.*)/.exec(String(headers['x-goog-hash'] ?? ''))?.[1]
    const isWrong =
      (crc !== undefined && crc !== crc32c(body)) ||
      (headers['content-md5'] !== undefined && headers['content-md5'] !== digest('md5', body))
    return isWrong ? { status: 400, code: 'BadDigest' } : undefined
  }
}
