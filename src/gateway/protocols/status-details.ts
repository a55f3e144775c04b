import { fromBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import type { Metadata } from '../../wire/metadata.ts'

/** Field that holds a `google.rpc.Status` (github.com/googleapis/googleapis, google/rpc/status.proto) in base64. */
const FIELD = 'grpc-status-details-bin'
const DETAILS = 3
const DETAILS_MAX = 64

/** One detail of an error, as Connect tells it. */
export interface ErrorDetail {
  /** Full name of the message. */
  readonly type: string
  /** The message, in base64 without padding. */
  readonly value: string
}

/** Reads the details that come with the status of gRPC; what is none is left out. */
export function errorDetails(metadata: Metadata): ErrorDetail[] {
  const said = metadata[FIELD]
  if (said === undefined) return []
  try {
    return detailsIn(Buffer.from(said, 'base64'))
  } catch {
    // The service behind the agent said what cannot be decoded: the status stands by itself.
    return []
  }
}

function detailsIn(bytes: Buffer): ErrorDetail[] {
  const reader = new BinaryReader(bytes)
  const details: ErrorDetail[] = []
  while (reader.pos < reader.len && details.length < DETAILS_MAX) {
    const [field, type] = reader.tag()
    if (field !== DETAILS || type !== WireType.LengthDelimited) {
      reader.skip(type, field)
      continue
    }
    const { typeUrl, value } = fromBinary(AnySchema, reader.bytes())
    const base64 = Buffer.from(value).toString('base64').replace(/=+$/, '')
    details.push({ type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1), value: base64 })
  }
  return details
}
