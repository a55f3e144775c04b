import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PosternError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Address } from '../config/address.ts'

const REQUEST_MS_MAX = 5000
const CONNECTIONS_MAX = 16

/** GET /metrics and nothing else, over plain HTTP: for loopback, or a network of one's own. */
export class MetricsListener {
  readonly #address: Address
  readonly #server: Server

  constructor(address: Address, metrics: Metrics) {
    this.#address = address
    this.#server = createServer(
      { requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX, keepAliveTimeout: 1000 },
      (request, response) => {
        const isRead = request.method === 'GET' && request.url === '/metrics'
        if (!isRead) {
          response.writeHead(404).end('GET /metrics is here\n')
          return
        }
        metrics.text().then(
          (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
          () => response.writeHead(500).end('the metrics could not be read\n'),
        )
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
}
