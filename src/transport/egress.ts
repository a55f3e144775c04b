import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
import { PosternError } from '../base/errors.ts'
import { connectStatus } from './connect-answer.ts'
import { ignoreErrors } from './edge.ts'
import { tlsError } from './tls-errors.ts'

const DEFAULT_PORTS = { 'http:': 3128, 'socks5:': 1080, 'socks5h:': 1080 } as const
const CONNECT_MS_MAX = 30_000

/** The one way out of a network, where it is not the open one. */
export interface Proxy {
  readonly kind: 'http' | 'socks5'
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** The ways out of a network, as settings name them. */
export interface EgressSettings {
  /** `http://[user[:password]@]host[:port]` or `socks5://…`; undefined or empty: none. */
  readonly proxy?: string | undefined
  /** In place of one in the URL. */
  readonly password?: string | undefined
  /** Hosts that are dialled directly: names with all below them, addresses, networks, or `*`. */
  readonly noProxy?: readonly string[]
}

/** A host and a port that are to be reached. */
export interface Target {
  readonly host: string
  readonly port: number
}

/** Opens TCP connections, directly or through the proxy that the settings name. */
export class Egress {
  readonly #proxy: Proxy | undefined
  readonly #noProxy: readonly string[]

  /** @throws CONFIG_INVALID */
  constructor({ proxy = '', password, noProxy = [] }: EgressSettings = {}) {
    this.#proxy = proxy === '' ? undefined : parseProxy(proxy, password)
    this.#noProxy = noProxy
  }

  /** The proxy for a host; undefined: it is dialled directly. */
  proxyFor(host: string, port?: number): Proxy | undefined {
    const isExempt = this.#noProxy.some((entry) => covers(entry.trim(), host, port))
    return isExempt ? undefined : this.#proxy
  }

  /** A connection to the target through the proxy. @throws PROXY_REFUSED, PROXY_UNREACHABLE */
  async through(proxy: Proxy, target: Target, signal?: AbortSignal): Promise<Socket> {
    const limit = AbortSignal.timeout(CONNECT_MS_MAX)
    const both = signal === undefined ? limit : AbortSignal.any([signal, limit])
    return proxy.kind === 'http'
      ? await throughHttp(proxy, target, both)
      : await throughSocks(proxy, target, both)
  }
}

/** The egress that goes out directly, without a proxy. */
export const DIRECT = new Egress()

/** For logs and people: without user and password. */
export function proxyText({ kind, host, port }: Proxy): string {
  return `${kind}://${host.includes(':') ? `[${host}]` : host}:${String(port)}`
}

/** @throws CONFIG_INVALID; the text does not quote the URL, which may hold a password */
function parseProxy(text: string, password: string | undefined): Proxy {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  const protocol = url?.protocol as keyof typeof DEFAULT_PORTS | undefined
  if (url === null || protocol === undefined || !Object.hasOwn(DEFAULT_PORTS, protocol)) {
    const form = 'http://host:port or socks5://host:port, with user@ where it asks for one'
    throw new PosternError('CONFIG_INVALID', `gateway.proxy must be ${form}`)
  }
  return {
    kind: protocol === 'http:' ? 'http' : 'socks5',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? DEFAULT_PORTS[protocol] : Number(url.port),
    user: decodeURIComponent(url.username),
    password: password ?? decodeURIComponent(url.password),
  }
}

/** As in the field: `example.com` and `.example.com` cover the name and all below it; with `:port`, on that port alone. */
function covers(written: string, host: string, port: number | undefined): boolean {
  const [, bracketed, plain, only] = /^(?:\[(.+)\]|([^:]*))(?::(\d+))?$/.exec(written) ?? []
  // An IPv6 address that stands bare has colons, and no port.
  const entry = bracketed ?? plain ?? written
  if (only !== undefined && port !== undefined && Number(only) !== port) return false
  if (entry === '') return false
  if (entry === '*') return true
  if (ipaddr.isValid(host)) return coversAddress(entry, host)
  const name = entry.replace(/^\*?\./, '').toLowerCase()
  const wanted = host.toLowerCase()
  return wanted === name || wanted.endsWith(`.${name}`)
}

function coversAddress(entry: string, host: string): boolean {
  const address = ipaddr.process(host)
  if (!entry.includes('/'))
    return ipaddr.isValid(entry) && ipaddr.process(entry).toString() === address.toString()
  try {
    const [network, bits] = ipaddr.parseCIDR(entry)
    return network.kind() === address.kind() && address.match(network, bits)
  } catch {
    // An entry that is no network matches nothing.
    return false
  }
}

/** HTTP CONNECT (RFC 9110 section 9.3.6), with Basic where there is a user. */
async function throughHttp(proxy: Proxy, target: Target, signal: AbortSignal): Promise<Socket> {
  const { host, port, user, password } = proxy
  const path = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${String(target.port)}`
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  const lines = [
    `CONNECT ${path} HTTP/1.1`,
    `Host: ${path}`,
    ...(user === '' ? [] : [`Proxy-Authorization: Basic ${basic}`]),
  ]
  const socket = connect({ host, port, noDelay: true })
  try {
    await once(socket, 'connect', { signal })
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    const status = await connectStatus(socket, signal)
    if (status === 200) return socket
    throw refusedByProxy(proxy, status, path)
  } catch (error) {
    ignoreErrors(socket)
    socket.destroy()
    if (error instanceof PosternError) throw error
    throw unreachable(proxy, error, signal)
  }
}

/** SOCKS5 (RFC 1928), with a user and password where there are some (RFC 1929); the proxy resolves names. */
async function throughSocks(proxy: Proxy, target: Target, signal: AbortSignal): Promise<Socket> {
  const { SocksClient } = await import('socks')
  const { host, port, user, password } = proxy
  const near = connect({ host, port, noDelay: true })
  const onAbort = (): void => {
    near.destroy(new Error('aborted'))
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await once(near, 'connect')
  } catch (error) {
    throw unreachable(proxy, error, signal)
  }
  try {
    const { socket } = await SocksClient.createConnection({
      command: 'connect',
      destination: target,
      existing_socket: near,
      proxy: { host, port, type: 5, ...(user === '' ? {} : { userId: user, password }) },
    })
    return socket
  } catch (error) {
    near.destroy()
    if (signal.aborted) throw unreachable(proxy, error, signal)
    const text = `${proxyText(proxy)} does not connect us: ${(error as Error).message}`
    throw new PosternError('PROXY_REFUSED', text, {}, { cause: undefined })
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function refusedByProxy(proxy: Proxy, status: number, path: string): PosternError {
  const why =
    // 401 is what tinyproxy says in place of 407.
    status === 407 || status === 401
      ? 'it wants a user and password (gateway.proxy, gateway.proxyPasswordFile)'
      : `it answered ${String(status)} to CONNECT ${path}`
  return new PosternError('PROXY_REFUSED', `${proxyText(proxy)} does not connect us: ${why}`)
}

function unreachable(proxy: Proxy, error: unknown, signal: AbortSignal): PosternError {
  const why = signal.aborted
    ? 'it did not answer in time'
    : tlsError(error, 'DIAL_FAILED').rawMessage
  const text = `the proxy ${proxyText(proxy)} cannot be used: ${why}`
  return new PosternError('PROXY_UNREACHABLE', text, {}, { cause: error })
}
