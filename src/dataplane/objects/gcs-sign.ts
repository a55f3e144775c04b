import { createHash } from 'node:crypto'
import { encoded, encodedPath } from './xml-parts.ts'

const ALGORITHM = 'GOOG4-RSA-SHA256'

/** What a URL of GCS is to allow. */
export interface GcsRequest {
  readonly method: string
  /** Host, with its port where that is not the usual one. */
  readonly host: string
  /** Bucket, slash and key. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** Names of lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** E-mail address of the service account. */
  readonly account: string
  /** In wall-clock ms. */
  readonly fromMs: number
  readonly seconds: number
}

/**
 * Makes a signed URL by the V4 signing process of GCS (cloud.google.com/storage/docs/authentication/canonical-requests), with what
 * `sign` returns: the RSA signature with SHA-256 over a text, in base64.
 */
export async function signGcsUrl(
  request: GcsRequest,
  sign: (text: string) => Promise<string>,
): Promise<string> {
  const { method, host, path, query, headers, account, fromMs, seconds } = request
  const date = `${new Date(fromMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
  const scope = `${date.slice(0, 8)}/auto/storage/goog4_request`
  const all = Object.entries({ host, ...headers }).sort(([a], [b]) => (a < b ? -1 : 1))
  const names = all.map(([name]) => name).join(';')
  const pairs = Object.entries({
    ...query,
    'X-Goog-Algorithm': ALGORITHM,
    'X-Goog-Credential': `${account}/${scope}`,
    'X-Goog-Date': date,
    'X-Goog-Expires': String(seconds),
    'X-Goog-SignedHeaders': names,
  }).map(([name, value]) => [encoded(name), encoded(value)] as const)
  const canonicalQuery = pairs
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
  const canonicalHeaders = all.map(([name, value]) => `${name}:${value.trim()}\n`).join('')
  const canonicalPath = `/${encodedPath(path)}`
  const canonical = [
    method,
    canonicalPath,
    canonicalQuery,
    canonicalHeaders,
    names,
    'UNSIGNED-PAYLOAD',
  ]
  const hash = createHash('sha256').update(canonical.join('\n')).digest('hex')
  const signature = await sign([ALGORITHM, date, scope, hash].join('\n'))
  const hex = Buffer.from(signature, 'base64').toString('hex')
  return `https://${host}${canonicalPath}?${canonicalQuery}&X-Goog-Signature=${hex}`
}
