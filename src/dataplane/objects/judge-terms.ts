import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { rpcErrorOfCode, type RpcError } from '../../rpc/status.ts'
import type {
  Checksum as ChecksumMessage,
  CreateUploadUrlRequest,
  UploadPart,
  WrittenPart as WrittenPartMessage,
} from '../../gen/postern/dataplane/v1/object_store_pb.js'
import {
  UPLOAD_ID,
  type Checksum,
  type Life,
  type Part,
  type StoreBackend,
  type Upload,
  type WrittenPart,
} from './store-backend.ts'
import type { StoreRow } from '../store-row.ts'

const CALL_PARTS_MAX = 100
const PARTS_MAX = 10_000
const SUM_BYTES = { sha256: 32, md5: 16, crc32c: 4 } as const
const CONTENT_TYPE = /^[\x21-\x7e][\x20-\x7e]{0,126}[\x21-\x7e]$/
const ETAG = /^[\x21-\x7e]{1,256}$/
const DEFAULT_TYPE = 'application/octet-stream'

/** How long a URL may live that is asked for now. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeLife(seconds: number, { urlMaxMs }: StoreRow, nowMs: number): Life {
  const most = Math.floor(urlMaxMs / 1000)
  if (seconds > most) throw refused(`its URLs live ${String(most)} seconds at most`)
  return { fromMs: nowMs, seconds: seconds === 0 ? most : seconds }
}

/** When a URL expires, as a message has it. */
export function endOf({ fromMs, seconds }: Life): Timestamp {
  return timestampFromMs(fromMs + seconds * 1000)
}

/** What is to be written in one go. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeUpload(
  { length, checksum, contentType }: CreateUploadUrlRequest,
  row: StoreRow,
  backend: StoreBackend,
): Upload {
  return {
    length: judgeLength(length, row),
    checksum: judgeSum(checksum, backend),
    contentType: judgeContentType(contentType),
  }
}

/** The parts that are to be written. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeParts(
  { parts, length, checksum, uploadId }: CreateUploadUrlRequest,
  row: StoreRow,
  backend: StoreBackend,
): readonly Part[] {
  if (length !== 0n || checksum !== undefined)
    throw refused(
      'an upload in parts has a length and a checksum for each part, and none beside them',
    )
  if (parts.length > CALL_PARTS_MAX)
    throw refused(
      `one call names ${String(CALL_PARTS_MAX)} parts at most: name the rest with upload_id`,
    )
  if (uploadId !== '') judgeUploadId(uploadId)
  if (!row.mayOverwrite && backend.partsReplace !== undefined) throw refused(backend.partsReplace)
  const judged = parts.map((part) => judgePart(part, row, backend))
  if (new Set(judged.map(({ number }) => number)).size !== judged.length)
    throw refused('a part stands twice')
  if (new Set(judged.map(({ checksum: { algorithm } }) => algorithm)).size > 1)
    throw refused('the parts of one upload have checksums of one kind')
  return judged
}

/** The parts that were written, in their order. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeWritten(
  parts: readonly WrittenPartMessage[],
  backend: StoreBackend,
): readonly WrittenPart[] {
  if (parts.length === 0 || parts.length > PARTS_MAX)
    throw refused(`an object is made of 1 to ${String(PARTS_MAX)} parts`)
  const written = parts.map(({ number, etag, checksum }) => {
    judgeNumber(number)
    if (!ETAG.test(etag) && !(etag === '' && backend.checksums.length === 1))
      throw refused(`part ${String(number)} lacks the etag that the store answered with`)
    return { number, etag, checksum: checksum && judgeSum(checksum, backend) }
  })
  const sorted = written.toSorted((a, b) => a.number - b.number)
  if (sorted.some(({ number }, i) => number === sorted[i + 1]?.number))
    throw refused('a part stands twice')
  return sorted
}

/** The id of an upload that has begun. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeUploadId(uploadId: string): string {
  if (UPLOAD_ID.test(uploadId)) return uploadId
  throw refused('upload_id is none that CreateUploadUrl gave')
}

/** A media type; the usual one where it is empty. @throws RpcError UPLOAD_TERMS_REFUSED */
export function judgeContentType(contentType: string): string {
  if (contentType === '') return DEFAULT_TYPE
  if (CONTENT_TYPE.test(contentType)) return contentType
  throw refused('content_type must be a media type of at most 128 printable characters')
}

function judgePart(
  { number, length, checksum }: UploadPart,
  row: StoreRow,
  backend: StoreBackend,
): Part {
  judgeNumber(number)
  return { number, length: judgeLength(length, row), checksum: judgeSum(checksum, backend) }
}

function judgeNumber(number: number): void {
  if (number < 1 || number > PARTS_MAX)
    throw refused(`parts have numbers from 1 to ${String(PARTS_MAX)}`)
}

function judgeLength(length: bigint, { uploadBytesMax }: StoreRow): number {
  if (length <= BigInt(uploadBytesMax)) return Number(length)
  throw refused(`it takes ${String(uploadBytesMax)} bytes at once at most`)
}

function judgeSum(checksum: ChecksumMessage | undefined, { checksums }: StoreBackend): Checksum {
  const { case: algorithm, value } = checksum?.value ?? { case: undefined }
  if (algorithm === undefined)
    throw refused(`checksum is missing: the store takes ${checksums.join(', ')}`)
  if (!checksums.includes(algorithm))
    throw refused(`the store takes no ${algorithm}, but ${checksums.join(', ')}`)
  const bytes = SUM_BYTES[algorithm]
  if (value.length !== bytes) throw refused(`${algorithm} has ${String(bytes)} bytes`)
  return { algorithm, value }
}

function refused(why: string): RpcError {
  return rpcErrorOfCode('UPLOAD_TERMS_REFUSED', why)
}
