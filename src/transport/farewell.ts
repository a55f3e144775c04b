import { PosternError } from '../base/errors.ts'
import { FrameWriter } from '../wire/frame-writer.ts'
import { writeGoAway } from '../wire/goaway.ts'
import { VERSION_MAX, VERSION_MIN, writeHello } from '../wire/hello.ts'

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
