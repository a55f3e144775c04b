import { asPosternError, PosternError } from '../base/errors.ts'
import type { RegisterResponse } from '../gen/postern/v1/tunnel_pb.js'
import type { Identity } from '../identity/name.ts'
import type { StreamHandler } from '../mux/session-owner.ts'
import { RpcError } from '../rpc/status.ts'
import type { GoAway } from '../wire/goaway.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from './rpc-connection.ts'

/** A connection on which the gateway has welcomed us. */
export interface Welcomed {
  readonly connection: RpcConnection
  readonly welcome: RegisterResponse
  /** Resolves with the reason when the connection has ended. */
  readonly closed: Promise<PosternError>
}

/** Why no connection came about. */
export interface OpenFailure {
  readonly cause: PosternError
  /** In how many ms the gateway said to come back; 0: it did not. */
  readonly askedMs: number
}

/** The collaborators that openConnection is given. */
export interface OpenPorts {
  /** Longest time from dial to welcome, in ms. */
  readonly dialTimeoutMs: number
  /** Connects and authenticates. */
  dial(signal: AbortSignal): Promise<PeerWire>
  /** The first call on a fresh session; its answer is the welcome. */
  register(connection: RpcConnection): Promise<RegisterResponse>
  /** Takes the streams that the peer, whose identity its certificate names, opens. */
  streamsOf(peer: Identity): StreamHandler
  onGoAway(connection: RpcConnection, goAway: GoAway): void
  onDrained(connection: RpcConnection): void
}

/** Dials, says hello, and registers: resolves once the gateway has answered, or has not. Nothing is left open by a failure. */
export async function openConnection(
  ports: OpenPorts,
  parts: ProcessParts,
  stop: AbortSignal,
): Promise<Welcomed | OpenFailure> {
  const { dialTimeoutMs } = ports
  const abort = new AbortController()
  const onStop = (): void => {
    abort.abort(new PosternError('SHUTDOWN', 'the agent is stopping'))
  }
  stop.addEventListener('abort', onStop)
  const cancelTimer = parts.runtime.clock.startTimer(dialTimeoutMs, () => {
    const seconds = String(dialTimeoutMs / 1000)
    abort.abort(new PosternError('DIAL_TIMEOUT', `no welcome from the gateway within ${seconds} s`))
  })
  try {
    const wire = await dialled(ports, abort.signal)
    return 'cause' in wire ? wire : await welcomed(ports, parts, wire, abort.signal)
  } finally {
    cancelTimer()
    stop.removeEventListener('abort', onStop)
  }
}

function dialled(ports: OpenPorts, signal: AbortSignal): Promise<PeerWire | OpenFailure> {
  return new Promise((resolve) => {
    onAbort(signal, (cause) => {
      resolve({ cause, askedMs: 0 })
    })
    ports.dial(signal).then(
      (wire) => {
        if (signal.aborted) wire.destroy()
        else resolve(wire)
      },
      (error: unknown) => {
        resolve({ cause: asPosternError(error, 'DIAL_FAILED'), askedMs: 0 })
      },
    )
  })
}

function welcomed(
  ports: OpenPorts,
  parts: ProcessParts,
  wire: PeerWire,
  signal: AbortSignal,
): Promise<Welcomed | OpenFailure> {
  const closed = Promise.withResolvers<PosternError>()
  return new Promise((resolve) => {
    const register = async (connection: RpcConnection): Promise<void> => {
      try {
        const welcome = await ports.register(connection)
        resolve({ connection, welcome, closed: closed.promise })
      } catch (error) {
        // A session that was lost says why as it closes; here only a refusal of the call itself remains.
        if (error instanceof RpcError && error.code === 'CONNECTION_LOST') return
        const cause = connection.peerReason ?? errorOfRegister(error)
        resolve({ cause, askedMs: connection.peerReconnectAfterMs })
        connection.close(new PosternError('SHUTDOWN', 'the registration failed'))
      }
    }
    try {
      const connection = new RpcConnection(wire, 'dialer', parts, {
        streams: ports.streamsOf(wire.facts.identity),
        onReady: (ready) => void register(ready),
        onGoAway: (from, goAway) => {
          ports.onGoAway(from, goAway)
        },
        onDrained: (from) => {
          ports.onDrained(from)
        },
        onClosed: (from, error) => {
          resolve({ cause: refusedOr(error), askedMs: from.peerReconnectAfterMs })
          closed.resolve(error)
        },
      })
      onAbort(signal, (cause) => {
        resolve({ cause, askedMs: 0 })
        connection.close(new PosternError('SHUTDOWN', 'the dial was given up'))
      })
    } catch (error) {
      wire.destroy()
      resolve({ cause: asPosternError(error), askedMs: 0 })
    }
  })
}

function onAbort(signal: AbortSignal, listener: (cause: PosternError) => void): void {
  const tell = (): void => {
    listener(asPosternError(signal.reason))
  }
  if (signal.aborted) tell()
  else signal.addEventListener('abort', tell, { once: true })
}

/** A close right after the handshake, without a word, is how a refused certificate looks. */
function refusedOr(error: PosternError): PosternError {
  if (error.code !== 'CONNECTION_LOST') return error
  const text =
    'the gateway closed the connection before its welcome; its log says why (most often a refused certificate)'
  return new PosternError('PEER_REFUSED', text, {}, { cause: error })
}

function errorOfRegister(error: unknown): PosternError {
  if (!(error instanceof RpcError)) return asPosternError(error)
  return new PosternError(
    error.code ?? 'PEER_REFUSED',
    `the gateway refused to register us: ${error.rawMessage}`,
  )
}
