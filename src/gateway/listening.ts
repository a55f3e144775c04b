import type { AddressInfo } from '../transport/https-listen.ts'

/** The addresses that a gateway's listeners are bound to. */
export interface GatewayAddresses {
  readonly agents: AddressInfo
  readonly callers: AddressInfo
  /** For callers in any language, where it is wanted. */
  readonly api?: AddressInfo
  readonly apiTokens?: AddressInfo
  /** Where there is a CA. */
  readonly enroll?: AddressInfo
  readonly renew?: AddressInfo
}

/** Returns where a gateway listens, as its log has it. */
export function listening(bound: GatewayAddresses): Record<string, string> {
  const all = Object.entries(bound) as [string, AddressInfo][]
  return Object.fromEntries(
    all.map(([name, { address, port }]) => [name, `${address}:${String(port)}`]),
  )
}
