import { askBackend } from '../../transport/ask-backend.ts'
import { signGcsUrl } from './gcs-sign.ts'
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
import { gcsPosture } from './gcs-posture.ts'
import type { GoogleCredentials } from '../google-credentials.ts'
import type { StoreRow } from '../store-row.ts'
import {
  askStore,
  completedEtag,
  completionXml,
  encoded,
  encodedPath,
  listedObjects,
  listRequest,
  refusedBy,
  uploadIdOf,
  type StoreRequest,
} from './xml-parts.ts'

const OK = 200

/** A bucket of Google Cloud Storage, by its XML API. */
export class GcsStore implements StoreBackend {
  readonly checksums = ['md5', 'crc32c'] as const
  readonly partsReplace =
    'an upload in parts to GCS replaces what is there: its store must say overwrite: allowed'
  readonly #row: StoreRow
  readonly #auth: GoogleCredentials
  readonly #caPem: string | undefined

  constructor(row: StoreRow, auth: GoogleCredentials, caPem: string | undefined) {
    this.#row = row
    this.#auth = auth
    this.#caPem = caPem
  }

  download(key: string, life: Life): Promise<SignedUrl> {
    return this.#presign('GET', key, {}, {}, life)
  }

  upload(key: string, { length, checksum, contentType }: Upload, life: Life): Promise<SignedUrl> {
    const headers = {
      ...this.#objectHeaders(contentType),
      'x-goog-content-length-range': `${String(length)},${String(length)}`,
      ...sumHeader(checksum),
      ...(this.#row.mayOverwrite ? {} : { 'x-goog-if-generation-match': '0' }),
    }
    return this.#presign('PUT', key, {}, headers, life)
  }

  async begin(key: string, { contentType }: PartsBegin, signal: AbortSignal): Promise<string> {
    const headers = this.#objectHeaders(contentType)
    return uploadIdOf(
      await this.#ask({ method: 'POST', key, query: { uploads: '' }, headers }, signal),
    )
  }

  part(key: string, uploadId: string, { number, checksum }: Part, life: Life): Promise<SignedUrl> {
    const query = { partNumber: String(number), uploadId }
    return this.#presign('PUT', key, query, sumHeader(checksum), life)
  }

  async complete(
    key: string,
    uploadId: string,
    parts: readonly WrittenPart[],
    _contentType: string,
    signal: AbortSignal,
  ): Promise<string> {
    const body = completionXml(parts, () => undefined)
    const headers = { 'content-type': 'application/xml' }
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

  /** By the JSON API: the other one does not tell it to who may only use objects. */
  async region(signal: AbortSignal): Promise<string | undefined> {
    const { endpoint, bucket } = this.#row
    const url = new URL(`/storage/v1/b/${encoded(bucket)}?fields=location`, endpoint)
    const headers = { authorization: await this.#auth.bearer(this.#row.endpoint) }
    const answer = await askBackend({ url, method: 'GET', headers, caPem: this.#caPem, signal })
    if (answer.status !== OK) throw refusedBy(answer)
    const found = /"location"\s*:\s*"([A-Za-z0-9-]{1,63})"/.exec(answer.body.toString('latin1'))
    return found?.[1]?.toLowerCase()
  }

  async posture(signal: AbortSignal): Promise<readonly Seen[]> {
    const { endpoint, bucket } = this.#row
    return await gcsPosture(async () => {
      const fields = 'fields=encryption,versioning,iamConfiguration'
      const url = new URL(`/storage/v1/b/${encoded(bucket)}?${fields}`, endpoint)
      const headers = { authorization: await this.#auth.bearer(this.#row.endpoint) }
      const answer = await askBackend({ url, method: 'GET', headers, caPem: this.#caPem, signal })
      if (answer.status !== OK) throw refusedBy(answer)
      return JSON.parse(answer.body.toString()) as unknown
    })
  }

  #objectHeaders(contentType: string): Record<string, string> {
    const { encryptionKey } = this.#row
    const key =
      encryptionKey === undefined ? {} : { 'x-goog-encryption-kms-key-name': encryptionKey }
    return { 'content-type': contentType, ...key }
  }

  async #presign(
    method: 'GET' | 'PUT',
    key: string,
    query: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
    life: Life,
  ): Promise<SignedUrl> {
    const { endpoint, bucket, signEndpoint } = this.#row
    const account = await this.#auth.account()
    const request = {
      method,
      host: endpoint.host,
      path: `${bucket}/${key}`,
      query,
      headers,
      account,
      ...life,
    }
    const url = await signGcsUrl(request, (text) =>
      this.#auth.sign(text, { endpoint: signEndpoint, caPem: this.#caPem }),
    )
    return { url, method, headers }
  }

  async #ask(request: StoreRequest, signal: AbortSignal): ReturnType<typeof askStore> {
    const { endpoint, bucket } = this.#row
    const { key = '', query, headers } = request
    const url = new URL(`/${encodedPath(`${bucket}/${key}`)}`, endpoint)
    url.search = new URLSearchParams(query).toString()
    const all = { ...headers, authorization: await this.#auth.bearer(this.#row.endpoint) }
    return await askStore(request, { url, headers: all }, this.#caPem, signal)
  }
}

function sumHeader({ algorithm, value }: Checksum): Record<string, string> {
  const text = Buffer.from(value).toString('base64')
  return algorithm === 'md5' ? { 'content-md5': text } : { 'x-goog-hash': `crc32c=${text}` }
}
