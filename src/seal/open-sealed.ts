import { asPosternError, PosternError } from '../base/errors.ts'
import { refuseStreams } from '../mux/session-owner.ts'
import type { RpcChannel } from '../rpc/channel.ts'
import { sealedDial, type SealedEnd } from '../transport/sealed-tls.ts'
import { RpcConnection, type ProcessParts } from '../tunnel/rpc-connection.ts'
import { StreamDuplex } from './stream-duplex.ts'

/** Bytes that may come before the other end is judged. */
const HANDSHAKE_BYTES_MAX = 32 * 1024

/** The values and collaborators that `openSealed` is given. */
export interface OpenSealedPorts {
  /** Calls to the cluster, over the connection to its gateway. */
  readonly channel: RpcChannel
  readonly cluster: string
  readonly end: SealedEnd
  readonly process: ProcessParts
  /** Longest time until the agent's hello, in ms. */
  readonly timeoutMs: number
}

/**
 * Opens a session of its own with an agent of a cluster, inside a stream that its gateway passes on and cannot read.
 * @throws SEAL_REFUSED, DIAL_TIMEOUT, and what the stream was refused with
 */
export async function openSealed(ports: OpenSealedPorts): Promise<RpcConnection> {
  const { channel, cluster, end, process, timeoutMs } = ports
  const carrier = new StreamDuplex(HANDSHAKE_BYTES_MAX)
  const { clock } = process.runtime
  const late = new PosternError(
    'DIAL_TIMEOUT',
    'the agent did not answer the sealed session in time',
  )
  const cancel = clock.startTimer(timeoutMs, () => {
    carrier.destroy(late)
  })
  try {
    carrier.attach(channel.sealed(carrier))
    const wire = await sealedDial(carrier, end, `cluster ${cluster}`)
    carrier.lift()
    return await ready(wire, process)
  } catch (error) {
    carrier.destroy()
    const found = asPosternError(error)
    // What was said of the stream is a better witness than a handshake that broke off.
    throw found.code === 'CONNECTION_LOST' ? (carrier.reason ?? found) : found
  } finally {
    cancel()
  }
}

function ready(
  wire: ConstructorParameters<typeof RpcConnection>[0],
  process: ProcessParts,
): Promise<RpcConnection> {
  return new Promise((resolve, reject) => {
    new RpcConnection(wire, 'dialer', process, {
      streams: refuseStreams('a caller serves nothing'),
      // Who refuses us says so right behind its hello.
      onReady: (connection) => {
        process.runtime.clock.soon(() => {
          resolve(connection)
        })
      },
      onDrained: (connection) => {
        connection.close(connection.peerReason ?? new PosternError('GOING_AWAY', 'drained'))
      },
      onClosed: (_connection, error) => {
        reject(error)
      },
    })
  })
}
