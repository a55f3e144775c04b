import { LogLimiter } from '../../base/log-limiter.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { FrontRow } from '../../config/front-row.ts'
import { sameSetting } from '../../config/reload.ts'
import type { OwnIdentity } from '../ca/ca.ts'
import type { AgentSide } from './agent-side.ts'
import { FrontDial, type FrontDialPorts, type FrontReport } from './front-dial.ts'

/** The values and collaborators that Fronts is given. */
export interface FrontsPorts extends Pick<FrontDialPorts, 'ambient'> {
  readonly own: OwnIdentity
  readonly settings: GatewaySettings
  readonly agents: AgentSide
}

/** Dials the fronts behind which agents are, for those that run a connector of Cloudflare beside them. */
export class Fronts {
  readonly #ports: FrontDialPorts
  #dials: readonly FrontDial[] = []
  #isOver = false

  constructor({ settings, ambient, own, agents }: FrontsPorts) {
    const { logger, clock } = ambient
    this.#ports = {
      ambient,
      credential: () => own.credential,
      log: new LogLimiter(logger.child({ component: 'fronts' }), clock),
      trustDomain: settings.trustDomain,
      handshakeMs: settings['handshake.timeout'],
      take: (wire) => {
        agents.accept(wire)
      },
    }
  }

  /** Dials these from now on: those that stay are not disturbed. Agents that are connected stay so. */
  use(rows: readonly FrontRow[]): void {
    if (this.#isOver) return
    const kept = this.#dials.filter(({ row }) => rows.some((one) => sameSetting(one, row)))
    for (const dial of this.#dials) if (!kept.includes(dial)) dial.stop()
    const fresh = rows
      .filter((row) => !kept.some((dial) => sameSetting(dial.row, row)))
      .map((row) => new FrontDial(row, this.#ports))
    for (const dial of fresh) dial.start()
    this.#dials = [...kept, ...fresh]
  }

  stop(): void {
    this.#isOver = true
    for (const dial of this.#dials) dial.stop()
  }

  report(): readonly FrontReport[] {
    return this.#dials.map((dial) => dial.report())
  }
}
