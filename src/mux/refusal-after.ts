import { PosternError } from '../base/errors.ts'
import type { GoAway } from '../wire/goaway.ts'

/** Why a session takes no new streams: what the peer has against us, where that is why it goes. */
export function refusalAfter(goAway: GoAway | undefined): PosternError {
  if (goAway === undefined || goAway.code === 'SHUTDOWN' || goAway.code === 'GOING_AWAY')
    return new PosternError('GOING_AWAY', 'the session takes no new streams')
  return new PosternError(goAway.code, `the peer says: ${goAway.text}`)
}
