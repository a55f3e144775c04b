import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { dirname } from 'node:path'
import { PosternError } from '../base/errors.ts'
import type { AgentStatus } from './status.ts'

const OWNER_ONLY_DIRECTORY = 0o700
const OWNER_ONLY = 0o600
const ANSWER_BYTES_MAX = 4 * 1024 * 1024
const ASK_MS = 5000

/** Answers `agent status` over a unix socket that only the daemon's user and root can open. */
export class StatusSocket {
  readonly #path: string
  readonly #server: Server

  constructor(path: string, status: () => AgentStatus) {
    this.#path = path
    this.#server = createServer((incoming, answer) => {
      const isStatus = incoming.method === 'GET' && incoming.url === '/status'
      answer.writeHead(isStatus ? 200 : 404, { 'content-type': 'application/json' })
      answer.end(isStatus ? JSON.stringify(status()) : '{}')
    })
  }

  /** @throws LISTEN_FAILED when the path is in use or cannot be made */
  async listen(): Promise<void> {
    const path = this.#path
    try {
      mkdirSync(dirname(path), { recursive: true, mode: OWNER_ONLY_DIRECTORY })
      await removeStale(path)
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        // Without write permission nobody connects: the mask holds from the moment of creation.
        const mask = process.umask(0o177)
        this.#server.listen(path, resolve)
        process.umask(mask)
      })
      chmodSync(path, OWNER_ONLY)
    } catch (error) {
      if (error instanceof PosternError) throw error
      throw new PosternError(
        'LISTEN_FAILED',
        `${path}: ${(error as Error).message}`,
        { path },
        { cause: error },
      )
    }
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

/** A socket left by a daemon that was killed is replaced; anything else in its place is not. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket())
    throw new PosternError('LISTEN_FAILED', `${path} is there and is no socket`, { path })
  const isLive = await askStatus(path).then(
    () => true,
    () => false,
  )
  if (isLive) throw new PosternError('LISTEN_FAILED', `another agent answers on ${path}`, { path })
  unlinkSync(path)
}

/** Asks the daemon behind a socket. @throws DAEMON_NOT_RUNNING */
export function askStatus(path: string): Promise<AgentStatus> {
  return new Promise((resolve, reject) => {
    const notRunning = (error: Error): void => {
      const { code } = error as NodeJS.ErrnoException
      const why =
        code === 'EACCES' ? 'only the user of the daemon and root may ask' : (code ?? error.message)
      reject(
        new PosternError(
          'DAEMON_NOT_RUNNING',
          `no agent answers on ${path} (${why})`,
          { path },
          { cause: error },
        ),
      )
    }
    const asked = request({ socketPath: path, path: '/status', timeout: ASK_MS }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
        if (text.length > ANSWER_BYTES_MAX) asked.destroy(new Error('the answer is too large'))
      })
      answer.on('end', () => {
        try {
          resolve(JSON.parse(text) as AgentStatus)
        } catch (error) {
          notRunning(error as Error)
        }
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', notRunning)
    asked.end()
  })
}
