import { connect } from 'node:net'
import type { Address } from '../base/address.ts'
import { PosternError } from '../base/errors.ts'
import { once } from './edge.ts'

const MS_MAX = 10_000
/** Facility 13 (log audit), severity 6 (informational): RFC 5424, section 6.2.1. */
const PRIORITY = 13 * 8 + 6

/** Sends one message to a syslog server over TCP (RFC 5424, framed by RFC 6587, section 3.4.1). @throws DIAL_FAILED */
export async function sendSyslog(
  { host, port }: Address,
  id: string,
  text: string,
  at: string,
): Promise<void> {
  const message = `<${String(PRIORITY)}>1 ${at} - postern-agent - ${id} - ${text}`
  const socket = connect({ host, port, signal: AbortSignal.timeout(MS_MAX) })
  try {
    await new Promise<void>((resolve, reject) => {
      once(socket, 'error', reject)
      // What is closed on the other side after all was written has been taken.
      once(socket, 'close', resolve)
      socket.end(`${String(Buffer.byteLength(message))} ${message}`)
      socket.resume()
    })
  } catch (error) {
    const reason = `${host}:${String(port)}: ${(error as Error).message}`
    throw new PosternError('DIAL_FAILED', reason, {}, { cause: error })
  } finally {
    socket.destroy()
  }
}
