import type { DataType } from '../contract/data-type.ts'

/** The kinds of object stores. */
export const STORE_TYPES = ['s3', 'gcs', 'azure'] as const
/** The kind of an object store. */
export type StoreType = (typeof STORE_TYPES)[number]

/** What may lie in a store, and crosses by presigned URL alone. */
export const STORED_TYPES = ['task-io', 'code-bundle', 'report'] as const
/** A type of data that lies in a store. */
export type StoredType = Extract<DataType, (typeof STORED_TYPES)[number]>

/** One row of `stores:`. */
export interface StoreRow {
  readonly name: string
  readonly type: StoreType
  /** Of Azure Blob: the container. */
  readonly bucket: string
  /** https, without a path. */
  readonly endpoint: URL
  /** Of GCS: where URLs are signed for an account whose key is not here. */
  readonly signEndpoint: URL
  /** Of S3: what is signed for. */
  readonly region: string
  /** Whether the bucket stands in the path, in place of the host. */
  readonly isPathStyle: boolean
  /** Roots for the agent's own requests, in PEM. Default: those of the system. */
  readonly caFile: string | undefined
  /** Each ends with a slash. */
  readonly prefixes: ReadonlyMap<StoredType, readonly string[]>
  readonly urlMaxMs: number
  readonly uploadBytesMax: number
  /** Whether an upload may replace an object. */
  readonly mayOverwrite: boolean
  /** Undefined: as the bucket does by itself. */
  readonly encryption: 'AES256' | 'aws:kms' | undefined
  /** Of S3 the KMS key, of GCS its resource name, of Azure the encryption scope. */
  readonly encryptionKey: string | undefined
  /** Of S3 a file of shared credentials, of GCS one of a service account or federation, of Azure one with the account key. */
  readonly credentialsFile: string | undefined
  /** Of the file of shared credentials. */
  readonly profile: string | undefined
}
