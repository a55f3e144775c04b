import { PosternError } from '../base/errors.ts'

/** What a gateway says of a caller beside its name (PROTOCOL 6.7). */
export interface HeadExtras {
  /** Region in the caller's certificate; empty: it has none. */
  readonly callerRegion: string
}

const TYPE_CALLER_REGION = 1
const REGION = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const NONE: HeadExtras = { callerRegion: '' }
const EMPTY = Buffer.alloc(0)

/** Encodes extras as they stand in a head: type (1), length (1), value, repeated. Empty where there is nothing to say. */
export function encodeExtras({ callerRegion }: HeadExtras): Buffer {
  if (callerRegion === '') return EMPTY
  const value = Buffer.from(callerRegion, 'latin1')
  return Buffer.concat([Buffer.from([TYPE_CALLER_REGION, value.length]), value])
}

/** Decodes extras from `start` to `end`. Types that are not known are ignored. @throws MALFORMED_CALL */
export function decodeExtras(bytes: Buffer, start: number, end: number): HeadExtras {
  if (start === end) return NONE
  let callerRegion = ''
  let at = start
  while (at < end) {
    const [type = 0, count = 0] = [bytes[at], bytes[at + 1]]
    const valueAt = at + 2
    at = valueAt + count
    if (at > end) throw malformed('end before their last value')
    if (type !== TYPE_CALLER_REGION) continue
    callerRegion = bytes.toString('latin1', valueAt, at)
    if (!REGION.test(callerRegion)) throw malformed('name a region that can be none')
  }
  return { callerRegion }
}

function malformed(how: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the extras of the head ${how}`)
}
