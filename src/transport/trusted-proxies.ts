import ipaddr from 'ipaddr.js'

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number]

/** The load balancers whose word on where a connection comes from is taken. */
export class TrustedProxies {
  #networks: readonly Network[]

  /** Addresses and networks (192.0.2.0/24), as `trustedProxies` names them. */
  constructor(entries: readonly string[] = []) {
    this.#networks = networksOf(entries)
  }

  /** Connections from now on are judged by these. */
  use(entries: readonly string[]): void {
    this.#networks = networksOf(entries)
  }

  has(address: string): boolean {
    if (this.#networks.length === 0 || !ipaddr.isValid(address)) return false
    const parsed = ipaddr.process(address)
    return this.#networks.some(
      ([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits),
    )
  }
}

/** Reads an address or a network; undefined where it is neither. */
export function networkOfEntry(entry: string): Network | undefined {
  if (ipaddr.isValidCIDR(entry)) return ipaddr.parseCIDR(entry)
  if (!ipaddr.isValid(entry)) return undefined
  const address = ipaddr.process(entry)
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}

function networksOf(entries: readonly string[]): Network[] {
  return entries.flatMap((entry) => {
    const network = networkOfEntry(entry)
    return network === undefined ? [] : [network]
  })
}
