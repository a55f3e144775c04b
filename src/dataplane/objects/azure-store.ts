import type { TokenCredential } from '@azure/identity'
import {
  BlobSASPermissions,
  BlobServiceClient,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
  type BlobSASSignatureValues,
  type BlockBlobClient,
  type UserDelegationKey,
} from '@azure/storage-blob'
import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { seen, type Seen } from '../../base/finding.ts'
import type { Random } from '../../base/random.ts'
import type {
  Life,
  Part,
  SignedUrl,
  StoreBackend,
  StoredObject,
  Upload,
  WrittenPart,
} from './store-backend.ts'
import { trustIn } from '../../transport/tls-options.ts'
import type { StoreRow } from '../store-row.ts'
import { encoded } from './xml-parts.ts'

const MINUTE_MS = 60_000
/** A delegation key signs many URLs: one that has this long to go is asked for anew. */
const KEY_LEFT_MS = 70 * MINUTE_MS
const KEY_LIFE_MS = 4 * 60 * MINUTE_MS
/** Clocks of storage accounts may be behind ours. */
const SKEW_MS = 5 * MINUTE_MS
const UPLOAD_BYTES = 16
const LIST_MAX = 200
const UNKNOWN_STATUS = [401, 403]

/** Who signs for a container: an identity, by keys that the account delegates to it, or the key of the account. */
export type AzureCredentials = TokenCredential | StorageSharedKeyCredential

/** The clock and chance that AzureStore is given. */
export interface AzurePorts {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly random: Pick<Random, 'hex'>
  readonly credentials: AzureCredentials
  readonly caPem: string | undefined
}

/**
 * A container of Azure Blob Storage (learn.microsoft.com: "Create a user delegation SAS"). Its signatures bind permissions, object
 * and time, and no header: checksum and length go along, and the store takes them only if whoever writes sends them.
 */
export class AzureStore implements StoreBackend {
  readonly checksums = ['md5'] as const
  readonly partsReplace =
    'who may write a part to Azure Blob may replace the object: its store must say overwrite: allowed'
  readonly #row: StoreRow
  readonly #ports: AzurePorts
  readonly #service: BlobServiceClient
  #key: { readonly key: UserDelegationKey; readonly untilMs: number } | undefined

  constructor(row: StoreRow, ports: AzurePorts) {
    this.#row = row
    this.#ports = ports
    const { caPem } = ports
    const tls = caPem === undefined ? {} : { tlsOptions: trustIn(caPem) }
    this.#service = new BlobServiceClient(row.endpoint.href, ports.credentials, {
      ...tls,
      retryOptions: { maxTries: 2, tryTimeoutInMs: 10_000 },
    })
  }

  async download(key: string, life: Life): Promise<SignedUrl> {
    return { url: await this.#url(key, 'r', life), method: 'GET', headers: {} }
  }

  async upload(
    key: string,
    { length, checksum, contentType }: Upload,
    life: Life,
  ): Promise<SignedUrl> {
    const headers = {
      'x-ms-blob-type': 'BlockBlob',
      'content-type': contentType,
      'content-length': String(length),
      'content-md5': Buffer.from(checksum.value).toString('base64'),
    }
    // "create" lets nobody replace what is there, where "write" does.
    const url = await this.#url(key, this.#row.mayOverwrite ? 'cw' : 'c', life)
    return { url, method: 'PUT', headers }
  }

  begin(): Promise<string> {
    return Promise.resolve(this.#ports.random.hex(UPLOAD_BYTES))
  }

  async part(key: string, uploadId: string, part: Part, life: Life): Promise<SignedUrl> {
    const headers = {
      'content-length': String(part.length),
      'content-md5': Buffer.from(part.checksum.value).toString('base64'),
    }
    const url = await this.#url(key, 'w', life)
    const block = encoded(blockId(uploadId, part.number))
    return { url: `${url}&comp=block&blockid=${block}`, method: 'PUT', headers }
  }

  async complete(
    key: string,
    uploadId: string,
    parts: readonly WrittenPart[],
    contentType: string,
    signal: AbortSignal,
  ): Promise<string> {
    const ids = parts.map(({ number }) => blockId(uploadId, number))
    const options = { blobHTTPHeaders: { blobContentType: contentType }, abortSignal: signal }
    const { etag } = await this.#known(() => this.#blob(key).commitBlockList(ids, options))
    return etag ?? ''
  }

  /** Blocks that are in no object are dropped by the store after a week; there is no call for it. */
  abort(): Promise<void> {
    return Promise.resolve()
  }

  /** Its lists go on behind markers of its own alone: what lies before is passed over. */
  async list(prefix: string, after: string, signal: AbortSignal): Promise<StoredObject[]> {
    const blobs = this.#service
      .getContainerClient(this.#row.bucket)
      .listBlobsFlat({ prefix, abortSignal: signal })
      .byPage({ maxPageSize: LIST_MAX })
    for (;;) {
      const page = await this.#known(() => blobs.next())
      if (page.done === true) return []
      const items = page.value.segment.blobItems.map(({ name, properties }) => ({
        key: name,
        size: properties.contentLength ?? 0,
        modifiedMs: properties.lastModified.getTime(),
      }))
      const found = items.filter(({ key }) => key > after)
      if (found.length > 0) return found
    }
  }

  /** Nothing that a storage account tells of itself names its region. */
  region(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async posture(signal: AbortSignal): Promise<readonly Seen[]> {
    const { bucket, encryptionKey } = this.#row
    const always = seen(
      'encryption at rest',
      'OK',
      'Azure Storage encrypts all that it keeps (AES-256), and nothing turns that off',
    )
    try {
      const container = this.#service.getContainerClient(bucket)
      const found = await this.#known(() => container.getProperties({ abortSignal: signal }))
      const scope = encryptionKey ?? found.defaultEncryptionScope
      const isPublic = found.blobPublicAccess !== undefined
      return [
        always,
        seen(
          'whose key',
          scope === undefined ? 'UNKNOWN' : 'OK',
          scope === undefined ? 'its API of objects does not tell' : `encryption scope ${scope}`,
        ),
        seen(
          'no public access',
          isPublic ? 'FAIL' : 'OK',
          isPublic ? `public: ${found.blobPublicAccess ?? ''}` : 'the container is private',
        ),
      ]
    } catch (error) {
      return [always, seen('no public access', 'UNKNOWN', asPosternError(error).rawMessage)]
    }
  }

  #blob(key: string): BlockBlobClient {
    return this.#service.getContainerClient(this.#row.bucket).getBlockBlobClient(key)
  }

  async #url(key: string, permissions: string, { fromMs, seconds }: Life): Promise<string> {
    const { bucket, encryptionKey } = this.#row
    const values: BlobSASSignatureValues = {
      containerName: bucket,
      blobName: key,
      permissions: BlobSASPermissions.parse(permissions),
      protocol: SASProtocol.Https,
      startsOn: new Date(fromMs - SKEW_MS),
      expiresOn: new Date(fromMs + seconds * 1000),
      ...(encryptionKey === undefined ? {} : { encryptionScope: encryptionKey }),
    }
    const { credentials } = this.#ports
    const query =
      credentials instanceof StorageSharedKeyCredential
        ? generateBlobSASQueryParameters(values, credentials)
        : generateBlobSASQueryParameters(values, await this.#delegated(), this.#service.accountName)
    return `${this.#blob(key).url}?${query.toString()}`
  }

  async #delegated(): Promise<UserDelegationKey> {
    const nowMs = this.#ports.clock.wallMs()
    if (this.#key !== undefined && this.#key.untilMs - nowMs > KEY_LEFT_MS) return this.#key.key
    const untilMs = nowMs + KEY_LIFE_MS
    const from = new Date(nowMs - SKEW_MS)
    const key = await this.#known(() => this.#service.getUserDelegationKey(from, new Date(untilMs)))
    this.#key = { key, untilMs }
    return key
  }

  async #known<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      const { statusCode, name } = error as { statusCode?: number; name: string }
      const isUnknown =
        /Credential|Authentication/.test(name) || UNKNOWN_STATUS.includes(statusCode ?? 0)
      const code = isUnknown
        ? 'CREDENTIALS_MISSING'
        : statusCode === undefined
          ? 'BACKEND_UNREACHABLE'
          : 'BACKEND_REFUSED'
      throw new PosternError(
        code,
        `status ${String(statusCode ?? 'none')}, ${name}`,
        {},
        { cause: error },
      )
    }
  }
}

/** The ids of all blocks of an object are of one length. */
function blockId(uploadId: string, number: number): string {
  return Buffer.from(`${uploadId}-${String(number).padStart(5, '0')}`).toString('base64')
}
