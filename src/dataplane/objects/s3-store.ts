import { Hash } from '@smithy/hash-node'
import { HttpRequest } from '@smithy/protocol-http'
import { SignatureV4 } from '@smithy/signature-v4'
import type { AwsCredentialIdentity, HttpRequest as SignedRequest } from '@smithy/types'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import type {
  Checksum,
  Life,
  Part,
  PartsBegin,
  SignedUrl,
  StoreBackend,
  StoredObject,
  Upload,
  WrittenPart,
} from './store-backend.ts'
import type { Seen } from '../../base/finding.ts'
import { s3Posture } from './s3-posture.ts'
import type { StoreRow } from '../store-row.ts'
import {
  askStore,
  completedEtag,
  completionXml,
  encoded,
  encodedPath,
  listedObjects,
  listRequest,
  uploadIdOf,
  type Authorised,
  type StoreRequest,
} from './xml-parts.ts'

const Sha256 = Hash.bind(null, 'sha256')
const OK = 200
const UNSIGNED = 'UNSIGNED-PAYLOAD'
const CHECKSUM_NAMES = { sha256: 'SHA256', crc32c: 'CRC32C' } as const

/** Who signs for a bucket. @throws CREDENTIALS_MISSING */
export type AwsCredentials = () => Promise<AwsCredentialIdentity>

/**
 * A bucket of S3, or of a store that speaks its protocol (Signature Version 4, docs.aws.amazon.com: "Authenticating Requests: Using
 * Query Parameters"). What a URL allows to write stands in signed headers: in the query, where signers like to put it, S3
 * would not look at it.
 */
export class S3Store implements StoreBackend {
  readonly checksums = ['sha256', 'crc32c', 'md5'] as const
  readonly partsReplace = undefined
  readonly #row: StoreRow
  readonly #clock: Pick<Clock, 'wallMs'>
  readonly #signer: SignatureV4
  readonly #caPem: string | undefined

  constructor(
    row: StoreRow,
    {
      clock,
      credentials,
      caPem,
    }: { clock: Pick<Clock, 'wallMs'>; credentials: AwsCredentials; caPem: string | undefined },
  ) {
    this.#row = row
    this.#clock = clock
    this.#caPem = caPem
    this.#signer = new SignatureV4({
      service: 's3',
      region: row.region,
      credentials,
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    })
  }

  download(key: string, life: Life): Promise<SignedUrl> {
    return this.#presign('GET', key, {}, {}, life)
  }

  upload(key: string, upload: Upload, life: Life): Promise<SignedUrl> {
    const headers = {
      ...this.#objectHeaders(upload.contentType),
      ...lengthAndSum(upload),
      ...(this.#row.mayOverwrite ? {} : { 'if-none-match': '*' }),
    }
    return this.#presign('PUT', key, {}, headers, life)
  }

  async begin(
    key: string,
    { contentType, algorithm }: PartsBegin,
    signal: AbortSignal,
  ): Promise<string> {
    const headers = {
      ...this.#objectHeaders(contentType),
      ...(algorithm === 'md5' ? {} : { 'x-amz-checksum-algorithm': CHECKSUM_NAMES[algorithm] }),
    }
    return uploadIdOf(
      await this.#ask({ method: 'POST', key, query: { uploads: '' }, headers }, signal),
    )
  }

  part(key: string, uploadId: string, part: Part, life: Life): Promise<SignedUrl> {
    const query = { partNumber: String(part.number), uploadId }
    return this.#presign('PUT', key, query, lengthAndSum(part), life)
  }

  async complete(
    key: string,
    uploadId: string,
    parts: readonly WrittenPart[],
    _contentType: string,
    signal: AbortSignal,
  ): Promise<string> {
    if (!this.#row.mayOverwrite) await this.#refuseReplacing(key, signal)
    const body = completionXml(parts, ({ checksum }) =>
      checksum === undefined || checksum.algorithm === 'md5'
        ? undefined
        : `Checksum${CHECKSUM_NAMES[checksum.algorithm]}`,
    )
    const headers = {
      'content-type': 'application/xml',
      ...(this.#row.mayOverwrite ? {} : { 'if-none-match': '*' }),
    }
    return completedEtag(
      await this.#ask({ method: 'POST', key, query: { uploadId }, headers, body }, signal),
    )
  }

  async abort(key: string, uploadId: string, signal: AbortSignal): Promise<void> {
    await this.#ask({ method: 'DELETE', key, query: { uploadId } }, signal)
  }

  async list(prefix: string, after: string, signal: AbortSignal): Promise<StoredObject[]> {
    return listedObjects(await this.#ask(listRequest(prefix, after), signal))
  }

  async region(signal: AbortSignal): Promise<string | undefined> {
    const head = await this.#ask({ method: 'HEAD', key: undefined, query: {} }, signal)
    const named = head.header('x-amz-bucket-region')
    if (named !== undefined) return named
    const answer = await this.#ask(
      { method: 'GET', key: undefined, query: { location: '' } },
      signal,
    )
    const text = answer.body.toString('latin1')
    const found = /<LocationConstraint[^>]*>([a-z0-9-]{0,40})<\/LocationConstraint>/.exec(text)?.[1]
    // An empty one is that of the first region there was.
    return found === '' || /<LocationConstraint[^>]*\/>/.test(text) ? 'us-east-1' : found
  }

  posture(signal: AbortSignal): Promise<readonly Seen[]> {
    return s3Posture(async (question) => {
      const query = { [question]: '' }
      const { url, headers } = await this.#authorise({ method: 'GET', key: undefined, query })
      const caPem = this.#caPem
      const { status, body } = await askBackend({ url, headers, caPem, signal, method: 'GET' })
      return { status, text: body.toString('latin1') }
    })
  }

  /** Some servers do not look at the condition that the completion itself goes with. @throws BACKEND_REFUSED */
  async #refuseReplacing(key: string, signal: AbortSignal): Promise<void> {
    const request = { method: 'HEAD', key, query: {} } as const
    const { url, headers } = await this.#authorise(request)
    const caPem = this.#caPem
    const { status } = await askBackend({ url, headers, caPem, signal, method: 'HEAD' })
    if (status === OK) throw new PosternError('BACKEND_REFUSED', 'the object is there already')
  }

  /** Headers of the object that is to be. */
  #objectHeaders(contentType: string): Record<string, string> {
    const { encryption, encryptionKey } = this.#row
    return {
      'content-type': contentType,
      ...(encryption === undefined ? {} : { 'x-amz-server-side-encryption': encryption }),
      ...(encryptionKey === undefined
        ? {}
        : { 'x-amz-server-side-encryption-aws-kms-key-id': encryptionKey }),
    }
  }

  #request(
    method: string,
    key: string | undefined,
    query: Readonly<Record<string, string>>,
  ): HttpRequest {
    const { endpoint, bucket, isPathStyle } = this.#row
    const hostname = isPathStyle ? endpoint.hostname : `${bucket}.${endpoint.hostname}`
    const path = [...(isPathStyle ? [bucket] : []), ...(key === undefined ? [] : [key])].join('/')
    const host = endpoint.port === '' ? hostname : `${hostname}:${endpoint.port}`
    return new HttpRequest({
      ...{ method, hostname, protocol: 'https:', path: `/${encodedPath(path)}` },
      ...(endpoint.port === '' ? {} : { port: Number(endpoint.port) }),
      query: { ...query },
      headers: { host },
    })
  }

  async #presign(
    method: 'GET' | 'PUT',
    key: string,
    query: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
    { fromMs, seconds }: Life,
  ): Promise<SignedUrl> {
    const request = this.#request(method, key, query)
    Object.assign(request.headers, headers)
    request.headers['x-amz-content-sha256'] = UNSIGNED
    const signed = await this.#signer.presign(request, {
      expiresIn: seconds,
      signingDate: new Date(fromMs),
      unhoistableHeaders: new Set(Object.keys(headers)),
      signableHeaders: new Set(['host', ...Object.keys(headers)]),
    })
    return { url: urlOf(signed).href, method, headers }
  }

  async #ask(
    request: StoreRequest,
    signal: AbortSignal,
  ): Promise<Awaited<ReturnType<typeof askStore>>> {
    return await askStore(request, await this.#authorise(request), this.#caPem, signal)
  }

  async #authorise({ method, key, query, headers, body }: StoreRequest): Promise<Authorised> {
    const request = this.#request(method, key, query)
    Object.assign(request.headers, headers)
    if (body !== undefined) request.body = body
    request.headers['x-amz-content-sha256'] = await sha256Hex(body ?? '')
    const signed = await this.#signer.sign(request, { signingDate: new Date(this.#clock.wallMs()) })
    return { url: urlOf(signed), headers: signed.headers }
  }
}

async function sha256Hex(text: string): Promise<string> {
  const hash = new Sha256()
  hash.update(Buffer.from(text))
  return Buffer.from(await hash.digest()).toString('hex')
}

function lengthAndSum({
  length,
  checksum,
}: Pick<Upload, 'length' | 'checksum'>): Record<string, string> {
  return { 'content-length': String(length), [sumHeader(checksum)]: base64(checksum.value) }
}

function sumHeader({ algorithm }: Checksum): string {
  return algorithm === 'md5' ? 'content-md5' : `x-amz-checksum-${algorithm}`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function urlOf({ protocol, hostname, port, path, query = {} }: SignedRequest): URL {
  const pairs = Object.entries(query).map(
    ([name, value]) => `${encoded(name)}=${encoded(String(value ?? ''))}`,
  )
  const host = port === undefined ? hostname : `${hostname}:${String(port)}`
  return new URL(`${protocol}//${host}${path}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`)
}
