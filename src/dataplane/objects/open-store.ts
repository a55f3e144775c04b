import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import { awsCredentials } from '../aws-credentials.ts'
import { azureIdentity } from '../azure-credentials.ts'
import { GoogleCredentials } from '../google-credentials.ts'
import type { AzureCredentials } from './azure-store.ts'
import type { StoreBackend } from './store-backend.ts'
import type { StoreRow } from '../store-row.ts'

const GCS_SCOPES = [
  'https://www.googleapis.com/auth/devstorage.read_write',
  'https://www.googleapis.com/auth/iam',
]

/** The clock and chance that stores are opened with. */
export interface StorePorts {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly random: Pick<Random, 'hex'>
}

/** Judges the files that a store names. @throws FILE_UNREADABLE, KEY_EXPOSED */
export function judgeStoreFiles({ caFile, credentialsFile }: StoreRow): void {
  caOf(caFile)
  if (credentialsFile !== undefined) readSecretFile(credentialsFile)
}

/** Opens a store with its provider's own library, which is read for that. @throws FILE_UNREADABLE, KEY_EXPOSED */
export async function openStore(row: StoreRow, ports: StorePorts): Promise<StoreBackend> {
  judgeStoreFiles(row)
  const caPem = caOf(row.caFile)
  switch (row.type) {
    case 's3':
      return await openS3(row, ports, caPem)
    case 'gcs':
      return await openGcs(row, caPem)
    case 'azure':
      return await openAzure(row, ports, caPem)
  }
}

async function openS3(
  row: StoreRow,
  { clock }: StorePorts,
  caPem: string | undefined,
): Promise<StoreBackend> {
  const { S3Store } = await import('./s3-store.ts')
  const credentials = await awsCredentials(row)
  return new S3Store(row, { clock, credentials, caPem })
}

async function openGcs(row: StoreRow, caPem: string | undefined): Promise<StoreBackend> {
  const { GcsStore } = await import('./gcs-store.ts')
  return new GcsStore(row, await GoogleCredentials.open(row.credentialsFile, GCS_SCOPES), caPem)
}

async function openAzure(
  row: StoreRow,
  { clock, random }: StorePorts,
  caPem: string | undefined,
): Promise<StoreBackend> {
  const { AzureStore } = await import('./azure-store.ts')
  return new AzureStore(row, { clock, random, credentials: await azureCredentials(row), caPem })
}

/** The key of the account where a file holds it, else what the platform gives: a federated identity, or a managed one. */
async function azureCredentials({
  credentialsFile,
  endpoint,
}: StoreRow): Promise<AzureCredentials> {
  if (credentialsFile !== undefined) {
    const { StorageSharedKeyCredential } = await import('@azure/storage-blob')
    const key = readSecretFile(credentialsFile).trim()
    const [account = ''] = endpoint.hostname.split('.')
    // On hosts without the account's name it stands in the path.
    const inPath = endpoint.pathname.split('/')[1] ?? ''
    return new StorageSharedKeyCredential(inPath === '' ? account : inPath, key)
  }
  return await azureIdentity()
}

function caOf(caFile: string | undefined): string | undefined {
  return caFile === undefined ? undefined : readPublicFile(caFile)
}
