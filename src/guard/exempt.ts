import { Permit, type Ask, type CallGuard, type Denial } from '../contract/call-guard.ts'
import { judgeOffer } from './judge-offer.ts'

/** Who serves calls without the customer's decision, and why. A test holds the list against the code. */
export const EXEMPT = {
  'local socket':
    'An operator asks the daemon itself, over a unix socket that its own user and root alone can open: nothing crosses the tunnel.',
  'gateway to callers':
    "The gateway tells verified callers about itself and of which clusters are connected: it is the control plane's end, and no agent is asked.",
  'gateway to agents':
    "The gateway takes registration, renewal and heartbeats: the agent's own guard has judged them before they left.",
} as const

/** The name of an exemption. */
export type Exemption = keyof typeof EXEMPT

/** Makes the guard of a server that is exempt. `refuse`: what it refuses all the same; default: nothing. */
export function exempt(
  _why: Exemption,
  refuse: (ask: Ask) => Denial | undefined = () => undefined,
): CallGuard {
  return {
    judgeOffer,
    decide: (ask) => refuse(ask) ?? new ExemptPermit(),
    userOf: () => ({ fault: 'no tokens of users are taken here' }),
  }
}

/** Counts nothing and bounds nothing. */
class ExemptPermit extends Permit {
  override readonly messageBytesMax = Infinity
  override readonly fields = undefined
  override readonly demandsRegion = false

  override mayTell(): boolean {
    return true
  }

  override pass(): undefined {
    return undefined
  }

  override about(): undefined {
    return undefined
  }

  override lies(): undefined {
    return undefined
  }

  override minted(): void {
    // Nobody keeps a record of it.
  }

  override request(): Permit {
    return new ExemptPermit()
  }

  override ended(): void {
    // Nobody counts it.
  }
}
