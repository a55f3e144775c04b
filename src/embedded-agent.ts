/**
 * The public API of an agent inside one's own program, published as `postern/agent`: handlers written there are called through the
 * gateways as far as the policy allows, and recorded as every call is.
 *
 *     await using agent = await startAgent({
 *       configFile: '/etc/postern/agent.yaml',
 *       services: [serve(Jobs, { get: (request, { caller }) => ({ name: request.name }) })],
 *     })
 *     await agent.ready()
 */
import type { DescService } from '@bufbuild/protobuf'
import { Agent } from './agent/agent.ts'
import { operatorOffers } from './agent/control/control.ts'
import { joinWhenNeeded } from './agent/enrolment/enrolment.ts'
import type { Clock } from './base/clock.ts'
import { PosternError } from './base/errors.ts'
import { silentLogger, type Logger } from './base/logger.ts'
import { pause } from './base/pause.ts'
import { systemRandom, type Random } from './base/random.ts'
import { systemClock } from './base/system-clock.ts'
import { AGENT_SETTINGS, type AgentSettings } from './config/agent-settings.ts'
import { loadSettings } from './config/load.ts'
import type { Caller } from './contract/caller.ts'
import type { DataType } from './contract/data-type.ts'
import { embeddedService, type EmbeddedService } from './dataplane/vendor/vendor.ts'
import type { HandlersWith, Implementation } from './rpc/typed.ts'
import { LocalServer } from './tunnel/local-rpc.ts'
import type { Ambient } from './tunnel/process-parts.ts'
import type { Metadata } from './wire/metadata.ts'

const LOOK_MS = 20

export { PosternError, type ErrorCode, type ErrorFacts, type Recovery } from './base/errors.ts'
export { RpcError, type StatusName } from './rpc/status.ts'
export type { CancelTimer, Clock } from './base/clock.ts'
export type { Random } from './base/random.ts'
export type { Logger, LogFacts } from './base/logger.ts'
export type { Metadata } from './wire/metadata.ts'
export type { DataType } from './contract/data-type.ts'
export type { Caller } from './contract/caller.ts'
export type { HandlerAnswer, HandlersWith } from './rpc/typed.ts'

/** What a handler is told of a call. Times are those of the clock that the agent goes by. */
export interface HandlerContext {
  readonly caller: Caller
  /** "package.Service/Method". */
  readonly name: string
  /** Metadata that the policy lets through. */
  readonly metadata: Metadata
  /** W3C Trace Context; empty where there was none. */
  readonly traceparent: string
  /** Monotonic, in ms; undefined: no deadline. */
  readonly deadlineAtMs: number | undefined
  /** Aborted when the caller cancels, the deadline passes or the tunnel is lost. */
  readonly signal: AbortSignal
  /** Metadata that goes with the status OK, where the policy lets its names through. */
  trailers: Metadata
  /** Begins the answer with metadata: once, before its first message. */
  sendHeaders(metadata: Metadata): void
}

/** Handlers of a service: one function per method. They fail with `RpcError`; what else they throw becomes INTERNAL, its text told to nobody. */
export type Handlers<S extends DescService> = HandlersWith<S, HandlerContext>

/** A service with its handlers, as `serve` makes it. */
export interface ServedService {
  /** "package.Service". */
  readonly name: string
}

const SERVED = new WeakMap<ServedService, EmbeddedService>()

/**
 * Joins a described service and its handlers. Each method says by the option `(postern.v1.data)` of its .proto file what data it moves, or
 * `dataTypes` does, by "package.Service/Method".
 * @throws PosternError CONFIG_INVALID where a method says nothing, or carries what never crosses
 */
export function serve<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  dataTypes: Readonly<Record<string, DataType>> = {},
): ServedService {
  // A CallContext is a HandlerContext, and more.
  const made = embeddedService(service, handlers as unknown as Implementation<S>, dataTypes)
  const served = { name: made.name }
  SERVED.set(served, made)
  return served
}

/** What an agent is started with. */
export interface StartAgentOptions {
  /** YAML file of settings, as `agent run --config` reads it. Default: none. */
  readonly configFile?: string
  /** Settings by their names in docs/SETTINGS.md; they come before those of the file. Default: none. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** Default: none but those of the settings. */
  readonly services?: readonly ServedService[]
  /** Opens `status.socket`, for `agent status` and the other commands. Default: false. */
  readonly statusSocket?: boolean
  /** Default: nothing is logged. */
  readonly logger?: Logger
  /** Time and chance, for tests. Default: the real ones. */
  readonly clock?: Clock
  readonly random?: Random
  /** Gives up enrolling. Default: it is tried until it succeeds. */
  readonly signal?: AbortSignal
}

/**
 * Starts an agent in this process; it enrols first where it must and the settings say with what. Resolves before a tunnel is up.
 * @throws PosternError CONFIG_INVALID, NOT_ENROLLED, CANCELLED, LISTEN_FAILED, and what reading the identity throws
 */
export async function startAgent(options: StartAgentOptions): Promise<EmbeddedAgent> {
  const { services = [], signal = new AbortController().signal, statusSocket = false } = options
  const { clock = systemClock, random = systemRandom, logger = silentLogger } = options
  const ambient = { clock, random, logger }
  const settings = settingsOf(options)
  await joinWhenNeeded(settings, ambient, signal)
  if (signal.aborted) throw new PosternError('CANCELLED', 'starting the agent was given up')
  const agent = new Agent(settings, ambient)
  for (const service of services) {
    const made = SERVED.get(service)
    if (made === undefined)
      throw new PosternError('CONFIG_INVALID', `service ${service.name} was not made by serve()`)
    agent.services.embed(made)
  }
  const local = statusSocket ? await openSocket(agent, ambient) : undefined
  agent.start()
  return new EmbeddedAgent(agent, clock, () => local?.close(), options)
}

/** An agent in this process. Drains by `await using`, too. */
export class EmbeddedAgent implements AsyncDisposable {
  readonly #agent: Agent
  readonly #clock: Clock
  readonly #closeSocket: () => void
  readonly #options: StartAgentOptions

  /** @internal Made by startAgent. */
  constructor(agent: Agent, clock: Clock, closeSocket: () => void, options: StartAgentOptions) {
    this.#agent = agent
    this.#clock = clock
    this.#closeSocket = closeSocket
    this.#options = options
  }

  /** Resolves when a tunnel is up. @throws PosternError CANCELLED where the signal comes first */
  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.#agent.tunnels.all.some(({ state }) => state.name === 'ready')) {
      if (signal?.aborted === true)
        throw new PosternError('CANCELLED', 'nobody waits for the tunnel any more')
      await pause(this.#clock, LOOK_MS, signal)
    }
  }

  /** How it is, as `agent health` says: healthy, degraded or down, and why. */
  get health(): { readonly health: string; readonly reasons: readonly string[] } {
    const { health, reasons } = this.#agent.health.report()
    return { health, reasons: reasons.map(({ text }) => text) }
  }

  /** Reads the identity and the file of settings anew, as SIGHUP makes the daemon do. @throws PosternError; what was in force stays */
  async reload(): Promise<void> {
    await this.#agent.reload(() => settingsOf(this.#options))
  }

  /** Takes no more calls, and resolves when those that run have ended, or `drain.grace` has passed. */
  async drain(): Promise<void> {
    await this.#agent.drain()
    this.stop()
  }

  /** Ends at once; calls that run fail. */
  stop(): void {
    this.#closeSocket()
    this.#agent.stop()
  }

  /** As `drain`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain()
  }
}

function settingsOf({ configFile, settings = {} }: StartAgentOptions): AgentSettings {
  const unknown = Object.keys(settings).find((key) => !Object.hasOwn(AGENT_SETTINGS, key))
  if (unknown !== undefined)
    throw new PosternError('CONFIG_INVALID', `settings: there is no setting ${unknown}`)
  const flags = Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  )
  return loadSettings(AGENT_SETTINGS, { flags, environment: {}, file: configFile }).values
}

async function openSocket(agent: Agent, ambient: Ambient): Promise<LocalServer> {
  const local = new LocalServer(agent.settings['status.socket'], ambient)
  const reload = (): Promise<void> => agent.reload()
  const { clock } = ambient
  for (const offer of operatorOffers({ agent, clock, reload, recentLog: () => [] }))
    local.server.offer(offer)
  await local.listen()
  return local
}
