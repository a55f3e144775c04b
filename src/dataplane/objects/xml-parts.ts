import { PosternError } from '../../base/errors.ts'
import { askBackend, type BackendAnswer } from '../../transport/ask-backend.ts'
import { UPLOAD_ID, type StoredObject, type WrittenPart } from './store-backend.ts'

const OK = 200
const NO_CONTENT = 204
const ANSWER_BYTES_MAX = 64 * 1024
const LIST_MAX = 200
/** Keys have up to 1024 characters, and three bytes stand for one of theirs. */
const LIST_BYTES_MAX = 2 * 1024 * 1024
/** Making one object out of many parts can take a store minutes. */
const COMPLETE_MS_MAX = 300_000

/** A request to a store in the agent's own name. */
export interface StoreRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  /** Undefined: about the bucket. */
  readonly key: string | undefined
  readonly query: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Longest answer, in bytes. Default 64 KiB. */
  readonly bytesMax?: number
}

/** The URL and headers that a request goes with, once it is authorised. */
export interface Authorised {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
}

/** Asks a store that speaks the XML API of S3, as GCS does too. @throws BACKEND_UNREACHABLE, BACKEND_REFUSED */
export async function askStore(
  request: StoreRequest,
  { url, headers }: Authorised,
  caPem: string | undefined,
  signal: AbortSignal,
): Promise<BackendAnswer> {
  const { method, body, bytesMax = ANSWER_BYTES_MAX } = request
  const answer = await askBackend({
    ...{ url, method, headers, caPem, signal, bytesMax },
    ...(body === undefined ? {} : { body }),
    ...(method === 'POST' ? { msMax: COMPLETE_MS_MAX } : {}),
  })
  if (answer.status === OK || answer.status === NO_CONTENT) return answer
  throw refusedBy(answer)
}

/** The error for an answer that is none of success: its status, and the code that stores name it by. */
export function refusedBy({ status, body }: BackendAnswer): PosternError {
  const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(body.toString('latin1'))?.[1] ?? 'no code'
  const isUnknown = status === 401 || status === 403
  const text = `status ${String(status)}, ${code}`
  return new PosternError(isUnknown ? 'CREDENTIALS_MISSING' : 'BACKEND_REFUSED', text)
}

/** The id of an upload that has begun. @throws BACKEND_REFUSED */
export function uploadIdOf({ body }: BackendAnswer): string {
  const id = textIn(body, 'UploadId')
  if (id === undefined || !UPLOAD_ID.test(id))
    throw new PosternError('BACKEND_REFUSED', 'the store has named no upload')
  return id
}

/** What the parts of an upload are named by, to make one object of them. `checksumName`: the element of a part's checksum. */
export function completionXml(
  parts: readonly WrittenPart[],
  checksumName: (part: WrittenPart) => string | undefined,
): string {
  const items = parts.map((part) => {
    const name = checksumName(part)
    const sum =
      name === undefined || part.checksum === undefined
        ? ''
        : `<${name}>${Buffer.from(part.checksum.value).toString('base64')}</${name}>`
    const number = String(part.number)
    return `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(part.etag)}</ETag>${sum}</Part>`
  })
  return `<CompleteMultipartUpload>${items.join('')}</CompleteMultipartUpload>`
}

/** The ETag of an object that was made of parts: a store may say 200 and then that it failed. @throws BACKEND_REFUSED */
export function completedEtag(answer: BackendAnswer): string {
  const etag = textIn(answer.body, 'ETag')
  if (answer.body.includes('<Error>') || etag === undefined) throw refusedBy(answer)
  return etag
}

/** The request for a list of objects, which S3 and GCS answer alike (ListObjectsV2). */
export function listRequest(prefix: string, after: string): StoreRequest {
  const query = {
    ...{ 'list-type': '2', 'encoding-type': 'url', 'max-keys': String(LIST_MAX), prefix },
    ...(after === '' ? {} : { 'start-after': after }),
  }
  return { method: 'GET', key: undefined, query, bytesMax: LIST_BYTES_MAX }
}

/** The objects of such an answer. */
export function listedObjects({ body }: BackendAnswer): StoredObject[] {
  const all = body.toString().matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)
  return [...all].flatMap(([, text = '']): StoredObject[] => {
    const field = (name: string): string =>
      new RegExp(`<${name}>([^<]{0,4096})</${name}>`).exec(text)?.[1] ?? ''
    const [key, modifiedMs] = [decodedKey(field('Key')), Date.parse(field('LastModified'))]
    if (key === undefined || Number.isNaN(modifiedMs)) return []
    return [{ key, size: Number(field('Size')), modifiedMs }]
  })
}

function decodedKey(text: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // No key that a client could ask for.
    return undefined
  }
}

function textIn(body: Buffer, element: string): string | undefined {
  const found = new RegExp(`<${element}>([^<]{1,2048})</${element}>`).exec(body.toString())?.[1]
  return found
    ?.replaceAll('&quot;', '"')
    .replaceAll('&#34;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** A path as it stands in URLs: each byte encoded but the unreserved ones of RFC 3986 and the slash. */
export function encodedPath(path: string): string {
  return path.split('/').map(encoded).join('/')
}

/** A text as it stands in a query: each byte encoded but the unreserved ones of RFC 3986. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
