import type { Clock } from '../base/clock.ts'
import { printable } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import {
  Notices as NoticesService,
  type CanaryRequest,
  type Notice,
} from '../gen/postern/v1/tunnel_pb.js'
import type { CallContext } from '../rpc/call-context.ts'
import type { Offer } from '../rpc/service.ts'
import { offersOf } from '../rpc/typed.ts'

const BYTES_MAX = 1024 * 1024
const WARNINGS_MAX = 8
const WARNINGS_PER_NOTICE = 4

export interface NoticeTakerParts {
  readonly logger: Logger
  readonly clock: Clock
  /** Resolves to the version held. @throws BUNDLE_REFUSED */
  readonly adopt: (bundles: readonly Uint8Array[]) => Promise<number>
  readonly takeCrls: (crls: readonly Uint8Array[], authorities: readonly Uint8Array[]) => void
  readonly orderRenewal: (withinMs: number) => void
  /** `gateway`: at the other end of the tunnel, by its certificate. */
  readonly takeCanary: (gateway: string, canary: CanaryRequest) => void
  readonly onWarning: (text: string) => void
}

/** A warning that the gateway gave. */
export interface Warning {
  readonly atMs: number
  readonly text: string
}

/** Takes what the gateway tells unasked; nothing of it is believed beyond what it proves. */
export class NoticeTaker {
  readonly #parts: NoticeTakerParts
  /** The last ones, oldest first. */
  readonly warnings: Warning[] = []

  constructor(parts: NoticeTakerParts) {
    this.#parts = parts
  }

  offers(): Offer[] {
    const tell = (notice: Notice) => this.#take(notice)
    const canary = (request: CanaryRequest, { caller }: CallContext): object => {
      if (caller.kind === 'gateway') this.#parts.takeCanary(caller.name, request)
      return {}
    }
    return offersOf(NoticesService, { tell, canary }, 'cluster-record').map((offer) => ({
      ...offer,
      requestBytesMax: BYTES_MAX,
    }))
  }

  async #take(notice: Notice): Promise<{ bundleVersion: number }> {
    const { adopt, takeCrls, orderRenewal, logger, clock } = this.#parts
    for (const text of notice.warnings.slice(0, WARNINGS_PER_NOTICE)) {
      const warning = { atMs: clock.wallMs(), text: printable(text) }
      this.warnings.push(warning)
      if (this.warnings.length > WARNINGS_MAX) this.warnings.shift()
      logger.warn({ reason: warning.text }, 'the gateway warns')
      this.#parts.onWarning(warning.text)
    }
    const bundleVersion = await adopt(notice.bundles)
    takeCrls(notice.crls, notice.gatewayAuthorities)
    if (notice.renewWithinMs !== undefined) orderRenewal(notice.renewWithinMs)
    return { bundleVersion }
  }
}
