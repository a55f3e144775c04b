import type { DescService } from '@bufbuild/protobuf'
import { ERROR_CODES, type ErrorCode } from '../base/error-codes.ts'
import { exempt } from '../guard/exempt.ts'
import { PosternError } from '../base/errors.ts'
import { refuseStreams } from '../mux/session-owner.ts'
import { RpcChannel } from '../rpc/channel.ts'
import { RpcServer } from '../rpc/server.ts'
import { RpcError } from '../rpc/status.ts'
import { clientOf, type Client } from '../rpc/typed.ts'
import { dialLocal, LocalListener, notRunning, type LocalWire } from '../transport/local-socket.ts'
import { Connection } from './connection.ts'
import { processParts, type Ambient } from './process-parts.ts'
import type { ProcessParts } from './rpc-connection.ts'

/** A local peer is asked for signs of life as any other. A support file has megabytes. */
const LOCAL_SETTINGS = {
  'tunnel.pingInterval': 5000,
  'tunnel.silence': 15_000,
  'limits.windowBytesMax': 256 * 1024,
  'limits.sessionWindowBytesMax': 4 * 1024 * 1024,
  'rpc.messageBytesMax': 4 * 1024 * 1024,
  'limits.streamsMax': 16,
  'limits.bufferBytesMax': 16 * 1024 * 1024,
}
/** How long a daemon may take to say hello, in ms. */
const HELLO_MS_MAX = 5000
/** A text that begins with a code of ours, as answers of ours do. */
const CODED = /^([A-Z0-9_]+): (.*)$/s

/** The cause, in its facts, of a DAEMON_NOT_RUNNING where the daemon was there and has gone. */
export const HUNG_UP = 'it hung up'

/** Serves an operator's calls over a unix socket. Who can open the socket may make all of them. */
export class LocalServer {
  readonly server: RpcServer
  readonly #parts: ProcessParts
  readonly #listener: LocalListener
  readonly #connections = new Set<Connection>()

  constructor(path: string, ambient: Ambient) {
    this.#parts = processParts(LOCAL_SETTINGS, ambient)
    this.server = new RpcServer(this.#parts.runtime, exempt('local socket'))
    this.#listener = new LocalListener(path, (wire) => {
      this.#serve(wire)
    })
  }

  /** Listens on the unix socket. @throws LISTEN_FAILED */
  async listen(): Promise<void> {
    await this.#listener.listen()
  }

  close(): void {
    this.#listener.close()
    for (const { session } of this.#connections)
      session.close(new PosternError('SHUTDOWN', 'the daemon stops'))
  }

  #serve(wire: LocalWire): void {
    const streams = this.server.streamsOf({ callerOf: () => ({ kind: 'operator' }) })
    try {
      // Who says nothing asks for nothing.
      const cancelTimer = this.#parts.runtime.clock.startTimer(HELLO_MS_MAX, () => {
        wire.destroy()
      })
      const peer = { streams, onReady: cancelTimer }
      const connection = connect('acceptor', wire, this.#parts, peer, () => {
        cancelTimer()
        this.#connections.delete(connection)
      })
      this.#connections.add(connection)
    } catch (error) {
      // No room is left for another session: the others go on.
      if (!(error instanceof PosternError)) throw error
      wire.destroy()
    }
  }
}

/**
 * Calls the daemon behind a unix socket, and hangs up.
 * @throws the daemon's own errors by their codes, and DAEMON_NOT_RUNNING where none answers
 */
export async function callLocal<S extends DescService, T>(
  service: S,
  path: string,
  ambient: Ambient,
  act: (client: Client<S>) => Promise<T>,
): Promise<T> {
  const wire = await dialLocal(path)
  const parts = processParts(LOCAL_SETTINGS, ambient)
  const ready = Promise.withResolvers<undefined>()
  const streams = refuseStreams('an operator serves nothing')
  const onReady = (): void => {
    ready.resolve(undefined)
  }
  let end: PosternError | undefined
  const connection = connect('dialer', wire, parts, { streams, onReady }, (error) => {
    end = endOf(error, path)
    ready.reject(end)
  })
  const cancelTimer = ambient.clock.startTimer(HELLO_MS_MAX, () => {
    ready.reject(notRunning(path, 'no answer in time'))
  })
  try {
    await ready.promise
    return await act(clientOf(service, new RpcChannel(parts.runtime, connection.session)))
  } catch (error) {
    throw error instanceof RpcError ? (end ?? answerOf(error, path)) : error
  } finally {
    cancelTimer()
    connection.session.close(new PosternError('SHUTDOWN', 'the operator has finished'))
  }
}

function connect(
  role: 'dialer' | 'acceptor',
  wire: LocalWire,
  parts: ProcessParts,
  peer: { readonly streams: ReturnType<typeof refuseStreams>; readonly onReady?: () => void },
  onClosed: (error: PosternError) => void,
): Connection {
  const { limits, budget, slabs, runtime } = parts
  const { streams } = peer
  const connection = new Connection(
    { role, wire, limits, budget, slabs, clock: runtime.clock, streams },
    {
      onEvent: (event) => {
        if (event.name === 'ready') peer.onReady?.()
        else if (event.name === 'closed') onClosed(event.error)
      },
    },
  )
  wire.listen({
    onBytes: (chunk) => {
      connection.receive(chunk)
    },
    onClosed: () => {
      connection.wireClosed(new PosternError('CONNECTION_LOST', 'the peer closed the connection'))
    },
  })
  connection.start()
  return connection
}

/** How a connection ended that nobody here had closed. */
function endOf({ code }: PosternError, path: string): PosternError {
  switch (code) {
    case 'CONNECTION_LOST':
    case 'SHUTDOWN':
    case 'GOING_AWAY':
      return notRunning(path, HUNG_UP)
    case 'PEER_SILENT':
    case 'WRITE_STALLED':
      return notRunning(path, 'no answer in time')
    default:
      return notRunning(path, 'what answers is no daemon of ours')
  }
}

/** The daemon's own error by its code; an answer that does not come as a daemon that does not run. */
function answerOf(error: RpcError, path: string): PosternError {
  if (error.code === 'DEADLINE_EXCEEDED') return notRunning(path, 'no answer in time')
  const [, code = '', text = ''] = CODED.exec(error.rawMessage) ?? []
  if (Object.hasOwn(ERROR_CODES, code)) return new PosternError(code as ErrorCode, text)
  return new PosternError(error.code ?? 'INTERNAL', error.rawMessage, {}, { cause: error })
}
