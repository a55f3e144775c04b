import type { IncomingMessage } from 'node:http'

/** A response is longer than its reader takes. */
export class TooLong extends Error {
  constructor(bytesMax: number) {
    super(`the answer has more than ${String(bytesMax)} bytes`)
  }
}

/**
 * Reads the body of a response to its end, or to its bound. `whenLonger`: what becomes of one with more than `bytesMax`
 * bytes; either way the connection is closed then. @throws TooLong, and what the connection ends with
 */
export async function readResponse(
  response: IncomingMessage,
  bytesMax: number,
  whenLonger: 'cut' | 'fail' = 'fail',
): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length
    pieces.push(piece)
    if (bytes <= bytesMax) continue
    response.destroy()
    if (whenLonger === 'fail') throw new TooLong(bytesMax)
    break
  }
  return Buffer.concat(pieces).subarray(0, bytesMax)
}
