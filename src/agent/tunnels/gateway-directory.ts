import { parseAddress, addressText, type Address } from '../../base/address.ts'
import type { GatewayPlace } from '../../gen/postern/v1/tunnel_pb.js'

/** Gateways that one may name to us. */
const TOLD_MAX = 16
const UNPRIVILEGED_PORT = 1024
const WORD = /^[\x21-\x7e]{1,64}$/

/** An address where a gateway is, or was last seen. */
export interface Place {
  readonly address: Address
  /** Who answers there; undefined until somebody has. */
  readonly gateway: string | undefined
  /** Empty: it has none, or it is not known. */
  readonly zone: string
}

interface Entry {
  readonly address: Address
  gateway: string | undefined
  zone: string
  /** Its certificate said who it is: what others say of it does not count any more. */
  isVerified: boolean
  /** A name with several records may stand for several gateways, until it is seen that it does not. */
  records: number
  /** When it was last dialled, as a count of dials. */
  triedAt: number
}

/** Whom our other tunnels are with. */
export interface Occupied {
  readonly gateway: string
  readonly zone: string
}

/**
 * The addresses of gateways: of the settings, and those that a gateway told us of. Picks where a
 * tunnel is to go: to a gateway that no other tunnel is with, in another zone where there is one.
 */
export class GatewayDirectory {
  #configured: Entry[] = []
  #told: Entry[] = []
  #dials = 0

  constructor(configured: readonly Address[]) {
    this.configure(configured)
  }

  /** The addresses of the settings; what is known of those that stay is kept. */
  configure(configured: readonly Address[]): void {
    const before = this.#configured
    this.#configured = configured.map((address) => find(before, address) ?? fresh(address))
    this.#told = this.#told.filter(({ address }) => this.#mayBeTold(address))
  }

  /**
   * What a gateway says of itself and of others. It may not send us anywhere: a host is taken that the
   * settings name, or another of the same parent domain at a port that the settings name: nobody is led to other
   * services of a host beside, or to those below 1024 of the same.
   */
  tell(places: readonly GatewayPlace[]): void {
    const told: Entry[] = []
    for (const { gateway, zone, address: text } of places.slice(0, TOLD_MAX)) {
      const address = readAddress(text)
      if (address === undefined || !WORD.test(gateway) || !this.#mayBeTold(address)) continue
      const configured = find(this.#configured, address)
      const entry = find(this.#told, address) ?? fresh(address)
      // Who is behind an address of the settings is for its own certificate to say.
      if (configured !== undefined) continue
      told.push(entry)
      if (entry.isVerified) continue
      entry.gateway = gateway
      entry.zone = WORD.test(zone) ? zone : ''
    }
    // One that says nothing takes nothing back.
    if (places.length > 0) this.#told = told
  }

  /** Where to go next. What was tried longest ago comes first, among equals. */
  next(held: readonly Occupied[]): Address {
    const zones = new Set(held.map(({ zone }) => zone))
    const rank = ({ gateway, zone }: Entry): number => {
      if (held.some((one) => one.gateway === gateway)) return 2
      return zone !== '' && zones.has(zone) ? 1 : 0
    }
    const [best] = this.#entries().sort((a, b) => rank(a) - rank(b) || a.triedAt - b.triedAt)
    if (best === undefined) throw new RangeError('no address is configured')
    best.triedAt = ++this.#dials
    return best.address
  }

  /** A gateway answered there. */
  answered(address: Address, gateway: string, zone: string): void {
    const entry = find(this.#entries(), address)
    if (entry === undefined) return
    entry.gateway = gateway
    entry.isVerified = true
    if (WORD.test(zone)) entry.zone = zone
  }

  /** A name resolved to so many addresses of one family. */
  resolved(address: Address, records: number): void {
    const entry = find(this.#configured, address)
    if (entry !== undefined && entry.records > 0) entry.records = Math.max(1, records)
  }

  /** The gateway that answered there is one that we had: its records are no further gateways. */
  repeated(address: Address): void {
    const entry = find(this.#configured, address)
    if (entry !== undefined) entry.records = 0
  }

  /** It may have others behind it by now. */
  forgetRepeats(): void {
    for (const entry of this.#configured) if (entry.records === 0) entry.records = 1
  }

  /** How many gateways there are, as far as is known or may be found out. */
  get distinct(): number {
    const names = new Set<string>()
    let more = 0
    for (const { gateway, records } of this.#entries()) {
      if (gateway === undefined) more++
      else names.add(gateway)
      more += Math.max(0, records - 1)
    }
    return names.size + more
  }

  get all(): readonly Place[] {
    return this.#entries().map(({ address, gateway, zone }) => ({ address, gateway, zone }))
  }

  #entries(): Entry[] {
    return [...this.#configured, ...this.#told]
  }

  #mayBeTold({ host, port }: Address): boolean {
    const isPortKnown = this.#configured.some(({ address }) => address.port === port)
    return this.#configured.some(({ address: { host: known } }) =>
      isPortKnown ? isBeside(host, known) : host === known && port >= UNPRIVILEGED_PORT,
    )
  }
}

function fresh(address: Address): Entry {
  return { address, gateway: undefined, zone: '', isVerified: false, records: 1, triedAt: 0 }
}

function find(entries: readonly Entry[], address: Address): Entry | undefined {
  const text = addressText(address)
  return entries.find((entry) => addressText(entry.address) === text)
}

function readAddress(text: string): Address | undefined {
  try {
    return parseAddress(text)
  } catch {
    // A gateway said so: what is no address is left out.
    return undefined
  }
}

/** The same host, or another name of the same parent domain, which has two labels at least. */
function isBeside(host: string, known: string): boolean {
  if (host === known) return true
  const parent = (name: string): string => name.toLowerCase().split('.').slice(1).join('.')
  const isName = !/^[0-9.]+$/.test(known) && !known.includes(':')
  return isName && parent(known).includes('.') && parent(host) === parent(known)
}
