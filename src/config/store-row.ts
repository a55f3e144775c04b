import {
  STORE_TYPES,
  STORED_TYPES,
  type StoredType,
  type StoreRow,
  type StoreType,
} from '../dataplane/store-row.ts'
import { faultOf } from '../dataplane/object-key.ts'
import { backendUrl } from './backend-url.ts'
import { choiceField, nameField, pathField, textField, type Row } from './row-fields.ts'
import { parseBytes, parseDuration, rowFields } from './setting.ts'

const FIELDS = [
  ...['name', 'type', 'bucket', 'endpoint', 'region', 'addressing', 'caFile', 'prefixes', 'urlMax'],
  ...['uploadMax', 'overwrite', 'encryption', 'encryptionKey', 'credentialsFile', 'profile'],
  'signEndpoint',
]
const BUCKET = /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/
const REGION = /^[a-z0-9-]{1,40}$/
const HOUR_MS = 3_600_000
const GIB = 1024 ** 3
const UPLOAD_BYTES_MAX = 5 * GIB

/** Reads one row of `stores`. Throws a plain Error for the loader to place. */
export function readStore(row: Row): StoreRow {
  rowFields(row, FIELDS)
  const name = nameField(row)
  try {
    return { name, ...readBucket(row) }
  } catch (error) {
    throw new Error(`store ${name}: ${(error as Error).message}`, { cause: error })
  }
}

function readBucket(row: Row): Omit<StoreRow, 'name'> {
  const type = STORE_TYPES.find((one) => one === row.type)
  if (type === undefined) throw new Error(`type must be one of ${STORE_TYPES.join(', ')}`)
  const bucket = textField(row, 'bucket') ?? ''
  if (!BUCKET.test(bucket)) throw new Error('bucket must be the name of a bucket or container')
  const region = textField(row, 'region') ?? (type === 's3' ? '' : 'auto')
  if (!REGION.test(region)) throw new Error('region of an S3 store is missing, such as eu-west-1')
  const endpoint = readEndpoint(textField(row, 'endpoint'), type, region)
  return {
    ...{ type, bucket, endpoint, region },
    signEndpoint: readSignEndpoint(row, type),
    isPathStyle: readAddressing(row, type, bucket),
    caFile: pathField(row, 'caFile'),
    prefixes: readPrefixes(row.prefixes),
    urlMaxMs: readUrlMax(row.urlMax),
    uploadBytesMax: readUploadMax(row.uploadMax),
    mayOverwrite: choiceField(row, 'overwrite', ['refused', 'allowed'], 'refused') === 'allowed',
    ...readEncryption(row, type),
    credentialsFile: pathField(row, 'credentialsFile'),
    profile: readProfile(row, type),
  }
}

function readEndpoint(text: string | undefined, type: StoreType, region: string): URL {
  const defaults = {
    s3: `https://s3.${region}.amazonaws.com`,
    gcs: 'https://storage.googleapis.com',
    azure: undefined,
  }
  const written = text ?? defaults[type]
  if (written === undefined)
    throw new Error('endpoint is missing: https://ACCOUNT.blob.core.windows.net')
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url?.protocol !== 'https:') throw new Error('endpoint must be https://host[:port]')
  const isBare = url.search === '' && url.hash === '' && url.username === '' && url.password === ''
  // Some hosts of Azure Blob have the account in the path.
  const isRoot =
    url.pathname === '/' || (type === 'azure' && /^\/[a-z0-9]{3,24}\/?$/.test(url.pathname))
  if (!isBare || !isRoot) throw new Error('endpoint has nothing behind host and port')
  return url
}

function readSignEndpoint(row: Row, type: StoreType): URL {
  if (row.signEndpoint !== undefined && type !== 'gcs')
    throw new Error('signEndpoint belongs to gcs')
  const endpoint = row.signEndpoint ?? 'https://iamcredentials.googleapis.com'
  return backendUrl({ signEndpoint: endpoint }, 'signEndpoint')
}

function readAddressing(row: Row, type: StoreType, bucket: string): boolean {
  if (type !== 's3') {
    if (row.addressing !== undefined) throw new Error('addressing belongs to stores of type s3')
    return true
  }
  // A wildcard certificate covers one label: a bucket with dots has no name of its own.
  const usual = row.endpoint === undefined && !bucket.includes('.') ? 'virtual' : 'path'
  return choiceField(row, 'addressing', ['virtual', 'path'], usual) === 'path'
}

function readPrefixes(value: unknown): ReadonlyMap<StoredType, readonly string[]> {
  const form =
    'prefixes must say for one type at least which keys hold it, such as { task-io: [runs/] }'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(form)
  const found = new Map<StoredType, readonly string[]>()
  for (const [name, list] of Object.entries(value as Row)) {
    const type = STORED_TYPES.find((one) => one === name)
    if (type === undefined)
      throw new Error(`prefixes: ${JSON.stringify(name)} must be one of ${STORED_TYPES.join(', ')}`)
    if (!Array.isArray(list) || list.length === 0) throw new Error(form)
    found.set(
      type,
      list.map((prefix) => readPrefix(prefix)),
    )
  }
  if (found.size === 0) throw new Error(form)
  return found
}

function readPrefix(value: unknown): string {
  if (typeof value !== 'string' || !value.endsWith('/'))
    throw new Error(
      `prefix ${JSON.stringify(value)} must end with a slash: without one it would cover names that only begin alike`,
    )
  const fault = faultOf(value)
  if (fault !== undefined) throw new Error(`prefix ${JSON.stringify(value)} ${fault}`)
  return value
}

function readUrlMax(value: unknown): number {
  const ms = parseDuration(value ?? '15m')
  if (ms >= 1000 && ms <= HOUR_MS) return ms
  throw new Error('urlMax must be from 1s to 1h')
}

function readUploadMax(value: unknown): number {
  const bytes = parseBytes(value ?? '5GiB')
  if (bytes >= 1 && bytes <= UPLOAD_BYTES_MAX) return bytes
  throw new Error('uploadMax must be from 1B to 5GiB')
}

function readEncryption(row: Row, type: StoreType): Pick<StoreRow, 'encryption' | 'encryptionKey'> {
  const encryptionKey = textField(row, 'encryptionKey')
  if (encryptionKey !== undefined && !/^[\x21-\x7e]{1,512}$/.test(encryptionKey))
    throw new Error('encryptionKey must be the name of a key')
  if (type !== 's3') {
    if (row.encryption !== undefined) throw new Error('encryption belongs to stores of type s3')
    return { encryption: undefined, encryptionKey }
  }
  const { encryption } = row
  if (encryption !== undefined && encryption !== 'AES256' && encryption !== 'aws:kms')
    throw new Error('encryption must be AES256 or aws:kms')
  if (encryptionKey !== undefined && encryption !== 'aws:kms')
    throw new Error('encryptionKey belongs to encryption: aws:kms')
  return { encryption, encryptionKey }
}

function readProfile(row: Row, type: StoreType): string | undefined {
  const profile = textField(row, 'profile')
  if (profile !== undefined && type !== 's3')
    throw new Error('profile belongs to stores of type s3')
  return profile
}

/** Formats the row of a store for display. */
export function showStore({ endpoint, signEndpoint, prefixes, ...row }: StoreRow): object {
  const gcs = row.type === 'gcs' ? { signEndpoint: signEndpoint.href } : {}
  return { ...row, ...gcs, endpoint: endpoint.href, prefixes: Object.fromEntries(prefixes) }
}
