import { PosternError } from '../base/errors.ts'

/** What a gateway says of a caller beside its name (PROTOCOL 6.7). */
export interface HeadExtras {
  /** Region in the caller's certificate; empty: it has none. */
  readonly callerRegion: string
  /** Who vouches for the caller's name by a token; empty: its certificate does. */
  readonly callerIssuer: string
}

const TYPE_CALLER_REGION = 1
const TYPE_CALLER_ISSUER = 2
const REGION = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const ISSUER = /^[\x21-\x7e]{1,255}$/
const NONE: HeadExtras = { callerRegion: '', callerIssuer: '' }
const EMPTY = Buffer.alloc(0)

/** Encodes extras as they stand in a head: type (1), length (1), value, repeated. Empty where there is nothing to say. */
export function encodeExtras({
  callerRegion = '',
  callerIssuer = '',
}: Partial<HeadExtras>): Buffer {
  if (callerRegion === '' && callerIssuer === '') return EMPTY
  const entry = (type: number, text: string): Buffer =>
    text === ''
      ? EMPTY
      : Buffer.concat([Buffer.from([type, text.length]), Buffer.from(text, 'latin1')])
  return Buffer.concat([
    entry(TYPE_CALLER_REGION, callerRegion),
    entry(TYPE_CALLER_ISSUER, callerIssuer),
  ])
}

/** Decodes extras from `start` to `end`. Types that are not known are ignored. @throws MALFORMED_CALL */
export function decodeExtras(bytes: Buffer, start: number, end: number): HeadExtras {
  if (start === end) return NONE
  let callerRegion = ''
  let callerIssuer = ''
  let at = start
  while (at < end) {
    const [type = 0, count = 0] = [bytes[at], bytes[at + 1]]
    const valueAt = at + 2
    at = valueAt + count
    if (at > end) throw malformed('end before their last value')
    if (type === TYPE_CALLER_REGION) {
      callerRegion = bytes.toString('latin1', valueAt, at)
      if (!REGION.test(callerRegion)) throw malformed('name a region that can be none')
    } else if (type === TYPE_CALLER_ISSUER) {
      callerIssuer = bytes.toString('latin1', valueAt, at)
      if (!ISSUER.test(callerIssuer)) throw malformed('name an issuer of tokens that can be none')
    }
  }
  return { callerRegion, callerIssuer }
}

function malformed(how: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the extras of the head ${how}`)
}
