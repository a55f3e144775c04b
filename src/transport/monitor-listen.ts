import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { printable } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Address } from '../base/address.ts'
import { ConnectionShares } from './connection-shares.ts'
import { ignoreErrors, on } from './edge.ts'
import { listenOn } from './front.ts'

const REQUEST_MS_MAX = 5000
/** More than these, and the oldest of the busiest network gives way: an idle one keeps no probe out. */
const CONNECTIONS = { max: 64, perNetworkMax: 16 }
const SLOWNESS_CHECK_MS = 1000
const TEXT_MAX = 1000

/** The state that /livez and /readyz tell. */
export interface ProbedState {
  readonly isReady: boolean
  /** Not stuck: what is not alive needs a restart. */
  readonly isAlive: boolean
  /** In words: how it is, and why. */
  readonly text: string
}

/** The values and collaborators that `MonitorListener` is given. */
export interface MonitorPorts {
  /** Undefined: none are told here. */
  readonly metrics?: Metrics
  readonly state: () => ProbedState
  /** The setting that names the address, for errors. */
  readonly setting: 'metrics.listen' | 'health.listen'
}

/**
 * GET /metrics where there are some, /livez and /readyz, and nothing else, over plain HTTP: for loopback, or a network of
 * one's own. The probes answer 200 or 503, and why.
 */
export class MonitorListener {
  readonly #address: Address
  readonly #ports: MonitorPorts
  readonly #server: Server

  constructor(address: Address, ports: MonitorPorts) {
    this.#address = address
    this.#ports = ports
    this.#server = createServer({
      requestTimeout: REQUEST_MS_MAX,
      headersTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: 1000,
      connectionsCheckingInterval: SLOWNESS_CHECK_MS,
    })
    on(this.#server, 'request', ({ method, url }: IncomingMessage, response: ServerResponse) => {
      this.#answer(method === 'GET' || method === 'HEAD' ? url : undefined, response)
    })
    const shares = new ConnectionShares(CONNECTIONS)
    on(this.#server, 'connection', (socket: Socket) => {
      ignoreErrors(socket)
      shares.enter(socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const bound = await listenOn(this.#server, this.#address, `${this.#ports.setting} `)
    ignoreErrors(this.#server)
    return bound
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #answer(url: string | undefined, response: ServerResponse): void {
    const { metrics, state } = this.#ports
    switch (url) {
      case '/metrics':
        if (metrics === undefined) break
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
    }
    const more = metrics === undefined ? '' : '/metrics, '
    say(response, 404, `GET ${more}/livez and /readyz are here`)
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
