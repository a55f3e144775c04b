import type { CancelTimer, Clock } from '../../base/clock.ts'
import type { PosternError } from '../../base/errors.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import type { TunnelState } from '../../tunnel/lifecycle.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'
import type { GatewayDirectory, Occupied } from './gateway-directory.ts'

/** After a dial has reached a gateway that another tunnel holds already, a distinct one is looked for again after this. */
const REPEAT_MS = 300_000
const LOOK_MS = 100

/** The other tunnels, as the dial of one sees them. */
export interface OtherTunnels {
  /** Whom the other tunnels are with. */
  readonly held: () => readonly Occupied[]
}

/** The values and collaborators that TunnelSet is given. */
export interface TunnelSetPorts {
  readonly clock: Clock
  readonly directory: GatewayDirectory
  /** How many to keep, where there are so many gateways. */
  readonly countMax: () => number
  readonly make: (others: OtherTunnels, onDown: (cause: PosternError) => void) => Tunnel
}

type Ready = Extract<TunnelState, { name: 'ready' }>

/** The tunnels of an agent, each to another gateway: one always, more where more gateways are known. */
export class TunnelSet {
  readonly #ports: TunnelSetPorts
  readonly #tunnels: Tunnel[] = []
  /** One too many, finishing their calls. */
  readonly #leaving = new Set<Tunnel>()
  #cancelTimer: CancelTimer | undefined
  #isOver = false

  constructor(ports: TunnelSetPorts) {
    this.#ports = ports
    this.#add()
  }

  get all(): readonly Tunnel[] {
    return this.#tunnels
  }

  /** Those that are up, the one with the shortest round trip first. */
  get ready(): readonly Ready[] {
    const states = this.#tunnels.map(({ state }) => state).filter((state) => state.name === 'ready')
    const rtt = ({ connection }: Ready): number => connection.session.rttMs ?? Infinity
    return states.sort((a, b) => rtt(a) - rtt(b))
  }

  /** The best tunnel, for displays that show a single one. */
  get main(): Tunnel {
    const [best] = this.ready
    const found = this.#tunnels.find(({ state }) => state === best) ?? this.#tunnels[0]
    if (found === undefined) throw new RangeError('there is always one')
    return found
  }

  /** How many there are to be. */
  get wanted(): number {
    return Math.max(1, Math.min(this.#ports.countMax(), this.#ports.directory.distinct))
  }

  get connections(): readonly RpcConnection[] {
    return [...this.#tunnels, ...this.#leaving].flatMap(({ connections }) => connections)
  }

  start(): void {
    for (const tunnel of this.#tunnels) tunnel.start()
  }

  hurry(): void {
    for (const tunnel of this.#tunnels) tunnel.hurry()
  }

  /** Each goes over to another connection. Resolves to whether one did. @throws what the last one threw */
  async replace(): Promise<boolean> {
    const results = await Promise.allSettled(this.#tunnels.map((tunnel) => tunnel.replace()))
    const failed = results.find((result) => result.status === 'rejected')
    const isReplaced = results.some((result) => result.status === 'fulfilled' && result.value)
    if (!isReplaced && failed !== undefined) throw failed.reason
    return isReplaced
  }

  /** More gateways may be known than before, or fewer. */
  review(): void {
    if (this.#isOver) return
    while (this.#tunnels.length < this.wanted) this.#add().start()
    for (const tunnel of [...this.#tunnels].reverse()) {
      if (this.#tunnels.length <= this.wanted) return
      if (tunnel.state.name !== 'ready') this.#remove(tunnel)
    }
    if (this.#ports.countMax() >= this.#tunnels.length) return
    for (const tunnel of this.#tunnels.splice(this.#ports.countMax())) this.#leave(tunnel)
  }

  async drain(graceMs: number): Promise<void> {
    this.#end()
    const left = [...this.#leaving].map((tunnel) => this.#untilLeft(tunnel, graceMs))
    await Promise.all([...left, ...this.#tunnels.map((tunnel) => tunnel.drain(graceMs))])
    for (const tunnel of this.#leaving) tunnel.stop()
  }

  stop(): void {
    this.#end()
    for (const tunnel of [...this.#tunnels, ...this.#leaving]) tunnel.stop()
  }

  #end(): void {
    this.#isOver = true
    this.#cancelTimer?.()
  }

  #add(): Tunnel {
    const held = (): Occupied[] => this.#tunnels.filter((other) => other !== tunnel).flatMap(heldBy)
    const tunnel: Tunnel = this.#ports.make({ held }, (cause) => {
      this.#down(tunnel, cause)
    })
    this.#tunnels.push(tunnel)
    return tunnel
  }

  #down(tunnel: Tunnel, { code }: PosternError): void {
    if (code !== 'GATEWAY_HELD' || this.#isOver) return
    if (this.#tunnels.length > 1) this.#remove(tunnel)
    this.#cancelTimer?.()
    this.#cancelTimer = this.#ports.clock.startTimer(REPEAT_MS, () => {
      this.#ports.directory.forgetRepeats()
      this.review()
    })
  }

  #leave(tunnel: Tunnel): void {
    this.#leaving.add(tunnel)
    const forget = (): void => {
      this.#leaving.delete(tunnel)
    }
    tunnel.drain(REPEAT_MS).then(forget, forget)
  }

  /** It drains already; its calls have as long as those of the others. */
  #untilLeft(tunnel: Tunnel, graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const endAtMs = this.#ports.clock.nowMs() + graceMs
      const checkSettled = (): void => {
        if (tunnel.state.name === 'closed' || this.#ports.clock.nowMs() >= endAtMs) resolve()
        else this.#ports.clock.startTimer(LOOK_MS, checkSettled)
      }
      checkSettled()
    })
  }

  #remove(tunnel: Tunnel): void {
    this.#tunnels.splice(this.#tunnels.indexOf(tunnel), 1)
    tunnel.stop()
  }
}

function heldBy({ state }: Tunnel): Occupied[] {
  if (state.name !== 'ready') return []
  const { identity } = state.connection.facts
  return identity.role === 'gateway'
    ? [{ gateway: identity.gateway, zone: state.welcome.zone }]
    : []
}
