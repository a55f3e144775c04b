import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError, PosternError, printable } from '../../base/errors.ts'
import { every } from '../../base/every.ts'
import { fileMarks } from '../../base/file-marks.ts'
import { Listeners } from '../../base/listeners.ts'
import type { Logger } from '../../base/logger.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { readPolicy } from '../../config/policy-file.ts'
import { Guard } from '../../guard/guard.ts'
import type { Push } from '../../guard/narrowing.ts'
import { NO_RECORD, type Recorder } from '../../guard/recorder.ts'
import type { PolicyDocument } from '../../guard/rule.ts'
import type { TypeCounts } from '../../guard/type-counts.ts'
import type { Identity } from '../../identity/name.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Reason } from '../health/health.ts'
import { LateUserTokens } from './late-user-tokens.ts'
import { readLockdown, type Lockdown } from './lockdown-file.ts'
import { policyOf, regionRule } from './policy-source.ts'
import { AgentRecord, type RecordReport } from './record.ts'
import { loadSpent, saveSpent } from './spent-file.ts'

const LOOK_MS = 1000
const SAVE_MS = 60_000
const PUSH_BYTES_MAX = 64 * 1024

/** What the guard says of itself. */
export interface GuardReport {
  readonly policy: PolicyDocument
  readonly pushes: readonly Push[]
  readonly lockdown: string | undefined
  /** Whether the control plane is told why. */
  readonly tellsLockdown: boolean
  readonly allowed: number
  readonly denied: number
  readonly observed: number
  readonly byType: TypeCounts['byType']
  /** Undefined: none is kept. */
  readonly record: RecordReport | undefined
  readonly budgets: readonly {
    readonly name: string
    readonly left: number
    readonly amount: number
  }[]
}

/** The customer's guard over a running agent: its policy and lockdown as they lie on disk, watched and in force. */
export class AgentGuard {
  readonly guard: Guard
  /** Another policy is in force. */
  readonly taken = new Listeners<PolicyDocument>()
  /** It was locked down, or the lockdown was lifted. */
  readonly changed = new Listeners<string | undefined>()
  readonly #record: AgentRecord | undefined
  readonly #clock: Clock
  readonly #logger: Logger
  #settings: AgentSettings
  #lockdown: Lockdown | undefined
  #policyError: PosternError | undefined
  #cancelTimer: CancelTimer | undefined
  #seen = ''
  #savedAtMs: number
  #hasFailedToSave = false

  /** `record`: what is written down goes there; none: nowhere. @throws CONFIG_INVALID, CONFIG_UNREADABLE */
  constructor(
    settings: AgentSettings,
    ambient: Ambient,
    record: AgentRecord | Recorder = NO_RECORD,
  ) {
    const recorder = record instanceof AgentRecord ? record.recorder : record
    this.#record = record instanceof AgentRecord ? record : undefined
    const { clock, random, logger } = ambient
    this.#settings = settings
    this.#clock = clock
    this.#logger = logger.child({ component: 'guard' })
    this.#savedAtMs = clock.nowMs()
    const ports = { clock, random, recorder, users: new LateUserTokens(clock, logger) }
    this.guard = new Guard(ports, policyOf(settings), loadSpent(settings['state.directory']))
    this.#seen = this.#marks()
    this.lookForLockdown()
  }

  start(): void {
    this.#record?.start()
    this.#cancelTimer = every(
      this.#clock,
      () => LOOK_MS,
      () => {
        this.#look()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#saveSpent()
    this.#record?.stop()
  }

  /** Writes to the record what waits for it, so that a reader finds what was just done. */
  flushRecord(): void {
    this.#record?.recorder.flush()
  }

  /** Goes over to other settings, and the policy that was read by them. */
  use(settings: AgentSettings, policy: PolicyDocument): void {
    this.#settings = settings
    this.#seen = this.#marks()
    this.#policyError = undefined
    this.guard.use(policy)
    this.taken.tell(policy)
  }

  /** Looks whether an operator has locked the agent down, or lifted it: what runs ends before this returns. */
  lookForLockdown(): void {
    const found = readLockdown(this.#settings['state.directory'])
    if (found?.reason === this.#lockdown?.reason && found?.tell === this.#lockdown?.tell) return
    this.#lockdown = found
    this.guard.lockDown(found?.reason)
    const reason = found?.reason ?? ''
    if (found === undefined) this.#logger.warn({}, 'the lockdown is lifted')
    else this.#logger.warn({ reason }, 'locked down: nothing passes but health')
    this.changed.tell(found?.reason)
  }

  /** Takes a narrower policy over from a gateway for one tunnel. @throws CONFIG_INVALID, POLICY_DENIED where none is taken */
  narrow(tunnel: string, gateway: string, text: string): Push {
    const from = `pushed by ${printable(gateway)}`
    const isFit = text.length <= PUSH_BYTES_MAX
    const { document, problems } = isFit ? readPolicy(text, from, true) : { problems: [] }
    if (document === undefined) {
      const [first] = problems
      const what = isFit ? `line ${String(first?.line)}: ${String(first?.text)}` : 'it is too long'
      throw new PosternError('CONFIG_INVALID', `the pushed policy cannot be read: ${what}`)
    }
    const push = this.guard.narrow(tunnel, gateway, document)
    if (push === undefined)
      throw new PosternError('POLICY_DENIED', 'this agent takes no pushed policy')
    return push
  }

  /** Why a gateway is refused for its region; undefined: it is not. */
  regionRefusal(identity: Identity): PosternError | undefined {
    return regionRule(this.guard.policy)(identity)
  }

  /** Has the record say that a sealed session was refused for the key at its other end. */
  refusedSeal(
    {
      caller,
      gateway,
      region,
      tunnel,
    }: Readonly<Record<'caller' | 'gateway' | 'region' | 'tunnel', string>>,
    { code, rawMessage: text }: PosternError,
  ): void {
    this.guard.refused(
      {
        caller: { kind: 'service', name: caller, known: 'gateway' },
        ...{ name: 'sealed session', kind: 'bidi', declared: undefined, data: undefined },
        ...{ sealed: true, gateway, region, tunnel },
      },
      { code, text },
    )
  }

  report(): GuardReport {
    const { policy, pushes, lockdown, allowed, denied, observed, counts, budgets } = this.guard
    const left = budgets.left(this.#clock.nowMs())
    return {
      policy,
      pushes,
      lockdown,
      tellsLockdown: this.#lockdown?.tell === true,
      ...{ allowed, denied, observed },
      byType: counts,
      record: this.#record?.report(),
      budgets: left.map(({ name, left, spec }) => ({ name, left, amount: spec.amount })),
    }
  }

  /** What keeps the agent from being healthy. */
  reasons(nowMs: number): Reason[] {
    const { policy, lockdown, isTimeWrong } = this.guard
    const found: Reason[] = [...(this.#record?.reasons() ?? [])]
    const add = (key: string, text: string): void => void found.push({ key, text })
    if (lockdown !== undefined) add('lockdown', `locked down: ${lockdown}`)
    if (this.#policyError !== undefined)
      add('policy', `the policy on disk is not in force: ${this.#policyError.rawMessage}`)
    if (policy.mode === 'observe' && nowMs < policy.observeUntilMs)
      add(
        'observe',
        `the policy is only observed, until ${new Date(policy.observeUntilMs).toISOString()}: what no rule allows passes`,
      )
    if (isTimeWrong && policy.rules.some(({ hours }) => hours !== undefined))
      add(
        'clock',
        'the wall clock has jumped: time windows of the policy are shut until it is read anew (SIGHUP)',
      )
    return found
  }

  #look(): void {
    this.guard.tick()
    this.lookForLockdown()
    const seen = this.#marks()
    if (seen !== this.#seen) {
      this.#seen = seen
      try {
        this.use(this.#settings, policyOf(this.#settings))
        this.#logger.info({}, 'the policy has changed, and is in force')
      } catch (error) {
        this.#policyError = asPosternError(error, 'CONFIG_INVALID')
        const { code, rawMessage: reason } = this.#policyError
        this.#logger.warn({ code, reason }, 'the policy has changed, and is not taken')
      }
    }
    if (this.#clock.nowMs() - this.#savedAtMs >= SAVE_MS) this.#saveSpent()
  }

  /** What tells one state of the policy's file from another. */
  #marks(): string {
    return fileMarks(this.#settings['policy.file'])
  }

  #saveSpent(): void {
    const nowMs = this.#clock.nowMs()
    this.#savedAtMs = nowMs
    const spent = this.guard.budgets.spent(nowMs)
    if (Object.keys(spent).length === 0) return
    try {
      saveSpent(this.#settings['state.directory'], spent)
      this.#hasFailedToSave = false
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error)
      if (!this.#hasFailedToSave)
        this.#logger.warn({ code, reason }, 'what budgets have spent cannot be kept on disk')
      this.#hasFailedToSave = true
    }
  }
}

export {
  liftLockdown,
  liftLockdownOf,
  readLockdown,
  writeLockdown,
  type Lockdown,
} from './lockdown-file.ts'
export { OwnChannel } from './own-channel.ts'
export { policyOf, regionRule } from './policy-source.ts'
export { AgentRecord, recordDirectory, type RecordReport } from './record.ts'
export { loadSpent } from './spent-file.ts'
