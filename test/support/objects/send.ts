import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'

/** A request as whoever has a presigned URL sends it. */
export interface Sent {
  readonly url: string
  readonly method: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

/** Sends a request over TLS, and returns what was answered. */
export async function send(
  { url, method, headers = {}, body }: Sent,
  caFile: string,
): Promise<{ status: number; body: Buffer; etag: string }> {
  const call = request(url, { method, headers, ca: readFileSync(caFile), agent: false })
  call.end(body)
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  const pieces: Buffer[] = []
  for await (const piece of response) pieces.push(piece as Buffer)
  const { etag = '' } = response.headers
  return { status: response.statusCode ?? 0, body: Buffer.concat(pieces), etag }
}
