import { rootPins } from '../../identity/certificate-files.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import type { Connected } from '../access/access.ts'
import { CaChange, gatewayFiles, type Authorities, type ChangePhase } from '../ca/ca.ts'
import type { Operator, StoreTools } from './store-tools.ts'

/** Where the CAs stand, and whom the next step would cut off. */
export interface CaStatus {
  readonly phase: ChangePhase
  readonly bundleVersion: number
  readonly generations: readonly {
    readonly id: number
    readonly phase: string
    readonly root: string
    readonly notAfter: string
    readonly expiresInMs: number
  }[]
  /** Pins of the roots that are trusted. */
  readonly pins: readonly string[]
  readonly stragglers: readonly { readonly identity: string; readonly reason: string }[]
}

/** Where the roots lie, brought back for this step alone. */
export interface PrepareRequest {
  readonly rootFolder: string
  /** A new root is made in this folder; undefined: the root stays. */
  readonly newRootFolder: string | undefined
  readonly rootProtection: KeyProtection
}

/** The change of a CA, step by step. Each step resolves to where things stand after it. */
export class CaOperations {
  readonly #tools: StoreTools
  readonly #authorities: Authorities
  readonly #change: CaChange

  private constructor(tools: StoreTools, authorities: Authorities, change: CaChange) {
    this.#tools = tools
    this.#authorities = authorities
    this.#change = change
  }

  /** `connected`: who is live; undefined where no daemon says, and whoever holds a certificate counts as live. @throws what reading the CAs throws */
  static async open(
    tools: StoreTools,
    connected: readonly Connected[] | undefined,
  ): Promise<CaOperations> {
    const authorities = await tools.authorities()
    const change = new CaChange(tools, authorities, connected)
    return new CaOperations(tools, authorities, change)
  }

  /** Makes the next issuing CAs and hands agents the wider bundle. @throws as CaChange.prepare */
  async prepare(request: PrepareRequest, operator: Operator): Promise<CaStatus> {
    await this.#change.prepare(request, { ...operator, isForced: false })
    return await this.status(operator.nowMs)
  }

  /** Takes a step, though somebody would be cut off where it is forced. @throws as CaChange */
  async step(
    name: 'activate' | 'retire' | 'rollback',
    operator: Operator,
    isForced: boolean,
  ): Promise<CaStatus> {
    await this.#change[name]({ ...operator, isForced })
    return await this.status(operator.nowMs)
  }

  async status(nowMs: number): Promise<CaStatus> {
    const { rows, bundle } = this.#authorities
    const shown = rows.filter(({ phase }) => phase !== 'retired' && phase !== 'abandoned')
    return {
      phase: this.#change.phase,
      bundleVersion: bundle.version,
      generations: shown.map((row) => {
        const { notAfter } = this.#authorities.read(row).agents.certificate
        return {
          id: row.id,
          phase: row.phase,
          root: row.root_pin,
          notAfter: notAfter.toISOString(),
          expiresInMs: notAfter.getTime() - nowMs,
        }
      }),
      pins:
        bundle.version === 0
          ? rootPins(gatewayFiles(this.#tools.settings).bundleFile)
          : [...new Set(shown.map(({ root_pin }) => root_pin))],
      stragglers: await this.#change.stragglers(nowMs),
    }
  }
}
