import { lstatSync, mkdirSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from './edge.ts'
import type { WireListener } from './tls-wire.ts'

/** Of each: the mask of the socket, which nobody opens without leave to write, and the mode of a folder that is made for it. */
const OPENERS = {
  owner: { mask: 0o177, folder: 0o700 },
  group: { mask: 0o117, folder: 0o710 },
  all: { mask: 0o111, folder: 0o711 },
} as const
const OTHERS_MAY_WRITE = 0o022
const STICKY = 0o1000
const ROOT = 0
/** sun_path holds 108 bytes with its end (unix(7)); a process id and a dot are added while it is made. */
const PATH_BYTES_MAX = 107 - 8

/** A connection over a unix socket: who may open the socket is known by its mode alone. */
export class LocalWire {
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
    ignoreErrors(socket)
  }

  /** Delivers from now on; nothing was read before. */
  listen(listener: WireListener): void {
    on(this.#socket, 'data', (chunk: Buffer) => {
      listener.onBytes(chunk)
    })
    on(this.#socket, 'end', () => this.#socket.end())
    on(this.#socket, 'close', () => {
      listener.onClosed(undefined)
    })
    if (this.#socket.destroyed) listener.onClosed(undefined)
  }

  write(bytes: Uint8Array, onWritten: () => void): void {
    this.#socket.write(bytes, (error) => {
      if (error === undefined || error === null) onWritten()
    })
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** Who may open a unix socket: the user of the process and root, the process's group too, or all on this machine. */
export type Openers = keyof typeof OPENERS

/** Listens on a unix socket that only the user of the process and root can open. */
export class LocalListener {
  readonly #listener: UnixListener

  constructor(path: string, onWire: (wire: LocalWire) => void) {
    this.#listener = new UnixListener(path, 'owner', (socket) => {
      onWire(new LocalWire(socket))
    })
  }

  /** Makes the unix socket, and listens on it. @throws LISTEN_FAILED when the path is in use or cannot be made */
  async listen(): Promise<void> {
    await this.#listener.listen()
  }

  /** Removes its own socket; a successor's, which may stand there by then, stays. */
  close(): void {
    this.#listener.close()
  }
}

/** Listens on a unix socket. */
export class UnixListener {
  readonly #path: string
  readonly #server: Server
  readonly #openers: Openers
  /** Of our socket, once it listens. */
  #inode: number | undefined

  constructor(path: string, openers: Openers, onSocket: (socket: Socket) => void) {
    this.#path = path
    this.#openers = openers
    this.#server = createServer()
    on(this.#server, 'connection', onSocket)
  }

  /** Makes the unix socket, and listens on it. @throws LISTEN_FAILED when the path is in use or cannot be made */
  async listen(): Promise<void> {
    const path = this.#path
    judgeLength(path)
    try {
      const { mask: forSocket, folder } = OPENERS[this.#openers]
      mkdirSync(dirname(path), { recursive: true, mode: folder })
      judgeDirectory(dirname(path))
      await removeStale(path)
      // Node removes the name that it listens at when it closes, whoever has taken it by then: so it never has ours.
      const own = `${path}.${String(process.pid)}`
      rmSync(own, { force: true })
      await new Promise<void>((resolve, reject) => {
        once(this.#server, 'error', reject)
        // Without write permission nobody connects: the mask holds from the moment of creation.
        const mask = process.umask(forSocket)
        this.#server.listen(own, resolve)
        process.umask(mask)
      })
      this.#inode = statSync(own).ino
      renameSync(own, path)
    } catch (error) {
      if (error instanceof PosternError) throw error
      const text = `${path}: ${(error as Error).message}`
      throw new PosternError('LISTEN_FAILED', text, { path }, { cause: error })
    }
  }

  /** Removes its own socket; a successor's, which may stand there by then, stays. */
  close(): void {
    this.#server.close()
    const inode = statSync(this.#path, { throwIfNoEntry: false })?.ino
    if (this.#inode !== undefined && inode === this.#inode) rmSync(this.#path, { force: true })
    this.#inode = undefined
  }
}

/** Room for the name that it listens at first. @throws LISTEN_FAILED */
function judgeLength(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (bytes <= PATH_BYTES_MAX) return
  const text = `${path}: the path of a socket has at most ${String(PATH_BYTES_MAX)} bytes here, and this has ${String(bytes)} (status.socket, events.socket)`
  throw new PosternError('LISTEN_FAILED', text, { path })
}

/** Whoever may replace the socket would answer in our place. A sticky directory keeps it ours. */
function judgeDirectory(path: string): void {
  const { mode, uid } = statSync(path)
  const isOurs = uid === ROOT || uid === process.getuid?.()
  const isOpen = (mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0
  if (isOurs && !isOpen) return
  const text = isOurs
    ? `${path} may be written by others: name a folder of its own for the socket, such as ${join(path, 'agent')}, which is made then (status.socket, events.socket)`
    : `${path} belongs to somebody else: name a folder of its own for the socket (status.socket, events.socket)`
  throw new PosternError('LISTEN_FAILED', text, { path })
}

/** A socket left by a daemon that was killed is replaced; anything else in its place is not. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket())
    throw new PosternError('LISTEN_FAILED', `${path} is there and is no socket`, { path })
  const isLive = await dialLocal(path).then(
    (wire) => {
      wire.destroy()
      return true
    },
    () => false,
  )
  if (isLive) throw new PosternError('LISTEN_FAILED', `another daemon answers on ${path}`, { path })
  unlinkSync(path)
}

/** Connects to a unix socket. @throws DAEMON_NOT_RUNNING, whose facts hold the cause */
export function dialLocal(path: string): Promise<LocalWire> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    on(socket, 'error', ({ code, message }: NodeJS.ErrnoException) => {
      reject(notRunning(path, code ?? message))
    })
    once(socket, 'connect', () => {
      resolve(new LocalWire(socket))
    })
  })
}

/** Makes the error of a daemon that cannot be asked. `why`: in words, or the code of the system. */
export function notRunning(path: string, why: string): PosternError {
  const text = why === 'EACCES' ? 'only the user of the daemon and root may ask' : why
  return new PosternError('DAEMON_NOT_RUNNING', `no daemon answers on ${path} (${text})`, {
    path,
    cause: why,
  })
}
