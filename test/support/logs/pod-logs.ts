import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'

/** The API server's logs of one pod (kubernetes.io, "Read log"), as the kubelet writes them: each line with its time. */
export class PodLogs {
  readonly requests: string[] = []
  /** The container's present file: what was rotated away is told no more. */
  lines: { readonly at: string; readonly text: string }[] = []
  isTerminated = false
  readonly #server: Server
  readonly #followers = new Set<ServerResponse>()

  constructor({ certificateFile, keyFile }: KeyFilePaths) {
    const files = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    this.#server = createServer(files, (request, response) => {
      this.#answer(request, response)
    })
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `https://localhost:${String((this.#server.address() as AddressInfo).port)}`
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  add(at: string, text: string): void {
    this.lines.push({ at, text })
    for (const follower of this.#followers) follower.write(`${at} ${text}\n`)
  }

  get followers(): number {
    return this.#followers.size
  }

  /** Ends the answers to those that follow, as a node does that goes. */
  cut(): void {
    for (const follower of this.#followers) follower.end()
    this.#followers.clear()
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'https://x')
    this.requests.push(`${request.method ?? ''} ${request.url ?? ''}`)
    const pod = '/api/v1/namespaces/team-billing/pods/train-r1'
    if (request.headers.authorization !== 'Bearer of-the-pod') response.writeHead(401).end()
    else if (request.method === 'GET' && url.pathname === pod) {
      const state = this.isTerminated ? { terminated: { exitCode: 0 } } : { running: {} }
      const status = { phase: 'Running', containerStatuses: [{ name: 'main', state }] }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ kind: 'Pod', status }))
    } else if (request.method === 'GET' && url.pathname === `${pod}/log`)
      this.#log(url.searchParams, response)
    else response.writeHead(404).end()
  }

  #log(query: URLSearchParams, response: ServerResponse): void {
    const known = ['timestamps', 'container', 'follow', 'sinceTime', 'tailLines']
    if (
      [...query.keys()].some((name) => !known.includes(name)) ||
      query.get('container') !== 'main'
    ) {
      response.writeHead(400).end()
      return
    }
    const since = query.get('sinceTime') ?? ''
    const tail = query.get('tailLines')
    const found = this.lines
      .filter(({ at }) => at >= since)
      .slice(tail === null ? 0 : -Number(tail))
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write(found.map(({ at, text }) => `${at} ${text}\n`).join(''))
    if (query.get('follow') !== 'true' || this.isTerminated) {
      response.end()
      return
    }
    this.#followers.add(response)
    response.on('close', () => this.#followers.delete(response))
  }
}
