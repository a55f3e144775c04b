import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { IncomingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { KubernetesObject } from '../../kubernetes/validate.ts'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'

/** A request as a stand-in sees it. */
export interface Asked {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** An answer; `hang`: none at all. */
export type Answered = { readonly status: number; readonly body?: object } | 'hang'

/** An HTTPS server that checks what it is asked, and keeps what it is sent. */
export abstract class StandIn {
  /** What it was asked, such as "POST /v1/secret/data/x". */
  readonly requests: string[] = []
  /** What it is to answer in place of what it would. */
  instead: Answered | undefined
  readonly #server: Server

  constructor({ certificateFile, keyFile }: KeyFilePaths) {
    const files = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    this.#server = createServer(files, (request, response) => {
      const pieces: Buffer[] = []
      request.on('data', (piece: Buffer) => pieces.push(piece))
      request.on('end', () => {
        const { method = '', headers, url = '' } = request
        const asked = {
          method,
          headers,
          url: new URL(url, 'https://x'),
          text: Buffer.concat(pieces).toString(),
        }
        this.requests.push(`${method} ${url}`)
        const answer = this.instead ?? this.answer(asked)
        if (answer === 'hang') return
        response.writeHead(answer.status, { 'content-type': 'application/json' })
        response.end(answer.body === undefined ? '' : JSON.stringify(answer.body))
      })
    })
  }

  protected abstract answer(asked: Asked): Answered

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `https://localhost:${String((this.#server.address() as AddressInfo).port)}`
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

/** The KV engine of Vault, version 2, as its documentation of the API says. */
export class VaultStandIn extends StandIn {
  readonly held = new Map<string, { data: unknown; version: number; created: string }>()
  token = 's.of-tests'

  protected override answer({ method, url, headers, text }: Asked): Answered {
    if (headers['x-vault-token'] !== this.token)
      return { status: 403, body: { errors: ['permission denied: SECRET-WORDS'] } }
    const [, kind = '', path = ''] = /^\/v1\/kv\/(data|metadata)\/(.*)$/.exec(url.pathname) ?? []
    const held = this.held.get(path)
    if (kind === 'data' && method === 'POST') {
      if (headers['content-type'] !== 'application/json') return { status: 400 }
      const { data } = JSON.parse(text) as { data: unknown }
      const version = (held?.version ?? 0) + 1
      this.held.set(path, { data, version, created: '2026-11-01T10:00:00.5Z' })
      return { status: 200, body: { data: { version, created_time: '2026-11-01T10:00:00.5Z' } } }
    }
    if (kind === 'metadata' && method === 'GET' && url.searchParams.get('list') === 'true') {
      const below = [...this.held.keys()].filter((one) => one.startsWith(path))
      const keys = [
        ...new Set(below.map((one) => /^[^/]+\/?/.exec(one.slice(path.length))?.[0] ?? '')),
      ]
      return keys.length === 0
        ? { status: 404, body: { errors: [] } }
        : { status: 200, body: { data: { keys } } }
    }
    if (kind !== 'metadata' || held === undefined) return { status: 404, body: { errors: [] } }
    if (method === 'DELETE') {
      this.held.delete(path)
      return { status: 204 }
    }
    return {
      status: 200,
      body: { data: { current_version: held.version, created_time: held.created } },
    }
  }
}

/** The parts of Kubernetes' API that are used, with the rights of a role that may not read Secrets. */
export class KubernetesStandIn extends StandIn {
  /** Objects by path, as they were sent. */
  readonly held = new Map<
    string,
    { data?: Record<string, string>; metadata: Record<string, unknown> }
  >()
  /** Every object that was sent, to be held against the types of the API. */
  readonly sent: KubernetesObject[] = []
  #version = 100

  protected override answer({ method, url, headers, text }: Asked): Answered {
    if (headers.authorization !== 'Bearer of-the-pod') return { status: 401 }
    const path = url.pathname
    const [, kind = '', name = ''] =
      /^\/api\/v1\/namespaces\/team\/(secrets|configmaps)(?:\/([a-z0-9.-]+))?$/.exec(path) ?? []
    if (kind === '') return { status: 404 }
    const mayNot = kind === 'secrets' && (method === 'GET' || method === 'POST' || name === '')
    if (mayNot) return { status: 403 }
    const held = this.held.get(path)
    if (method === 'GET') return held === undefined ? { status: 404 } : { status: 200, body: held }
    if (method === 'DELETE') return { status: this.held.delete(path) ? 200 : 404, body: {} }
    const body = JSON.parse(text) as KubernetesObject & {
      data?: Record<string, string | null>
      metadata: Record<string, unknown>
    }
    if (method === 'POST' && kind === 'configmaps') {
      this.sent.push(body)
      this.held.set(`${path}/${String(body.metadata.name)}`, { metadata: body.metadata })
      return { status: 201, body }
    }
    if (method !== 'PATCH') return { status: 405 }
    const isApply = headers['content-type'] === 'application/apply-patch+yaml'
    if (isApply) {
      if (url.searchParams.get('fieldManager') !== 'postern') return { status: 400 }
      this.sent.push(body)
    } else if (headers['content-type'] !== 'application/merge-patch+json') return { status: 415 }
    else if (held === undefined) return { status: 404 }
    const data = { ...held?.data, ...body.data }
    const kept = Object.entries(data).filter((pair): pair is [string, string] => pair[1] !== null)
    const metadata = {
      ...held?.metadata,
      ...body.metadata,
      resourceVersion: String(++this.#version),
    }
    const made = { data: Object.fromEntries(kept), metadata }
    this.held.set(path, made)
    return { status: 200, body: made }
  }
}
