import { asPosternError, PosternError } from '../../base/errors.ts'
import type { CancelTimer } from '../../base/clock.ts'
import { every } from '../../base/every.ts'
import { fileMarks } from '../../base/file-marks.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { Logger } from '../../base/logger.ts'
import type { MuxStream } from '../../mux/stream.ts'
import { callerText, type Caller } from '../../contract/caller.ts'
import type { Origin } from '../../rpc/server.ts'
import type { SealedDoor } from '../../seal/sealed-door.ts'
import { sealedEnd, type SealingKey } from '../../seal/sealing-key.ts'
import type { SealTrust } from '../../seal/trust.ts'
import type { SealedEnd } from '../../transport/sealed-tls.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Reason } from '../health/health.ts'
import type { Services } from '../services/services.ts'
import { agentSealingKey, callerTrust, sealingKeyFile, type SealSettings } from './seal-files.ts'

const LOOK_MS = 2000

/** How sealed sessions are. */
export interface SealReport {
  /** Those that are open. */
  readonly sessions: number
  /** `sha256:HEX` of our key. */
  readonly pin: string
  /** Callers that are known by a pin, and CAs that certify others. */
  readonly pins: number
  readonly authorities: number
}

/** The values and collaborators that AgentSeal is given. */
export interface AgentSealPorts {
  readonly settings: SealSettings
  readonly ambient: Ambient
  readonly process: ProcessParts
  readonly services: Services
  readonly guard: AgentGuard
  /** Roots of the vendor, in PEM: none of them may vouch for callers. */
  readonly bundlePem: () => string
}

/** The agent's end of sealed sessions: its key, whom it knows first-hand, and the sessions that are open. */
export class AgentSeal {
  readonly #ports: AgentSealPorts
  readonly #logger: Logger
  /** Read when the first session comes. */
  #door: SealedDoor | undefined
  #opening: Promise<SealedDoor> | undefined
  #settings: SealSettings
  /** Undefined: it could not be made, and nobody is to seal with us. */
  #key: SealingKey | undefined
  #trust: SealTrust
  #end: Promise<SealedEnd> | undefined
  #seen: string
  #error: PosternError | undefined
  #cancelTimer: CancelTimer | undefined

  /** @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE, STATE_UNWRITABLE, CONFIG_INVALID */
  constructor(ports: AgentSealPorts) {
    const { settings, ambient, guard } = ports
    this.#ports = ports
    this.#settings = settings
    this.#logger = ambient.logger.child({ component: 'seal' })
    this.#trust = callerTrust(settings, ports.bundlePem())
    this.#key = this.#readKey(settings)
    this.#seen = this.#marks()
    guard.changed.add((lockdown) => {
      if (lockdown !== undefined)
        this.#door?.close('LOCKED_DOWN', 'the customer has locked this agent down')
    })
  }

  start(): void {
    const look = (): void => {
      if (this.#marks() !== this.#seen) this.use(this.#settings)
    }
    this.#cancelTimer = every(this.#ports.ambient.clock, () => LOOK_MS, look)
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  /** Goes over to other settings, and to the files as they are now. What cannot be read leaves all as it was. */
  use(settings: SealSettings): void {
    this.#settings = settings
    this.#seen = this.#marks()
    try {
      const trust = callerTrust(settings, this.#ports.bundlePem())
      this.#key = agentSealingKey(settings)
      this.#trust = trust
      this.#end = undefined
      this.#error = undefined
      void this.#door?.sweep()
      this.#logger.info({}, 'what seals and who is known first-hand was read anew')
    } catch (error) {
      this.#error = asPosternError(error, 'CONFIG_INVALID')
      const { code, rawMessage: reason } = this.#error
      this.#logger.warn({ code, reason }, 'what seals has changed, and is not taken')
    }
  }

  /** Takes the stream of a sealed session that came over a tunnel; `origin`: that of the tunnel. */
  take(stream: MuxStream, origin: Origin, outer: Caller): void {
    const refusal = this.#refusal()
    if (refusal !== undefined) {
      stream.refuse(refusal.code, false, refusal.rawMessage)
      return
    }
    if (this.#door !== undefined) {
      this.#enter(this.#door, stream, origin, outer)
      return
    }
    this.#open().then(
      (door) => {
        if (!stream.isClosed) this.#enter(door, stream, origin, outer)
      },
      (error: unknown) => {
        const { code, rawMessage: reason } = asPosternError(error)
        this.#logger.error({ code, reason }, 'sealed sessions cannot be served')
        stream.refuse('INTERNAL', true, '')
      },
    )
  }

  #enter(door: SealedDoor, stream: MuxStream, origin: Origin, outer: Caller): void {
    const { server } = this.#ports.services
    const { cluster = '', gateway = '', region = '', tunnel = '' } = origin
    const from = { gateway, region, tunnel, caller: callerText(outer) }
    door.take(stream, from, ({ identity }) => {
      const { caller: name = '', region: from } = identity.role === 'caller' ? identity : {}
      const caller = { kind: 'service', name, known: 'first-hand', region: from } as const
      return server.streamsOf({ callerOf: () => caller, cluster, gateway, region, tunnel })
    })
  }

  #open(): Promise<SealedDoor> {
    const { process, ambient, guard } = this.#ports
    return (this.#opening ??= import('../../seal/sealed-door.ts').then(
      ({ SealedDoor: Door }) =>
        (this.#door = new Door({
          process,
          end: () => this.#ourEnd(),
          refusal: () => this.#refusal(),
          log: new LogLimiter(this.#logger, ambient.clock),
          onRefused: (from, refusal) => {
            guard.refusedSeal(from, refusal)
          },
        })),
    ))
  }

  /** A tunnel takes no new streams: sessions in it end with their last call, and callers make others. */
  leave(tunnel: string): void {
    this.#door?.leave(tunnel)
  }

  report(): SealReport {
    const { pins, roots } = this.#trust
    const known = { pins: pins.size, authorities: roots.length }
    return { sessions: this.#door?.sessionCount ?? 0, pin: this.#key?.pin ?? '', ...known }
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    if (this.#error === undefined) return []
    return [{ key: 'seal', text: `what seals is not in force: ${this.#error.rawMessage}` }]
  }

  #refusal(): PosternError | undefined {
    const { lockdown } = this.#ports.guard.guard
    if (lockdown !== undefined)
      return new PosternError('LOCKED_DOWN', 'the customer has locked this agent down')
    return this.#knowsNobody || this.#key === undefined
      ? new PosternError(
          'SEAL_REFUSED',
          'this agent knows no caller first-hand: its customer names them in seal.callers, or the CA that certifies them in seal.callerCaFile',
        )
      : undefined
  }

  get #knowsNobody(): boolean {
    const { pins, roots } = this.#trust
    return pins.size + roots.length === 0
  }

  /** Without anybody who could seal with us, a folder that cannot be written is no reason not to start. */
  #readKey(settings: SealSettings): SealingKey | undefined {
    try {
      return agentSealingKey(settings)
    } catch (error) {
      if (!this.#knowsNobody || settings['seal.keyFile'] !== undefined) throw error
      return undefined
    }
  }

  #ourEnd(): Promise<SealedEnd> {
    const { clock } = this.#ports.ambient
    const key = this.#key
    if (key === undefined)
      return Promise.reject(new PosternError('SEAL_REFUSED', 'this agent has no sealing key'))
    if (this.#end !== undefined) return this.#end
    const end = sealedEnd(
      key,
      () => this.#trust,
      'caller',
      () => clock.wallMs(),
    )
    this.#end = end
    // What has failed once is tried again.
    end.catch(() => {
      if (this.#end === end) this.#end = undefined
    })
    return end
  }

  /** What tells one state of the files from another. */
  #marks(): string {
    const { 'seal.certificateFile': certificate, 'seal.callerCaFile': ca } = this.#settings
    return fileMarks(sealingKeyFile(this.#settings), certificate, ca)
  }
}

export { agentSealingKey, judgeSeal, sealingKeyFile } from './seal-files.ts'
