import { existsSync, readFileSync, statSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fromJson, toJson, type JsonValue } from '@bufbuild/protobuf'
import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError, printable, type PosternError } from '../../base/errors.ts'
import { every } from '../../base/every.ts'
import type { Logger } from '../../base/logger.ts'
import { VERSION } from '../../base/version.ts'
import { AgentStatusSchema, type AgentStatus } from '../../gen/postern/v1/agent_control_pb.js'
import { FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'
import type { AgentRooms } from './rooms.ts'
import { agentStatus } from './status.ts'

const NAME = 'last-status.json'
const START_NAME = 'failed-start.json'
const FILE_BYTES_MAX = 1024 * 1024
const LOOK_MS = 1000
const SAVE_MS = 60_000

/** What is kept on disk of the last state of the daemon. */
export interface LastStatus {
  readonly savedAt: string
  readonly status: AgentStatus
}

/** Why the daemon did not start, the last time that it was tried. */
export interface FailedStart {
  readonly at: string
  readonly code: string
  readonly text: string
}

/** Keeps why a start failed, where there is a folder for it; `undefined`: it has not. */
export function noteStart(
  stateDirectory: string,
  error: PosternError | undefined,
  nowMs: number,
): void {
  const path = join(stateDirectory, START_NAME)
  try {
    if (error === undefined) rmSync(path, { force: true })
    else if (existsSync(stateDirectory)) {
      const { code, rawMessage: text } = error
      const failed = { at: new Date(nowMs).toISOString(), code, text: printable(text, 1000) }
      writeState(path, `${JSON.stringify(failed)}\n`, FOR_OWNER)
    }
  } catch {
    // It is on stderr too; what cannot be written down is no further fault.
  }
}

/** Reads why the last start failed; undefined: it did not, or nobody knows. */
export function readFailedStart(stateDirectory: string): FailedStart | undefined {
  try {
    const path = join(stateDirectory, START_NAME)
    if (statSync(path).size > FILE_BYTES_MAX) return undefined
    const { at, code, text } = JSON.parse(readFileSync(path, 'utf8')) as Partial<FailedStart>
    return at === undefined || code === undefined || text === undefined
      ? undefined
      : { at, code, text }
  } catch {
    // None is there, or it is spoilt.
    return undefined
  }
}

/** Undefined: there is none, or it cannot be read. */
export function readLastStatus(stateDirectory: string): LastStatus | undefined {
  try {
    const path = join(stateDirectory, NAME)
    if (statSync(path).size > FILE_BYTES_MAX) return undefined
    const value = JSON.parse(readFileSync(path, 'utf8')) as { savedAt?: unknown; status: JsonValue }
    const status = fromJson(AgentStatusSchema, value.status, { ignoreUnknownFields: true })
    const { savedAt } = value
    // One of another version may lack fields.
    if (typeof savedAt !== 'string' || status.version !== VERSION) return undefined
    return { savedAt, status }
  } catch {
    // None is there, or it is spoilt.
    return undefined
  }
}

/** The values and collaborators that LastStatus is given. */
export interface LastStatusPorts {
  readonly agent: AgentRooms
  readonly clock: Clock
  readonly logger: Logger
}

/** Keeps the state of the daemon on disk, for when it is down: after each event, and once a minute. */
export class LastStatusKeeper {
  readonly #ports: LastStatusPorts
  #cancelTimer: CancelTimer | undefined
  #savedAtMs = Number.NEGATIVE_INFINITY
  #savedCount = -1
  #hasFailed = false

  constructor(ports: LastStatusPorts) {
    this.#ports = ports
    const before = readLastStatus(this.#folder)
    if (before !== undefined) ports.agent.timeline.restore(before.status.events)
  }

  start(): void {
    this.#cancelTimer = every(
      this.#ports.clock,
      () => LOOK_MS,
      () => {
        const { agent, clock } = this.#ports
        const isNews = agent.timeline.count !== this.#savedCount
        if (isNews || clock.nowMs() - this.#savedAtMs >= SAVE_MS) this.save()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
    this.save()
  }

  /** A disk that is full must not stop the daemon. */
  save(): void {
    const { agent, clock, logger } = this.#ports
    this.#savedAtMs = clock.nowMs()
    this.#savedCount = agent.timeline.count
    const nowMs = clock.wallMs()
    const saved = {
      savedAt: new Date(nowMs).toISOString(),
      status: toJson(AgentStatusSchema, agentStatus(agent.report(), nowMs), {
        alwaysEmitImplicit: true,
      }),
    }
    try {
      makeFolder(this.#folder)
      writeState(join(this.#folder, NAME), `${JSON.stringify(saved)}\n`, FOR_OWNER)
      this.#hasFailed = false
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error)
      if (!this.#hasFailed) logger.warn({ code, reason }, 'the last state cannot be kept on disk')
      this.#hasFailed = true
    }
  }

  get #folder(): string {
    return this.#ports.agent.settings['state.directory']
  }
}
