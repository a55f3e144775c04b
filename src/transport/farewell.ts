import type { TLSSocket } from 'node:tls'
import type { ErrorCode, PosternError } from '../base/errors.ts'
import { ignoreErrors } from './edge.ts'
import { FrameWriter } from '../wire/frame-writer.ts'
import { writeGoAway } from '../wire/goaway.ts'
import { VERSION_MAX, VERSION_MIN, writeHello } from '../wire/hello.ts'

/** Refusals that come after the chain was verified: who is refused may know why. */
const TOLD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CERT_LEAF_RULES',
  'IDENTITY_ROLE',
  'IDENTITY_TRUST_DOMAIN',
  'IDENTITY_REVOKED',
  'CLUSTER_LOCKED',
  'CA_RETIRED',
  'SEAL_REFUSED',
  'HANDSHAKE_LIMIT',
  'BUDGET_EXHAUSTED',
  'STREAM_LIMIT',
])
const FAREWELL_MS = 1000

/** Closes a connection: a peer whose chain was verified, and who speaks our protocol, is told the reason. */
export function dismiss(socket: TLSSocket, error: PosternError): void {
  ignoreErrors(socket)
  if (!TOLD.has(error.code)) {
    socket.destroy()
    return
  }
  socket.setTimeout(FAREWELL_MS, () => socket.destroy())
  socket.end(farewell(error), () => socket.destroySoon())
  socket.resume()
}

/**
 * The two frames that tell a peer why it is refused, once TLS is up: without them it would see a
 * closed connection and try again for ever. Nothing of the peer's is read.
 */
export function farewell(error: PosternError): Buffer {
  const writer = new FrameWriter()
  const nothing = { features: 0n, streamsMax: 0, sessionCredit: 0, streamCredit: 0 }
  writeHello(writer, { versionMin: VERSION_MIN, versionMax: VERSION_MAX, ...nothing })
  const goAway = { lastId: 0, code: error.code, reconnectAfterMs: 0, alternates: [] }
  writeGoAway(writer, { ...goAway, text: error.rawMessage })
  return writer.take()
}
