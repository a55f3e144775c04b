import { SECRETS_TYPES, type SecretsRow } from '../dataplane/secrets-row.ts'
import { backendUrl } from './backend-url.ts'
import { nameField, pathField, textField, type Row } from './row-fields.ts'
import { rowFields } from './setting.ts'

const FIELDS = {
  files: ['directory', 'recipient'],
  kubernetes: ['namespace', 'url', 'caFile', 'tokenFile'],
  vault: ['url', 'mount', 'prefix', 'caFile', 'tokenFile', 'plaintext'],
  aws: [
    'region',
    'endpoint',
    'prefix',
    'caFile',
    'kmsKey',
    'credentialsFile',
    'profile',
    'plaintext',
  ],
  gcp: ['project', 'endpoint', 'prefix', 'caFile', 'credentialsFile', 'plaintext'],
  azure: ['url', 'prefix', 'caFile', 'plaintext'],
} as const
const RECIPIENT = /^age1(?:pq1)?[02-9ac-hj-np-z]{58,4000}$/
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const REGION = /^[a-z0-9-]{1,40}$/
const PREFIX = /^(?:[A-Za-z0-9_.-]+\/)*$/
const PROJECT = /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/
const FLAT_PREFIX = /^(?:[A-Za-z0-9]+-)*$/
const POD = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Reads one row of `secrets`. Throws a plain Error for the loader to place. */
export function readSecrets(row: Row): SecretsRow {
  const name = nameField(row)
  const type = SECRETS_TYPES.find((one) => one === row.type)
  if (type === undefined)
    throw new Error(`secrets ${name}: type must be one of ${SECRETS_TYPES.join(', ')}`)
  try {
    rowFields(row, ['name', 'type', ...FIELDS[type]])
    return READERS[type](name, row)
  } catch (error) {
    throw new Error(`secrets ${name}: ${(error as Error).message}`, { cause: error })
  }
}

const READERS: Readonly<Record<SecretsRow['type'], (name: string, row: Row) => SecretsRow>> = {
  files: (name, row) => ({
    ...{ name, type: 'files' },
    directory: needed(pathField(row, 'directory'), 'directory'),
    recipient: matching(row, 'recipient', RECIPIENT, 'age1..., as age-keygen -y prints it'),
  }),
  kubernetes: (name, row) => ({
    ...{ name, type: 'kubernetes' },
    namespace: matching(row, 'namespace', NAMESPACE, 'the name of a namespace'),
    url: backendUrl({ ...row, url: row.url ?? 'https://kubernetes.default.svc' }),
    caFile: pathField(row, 'caFile') ?? `${POD}/ca.crt`,
    tokenFile: pathField(row, 'tokenFile') ?? `${POD}/token`,
  }),
  vault: (name, row) => ({
    ...{ name, type: 'vault' },
    url: backendUrl(row),
    mount: matching(
      { mount: 'secret', ...row },
      'mount',
      /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/,
      'the path of a KV engine',
    ),
    prefix: prefixOf(row),
    caFile: pathField(row, 'caFile'),
    tokenFile: needed(pathField(row, 'tokenFile'), 'tokenFile'),
  }),
  aws: (name, row) => {
    const region = matching(row, 'region', REGION, 'a region such as eu-west-1')
    const endpoint = row.endpoint ?? `https://secretsmanager.${region}.amazonaws.com`
    return {
      ...{ name, type: 'aws', region },
      endpoint: backendUrl({ ...row, endpoint }, 'endpoint'),
      prefix: prefixOf(row),
      caFile: pathField(row, 'caFile'),
      kmsKey: textField(row, 'kmsKey'),
      credentialsFile: pathField(row, 'credentialsFile'),
      profile: textField(row, 'profile'),
    }
  },
  gcp: (name, row) => ({
    ...{ name, type: 'gcp' },
    project: matching(row, 'project', PROJECT, 'the id of a project'),
    endpoint: backendUrl({ endpoint: 'https://secretmanager.googleapis.com', ...row }, 'endpoint'),
    prefix: flatPrefixOf(row),
    caFile: pathField(row, 'caFile'),
    credentialsFile: pathField(row, 'credentialsFile'),
  }),
  azure: (name, row) => ({
    ...{ name, type: 'azure' },
    url: backendUrl(row),
    prefix: flatPrefixOf(row),
    caFile: pathField(row, 'caFile'),
  }),
}

function flatPrefixOf(row: Row): string {
  const prefix = row.prefix ?? 'postern-'
  if (typeof prefix === 'string' && FLAT_PREFIX.test(prefix)) return prefix
  throw new Error('prefix must be empty, or letters and digits that end with a hyphen')
}

function prefixOf(row: Row): string {
  const prefix = row.prefix ?? 'postern/'
  if (typeof prefix === 'string' && PREFIX.test(prefix)) return prefix
  throw new Error('prefix must be empty, or a path that ends with a slash')
}

function matching(row: Row, name: string, form: RegExp, words: string): string {
  const value = textField(row, name)
  if (value !== undefined && form.test(value)) return value
  throw new Error(`${name} must be ${words}`)
}

function needed<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`${name} is missing`)
  return value
}

/** Formats the row of a backend for display. */
export function showSecrets(row: SecretsRow): object {
  if (row.type === 'aws' || row.type === 'gcp') return { ...row, endpoint: row.endpoint.href }
  return row.type === 'files' ? row : { ...row, url: row.url.href }
}
