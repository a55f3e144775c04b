import type { Seen } from '../../base/finding.ts'

/** A request that a store takes from whoever has its URL. */
export interface SignedUrl {
  readonly url: string
  readonly method: 'GET' | 'PUT'
  /** To be sent with it, exactly so. */
  readonly headers: Readonly<Record<string, string>>
}

/** What is known beforehand of bytes that are written. */
export interface Checksum {
  readonly algorithm: 'sha256' | 'md5' | 'crc32c'
  readonly value: Uint8Array
}

/** How long a URL works, from when. */
export interface Life {
  /** In wall-clock ms. */
  readonly fromMs: number
  readonly seconds: number
}

/** What a URL allows to write. */
export interface Upload {
  readonly length: number
  readonly checksum: Checksum
  readonly contentType: string
}

/** What an upload in parts begins with. */
export interface PartsBegin {
  readonly contentType: string
  readonly algorithm: Checksum['algorithm']
}

/** One part that a URL allows to write. */
export interface Part {
  readonly number: number
  readonly length: number
  readonly checksum: Checksum
}

/** One part that was written. */
export interface WrittenPart {
  readonly number: number
  readonly etag: string
  readonly checksum: Checksum | undefined
}

/** One object that is there. */
export interface StoredObject {
  readonly key: string
  readonly size: number
  /** In wall-clock ms. */
  readonly modifiedMs: number
}

/** One bucket of one store, and the customer's credentials for it. Keys that come here were judged. */
export interface StoreBackend {
  /** The checksums that it takes. */
  readonly checksums: readonly Checksum['algorithm'][]
  /** Why it cannot keep an upload in parts from replacing an object; undefined: it can. */
  readonly partsReplace: string | undefined
  /** @throws CREDENTIALS_MISSING, BACKEND_UNREACHABLE */
  download(key: string, life: Life): Promise<SignedUrl>
  upload(key: string, upload: Upload, life: Life): Promise<SignedUrl>
  /** Begins an upload in parts. Returns its id. */
  begin(key: string, begin: PartsBegin, signal: AbortSignal): Promise<string>
  part(key: string, uploadId: string, part: Part, life: Life): Promise<SignedUrl>
  /** Makes one object out of parts. Returns its ETag. */
  complete(
    key: string,
    uploadId: string,
    parts: readonly WrittenPart[],
    contentType: string,
    signal: AbortSignal,
  ): Promise<string>
  abort(key: string, uploadId: string, signal: AbortSignal): Promise<void>
  /** Lists objects whose keys begin so, behind one of them, in the order of their keys: some at once, and none where there are no more. */
  list(prefix: string, after: string, signal: AbortSignal): Promise<readonly StoredObject[]>
  /** Asks the store where the bucket lies. Undefined: it does not tell. */
  region(signal: AbortSignal): Promise<string | undefined>
  /** Looks how it keeps what is in it, by its own word. It does not throw. */
  posture(signal: AbortSignal): Promise<readonly Seen[]>
}

/** Whether ids of uploads of a store have a form that can stand in a URL. */
export const UPLOAD_ID = /^[\x21-\x7e]{1,1024}$/
