import { lstatSync, mkdirSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from './edge.ts'

const OWNER_ONLY_DIRECTORY = 0o700
const OWNER_ONLY_MASK = 0o177
const OTHERS_MAY_WRITE = 0o022
const STICKY = 0o1000
const ROOT = 0
/** sun_path holds 108 bytes with its end (unix(7)); a process id and a dot are added while it is made. */
const PATH_BYTES_MAX = 107 - 8
const ANSWER_BYTES_MAX = 4 * 1024 * 1024
const ASK_MS = 5000
/** A renewal that was asked for waits for the gateway. */
const ANSWER_MS_MAX = 60_000
const LINE_BYTES_MAX = 256

/**
 * Answers whoever connects to a unix socket, and hangs up: one line comes in, one text goes out. Only
 * the user of the process and root can open the socket.
 */
export class LocalListener {
  readonly #path: string
  readonly #server: Server
  /** Of our socket, once it listens. */
  #inode: number | undefined

  /** `answer` gets the line; what it throws is its own to turn into a text. */
  constructor(path: string, answer: (line: string) => Promise<string>) {
    this.#path = path
    this.#server = createServer({ allowHalfOpen: true })
    on(this.#server, 'connection', (socket: Socket) => {
      ignoreErrors(socket)
      socket.setTimeout(ASK_MS, () => socket.destroy())
      let line = ''
      const onData = (piece: Buffer): void => {
        line += piece.toString('latin1')
        if (line.length > LINE_BYTES_MAX) socket.destroy()
        const end = line.indexOf('\n')
        if (end === -1) return
        ignoreData()
        socket.setTimeout(ANSWER_MS_MAX)
        answer(line.slice(0, end)).then(
          (text) => socket.end(text),
          () => socket.destroy(),
        )
      }
      const ignoreData = on(socket, 'data', onData)
      // Who sends no line asks for nothing.
      on(socket, 'end', () => {
        if (!line.includes('\n')) socket.destroy()
      })
    })
  }

  /** @throws LISTEN_FAILED when the path is in use or cannot be made */
  async listen(): Promise<void> {
    const path = this.#path
    judgeLength(path)
    try {
      mkdirSync(dirname(path), { recursive: true, mode: OWNER_ONLY_DIRECTORY })
      judgeDirectory(dirname(path))
      await removeStale(path)
      // Node removes the name that it listens at when it closes, whoever has taken it by then: so it never has ours.
      const own = `${path}.${String(process.pid)}`
      rmSync(own, { force: true })
      await new Promise<void>((resolve, reject) => {
        once(this.#server, 'error', reject)
        // Without write permission nobody connects: the mask holds from the moment of creation.
        const mask = process.umask(OWNER_ONLY_MASK)
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
  const text = `${path}: the path of a socket has at most ${String(PATH_BYTES_MAX)} bytes here, and this has ${String(bytes)} (status.socket)`
  throw new PosternError('LISTEN_FAILED', text, { path })
}

/** Whoever may replace the socket would answer in our place. A sticky directory keeps it ours. */
function judgeDirectory(path: string): void {
  const { mode, uid } = statSync(path)
  const isOurs = uid === ROOT || uid === process.getuid?.()
  const isOpen = (mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0
  if (isOurs && !isOpen) return
  const text = isOurs
    ? `${path} may be written by others: name a folder of its own for the socket, such as ${join(path, 'agent')}, which is made then (status.socket)`
    : `${path} belongs to somebody else: name a folder of its own for the socket (status.socket)`
  throw new PosternError('LISTEN_FAILED', text, { path })
}

/** A socket left by a daemon that was killed is replaced; anything else in its place is not. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket())
    throw new PosternError('LISTEN_FAILED', `${path} is there and is no socket`, { path })
  const isLive = await askLocal(path, 'status').then(
    () => true,
    () => false,
  )
  if (isLive) throw new PosternError('LISTEN_FAILED', `another daemon answers on ${path}`, { path })
  unlinkSync(path)
}

/** The text that the process behind a socket answers a line with. @throws DAEMON_NOT_RUNNING */
export function askLocal(path: string, line: string, timeoutMs = ASK_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    let bytes = 0
    const socket = connect(path)
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('no answer in time')))
    once(socket, 'connect', () => socket.write(`${line}\n`))
    on(socket, 'data', (piece: Buffer) => {
      bytes += piece.length
      pieces.push(piece)
      if (bytes > ANSWER_BYTES_MAX) socket.destroy(new Error('the answer is too large'))
    })
    on(socket, 'end', () => {
      resolve(Buffer.concat(pieces).toString())
    })
    on(socket, 'error', (error: NodeJS.ErrnoException) => {
      const { code } = error
      const why =
        code === 'EACCES' ? 'only the user of the daemon and root may ask' : (code ?? error.message)
      const text = `no daemon answers on ${path} (${why})`
      reject(new PosternError('DAEMON_NOT_RUNNING', text, { path, cause: why }, { cause: error }))
    })
  })
}
