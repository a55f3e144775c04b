import type { IncomingMessage } from 'node:http'
import { text, type HttpResponse } from './http-answer.ts'
import { on, once } from './edge.ts'

const BODY_BYTES_MAX = 64 * 1024
const PATH_CHARS_MAX = 1024

/** The client hung up in the middle of a request: nobody's error. */
export class CutOff extends Error {}

/**
 * How long the body will be, from the head alone: announced, and not more than is taken. A body in chunks
 * has no length to judge. Returns the answer where it is refused (RFC 9112 section 6.1, RFC 9110 section 15.5).
 */
export function bodyLength({ headers }: IncomingMessage): number | HttpResponse {
  const coding = headers['transfer-encoding']
  if (coding !== undefined)
    return coding.trim().toLowerCase() === 'chunked'
      ? text(411, 'say Content-Length: a body in chunks is not taken')
      : text(501, 'no transfer coding is known here')
  const length = Number(headers['content-length'] ?? '0')
  return length <= BODY_BYTES_MAX
    ? length
    : text(413, `a body has at most ${String(BODY_BYTES_MAX)} bytes`)
}

/** Reads a body into one buffer of the announced length. @throws CutOff */
export function readBody(request: IncomingMessage, length: number): Promise<Buffer> {
  const body = Buffer.alloc(length)
  let at = 0
  return new Promise((resolve, reject) => {
    on(request, 'data', (piece: Buffer) => {
      at += piece.copy(body, at)
    })
    once(request, 'end', () => {
      if (at === length) resolve(body)
      else reject(new CutOff())
    })
    const onCut = (): void => {
      reject(new CutOff())
    }
    once(request, 'error', onCut)
    once(request, 'close', onCut)
  })
}

/** The path of a request's target, in origin or absolute form (RFC 9112 section 3.2), without its query. */
export function pathOf(target: string): string | undefined {
  if (target.length > PATH_CHARS_MAX) return undefined
  if (target.startsWith('/')) return target.split('?')[0]
  const url = URL.parse(target)
  return url?.protocol === 'https:' ? url.pathname : undefined
}
