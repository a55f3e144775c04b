import { fromBinary, fromJsonString, toBinary, toJsonString, create } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { PosternError, printable } from '../../base/errors.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { EventQueue } from '../../dataplane/events/events.ts'
import {
  Events,
  PostRequestSchema,
  PostResponseSchema,
} from '../../gen/postern/dataplane/v1/events_pb.js'
import { asRpcError, statusNumber, type StatusName } from '../../rpc/status.ts'
import { LocalHttp, type LocalAnswer, type LocalCall } from '../../transport/local-http.ts'
import type { Openers } from '../../transport/local-socket.ts'

const PATH = `/${Events.typeName}/${Events.method.post.name}`
const TEXT_MAX = 300
/** Each post may cost time: no workload has all of the agent's. */
const POSTS_PER_SECOND = 100
const POSTS_BURST = 300
const BYTES_PER_SECOND = 2 * 1024 * 1024
const BYTES_BURST = 8 * 1024 * 1024
/** connectrpc.com/docs/protocol, "Error codes". */
const HTTP: Partial<Record<StatusName, number>> = {
  INVALID_ARGUMENT: 400,
  RESOURCE_EXHAUSTED: 429,
  UNIMPLEMENTED: 404,
}

/** Makes the socket where workloads post events. */
export function localEvents(
  path: string,
  openers: Openers,
  queue: EventQueue,
  clock: Clock,
): LocalHttp {
  const rate = new TokenBucket(POSTS_PER_SECOND, POSTS_BURST)
  const bytes = new TokenBucket(BYTES_PER_SECOND, BYTES_BURST)
  return new LocalHttp(path, openers, clock, (call) => {
    try {
      const nowMs = clock.nowMs()
      if (!rate.spend(nowMs) || !bytes.spend(nowMs, call.body.length))
        throw new PosternError('EVENTS_FULL', 'posts come faster than they are taken')
      return good(post(call, queue), call)
    } catch (error) {
      return bad(error)
    }
  })
}

function post({ path, form, body }: LocalCall, queue: EventQueue): number {
  if (path !== PATH) throw new Refused('UNIMPLEMENTED', `here is ${PATH} alone`)
  let request
  try {
    request =
      form === 'json'
        ? fromJsonString(PostRequestSchema, body.toString())
        : fromBinary(PostRequestSchema, body, { readUnknownFields: false })
  } catch (error) {
    throw new Refused('INVALID_ARGUMENT', `it is no PostRequest: ${(error as Error).message}`)
  }
  queue.post(request.events)
  return request.events.length
}

class Refused extends Error {
  readonly status: StatusName

  constructor(status: StatusName, message: string) {
    super(message)
    this.status = status
  }
}

function good(accepted: number, { form }: LocalCall): LocalAnswer {
  const message = create(PostResponseSchema, { accepted })
  const body =
    form === 'json'
      ? Buffer.from(`${toJsonString(PostResponseSchema, message)}\n`)
      : Buffer.from(toBinary(PostResponseSchema, message))
  return { status: 0, http: 200, body, message: '' }
}

function bad(error: unknown): LocalAnswer {
  const { status, message } = error instanceof Refused ? error : saidOf(error)
  const text = printable(message, TEXT_MAX)
  return {
    status: statusNumber(status),
    http: HTTP[status] ?? 500,
    body: Buffer.alloc(0),
    message: text,
  }
}

function saidOf(error: unknown): { readonly status: StatusName; readonly message: string } {
  const { status, rawMessage } = asRpcError(error)
  return { status, message: rawMessage }
}
