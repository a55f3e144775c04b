import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PosternError, printable } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Address } from '../config/address.ts'

const REQUEST_MS_MAX = 5000
const CONNECTIONS_MAX = 16
const TEXT_MAX = 1000

export interface ProbedState {
  readonly isReady: boolean
  /** Not stuck: what is not alive needs a restart. */
  readonly isAlive: boolean
  /** In words: how it is, and why. */
  readonly text: string
}

export interface MonitorParts {
  readonly metrics: Metrics
  readonly state: () => ProbedState
}

/**
 * GET /metrics, /livez and /readyz, and nothing else, over plain HTTP: for loopback, or a network of
 * one's own. The probes answer 200 or 503, and why.
 */
export class MonitorListener {
  readonly #address: Address
  readonly #parts: MonitorParts
  readonly #server: Server

  constructor(address: Address, parts: MonitorParts) {
    this.#address = address
    this.#parts = parts
    this.#server = createServer(
      { requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX, keepAliveTimeout: 1000 },
      ({ method, url }, response) => {
        this.#answer(method === 'GET' ? url : undefined, response)
      },
    )
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const { host, port } = this.#address
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        const text = `metrics.listen ${host}:${String(port)}: ${error.code ?? error.message}`
        reject(new PosternError('LISTEN_FAILED', text, { host, port }, { cause: error }))
      })
      this.#server.listen(port, host, resolve)
    })
    this.#server.on('error', () => undefined)
    return this.#server.address() as AddressInfo
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #answer(url: string | undefined, response: ServerResponse): void {
    const { metrics, state } = this.#parts
    switch (url) {
      case '/metrics':
        metrics.text().then(
          (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
          () => response.writeHead(500).end('the metrics could not be read\n'),
        )
        return
      case '/livez': {
        const { isAlive, text } = state()
        say(response, isAlive ? 200 : 503, text)
        return
      }
      case '/readyz': {
        const { isReady, text } = state()
        say(response, isReady ? 200 : 503, text)
        return
      }
      default:
        say(response, 404, 'GET /metrics, /livez and /readyz are here')
    }
  }
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  })
  response.end(`${printable(text, TEXT_MAX)}\n`)
}
