import type { Socket } from 'node:net'
import ipaddr from 'ipaddr.js'

/** In place of the address of a peer that has gone. */
const GONE = 'gone'

/** The other end of a connection, as a proxy in front of us tells it. */
export interface Source {
  readonly address: string
  readonly port: number
}

const TOLD = new WeakMap<Socket, Source>()

type Ends = Pick<Socket, 'remoteAddress' | 'remotePort'>

/** The TCP connection that TLS runs over, which keeps its address after a reset; or the socket itself. */
export function tcpOf(socket: Socket): Socket {
  // Undocumented: Node tells in no other way which connection a TLS socket was made of.
  const { _parent: tcp } = socket as { _parent?: Socket | null }
  return tcp ?? socket
}

/** Notes whom a connection of a trusted proxy comes from. */
export function noteSource(tcp: Socket, source: Source): void {
  TOLD.set(tcp, source)
}

/** Returns the address of the other end, behind the proxy where one has told it; empty where it has gone. */
export function peerAddress(socket: Ends): string {
  return endOf(socket)?.address ?? ''
}

/** Names the other end for people: address and port, or that it has gone. */
export function peerKey(socket: Ends): string {
  const end = endOf(socket)
  // Gone already: what is no address is not shown as one.
  return end === undefined ? GONE : `${end.address}:${String(end.port)}`
}

/** An IPv4 address, or the /64 that one IPv6 site has all of. */
export function networkOf(address: string): string {
  const bare = address.split('%')[0] ?? ''
  if (!ipaddr.isValid(bare)) return GONE
  const parsed = ipaddr.process(bare)
  if (parsed instanceof ipaddr.IPv4) return parsed.toString()
  return Buffer.from(parsed.toByteArray().slice(0, 8)).toString('hex')
}

function endOf(socket: Ends): Source | undefined {
  const told = TOLD.get(tcpOf(socket as Socket))
  if (told !== undefined) return told
  const { remoteAddress: address, remotePort: port = 0 } = socket
  return address === undefined ? undefined : { address, port }
}
