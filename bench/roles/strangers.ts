import { connect as connectPlain, type Socket } from 'node:net'
import { connect } from 'node:tls'
import { sleep } from '../measure.ts'

export interface Attack {
  readonly kind: string
  readonly port: number
  readonly seconds: number
  readonly connections: number
  /** Each attempt from an address of its own; else all from one. */
  readonly isSpread: boolean
  /** What is presented in a handshake. */
  readonly certificate?: string
  readonly key?: string
}

/** A stranger that is refused does not knock again at once, in ms: what it costs is counted, not how fast it is. */
const PAUSE_MS = 20
const HELD_MS = 1000
/** The beginning of a TLS record with a ClientHello of 512 bytes. */
const HELLO = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])
let serial = 0

/** Attacks for a while; resolves to the number of attempts. */
async function attack(how: Attack): Promise<number> {
  const endMs = performance.now() + how.seconds * 1000
  let attempts = 0
  const one = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const from = how.isSpread ? nextAddress() : '127.66.0.1'
      await attempt(how, from).catch(() => undefined)
      attempts++
      await sleep(PAUSE_MS)
    }
  }
  await Promise.all(Array.from({ length: how.connections }, one))
  return attempts
}

function nextAddress(): string {
  serial++
  return `127.${String(70 + ((serial >> 16) & 63))}.${String((serial >> 8) & 255)}.${String(serial & 255)}`
}

async function attempt(how: Attack, localAddress: string): Promise<void> {
  const socket = connectPlain({ host: '127.0.0.1', port: how.port, localAddress })
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve()
    })
  })
  socket.on('error', () => undefined)
  const timer = setTimeout(() => socket.destroy(), HELD_MS)
  act(how, socket)
  await closed
  clearTimeout(timer)
}

function act({ kind, certificate, key }: Attack, socket: Socket): void {
  switch (kind) {
    case 'silence':
      return
    case 'garbage':
      socket.write(Buffer.alloc(512, 0x47))
      return
    case 'slow-hello':
      drip(socket)
      return
    default: {
      const identity = certificate === undefined ? {} : { cert: certificate, key: key ?? '' }
      const options = { ALPNProtocols: ['postern/1'], rejectUnauthorized: false, ...identity }
      connect({ socket, servername: 'localhost', ...options }).on('error', () => undefined)
    }
  }
}

function drip(socket: Socket): void {
  let at = 0
  const timer = setInterval(() => {
    if (socket.destroyed || at >= HELLO.length) clearInterval(timer)
    else socket.write(HELLO.subarray(at, ++at))
  }, 50)
}

export const role = { attack }
