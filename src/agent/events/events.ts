import { join } from 'node:path'
import { create } from '@bufbuild/protobuf'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { EventQueue, redactorOf, type EventsReport } from '../../dataplane/events/events.ts'
import { RunEventSchema } from '../../gen/postern/dataplane/v1/events_pb.js'
import { Phase, type DispatchRequest } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Reason } from '../health/health.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'
import { EventSender } from './sender.ts'

/** The values and collaborators that AgentEvents is given. */
export interface AgentEventsPorts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly logger: Logger
  readonly guard: AgentGuard
  readonly tunnels: Tunnels
}

/** What workloads and executors tell of runs: taken over a socket, queued, and handed on to the control plane. */
export class AgentEvents {
  readonly #ports: AgentEventsPorts
  #settings: AgentSettings
  #isOpen = false
  #isStopped = false
  #queue: EventQueue | undefined
  #sender: EventSender | undefined
  #socket: { close(): void } | undefined
  #failure: string | undefined

  constructor(ports: AgentEventsPorts) {
    this.#ports = ports
    this.#settings = ports.settings
  }

  /** Opens queue and socket, where the settings name one or a task could be told of. */
  start(): void {
    const settings = this.#settings
    if (this.#isOpen || this.#isStopped) return
    if (settings['events.socket'] === undefined && settings.executors.length === 0) return
    this.#isOpen = true
    this.#open().catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      this.#failure = reason
      this.#ports.logger.error({ code, reason }, 'events of runs cannot be taken')
    })
  }

  /** Settings were read anew: the first executor of all brings events. */
  use(settings: AgentSettings): void {
    this.#settings = settings
    this.start()
  }

  async #open(): Promise<void> {
    const { ambient, logger, guard, tunnels } = this.#ports
    const settings = this.#settings
    const directory = settings['events.spill']
    const keyFile = join(settings['state.directory'], 'events.key')
    const path = settings['events.socket']
    const [redact, local] = await Promise.all([
      redactorOf(settings['events.redact']),
      path === undefined ? undefined : import('./local-events.ts'),
    ])
    if (this.#isStopped) return
    const queue = new EventQueue({
      ...{ clock: ambient.clock, random: ambient.random, bytesMax: settings['events.queueMax'] },
      rules: { texts: settings['events.texts'], redact },
      spill:
        directory === undefined
          ? undefined
          : { directory, keyFile, bytesMax: settings['events.spillMax'] },
      onAdded: () => {
        this.#sender?.wake()
      },
    })
    this.#queue = queue
    this.#sender = new EventSender({ clock: ambient.clock, logger, guard, tunnels, queue })
    this.#sender.wake()
    if (path === undefined || local === undefined) return
    const socket = local.localEvents(path, settings['events.openers'], queue, ambient.clock)
    this.#socket = socket
    await socket.listen()
  }

  /** An attempt has begun: its definition is kept by the control plane. */
  dispatched({ action, attempt, task }: DispatchRequest): void {
    const event = create(RunEventSchema, { attempt, phase: Phase.QUEUED })
    if (action !== undefined) event.action = action
    if (task !== undefined) event.task = task
    try {
      if (this.#queue === undefined)
        throw new PosternError('EVENTS_FULL', this.#failure ?? 'events of runs are not taken yet')
      this.#queue.tell(event)
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error)
      this.#ports.logger.warn({ code, reason }, 'a dispatch could not be told of')
    }
  }

  /** A gateway has come, or the lockdown was lifted. */
  hurry(): void {
    this.#sender?.hurry()
  }

  stop(): void {
    this.#isStopped = true
    this.#sender?.stop()
    this.#socket?.close()
  }

  /** Undefined: none are taken. */
  report(): EventsReport | undefined {
    return this.#queue?.report()
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    const failure = this.#failure ?? this.#sender?.failure
    if (failure === undefined) return []
    return [{ key: 'events', text: `events of runs are not handed on: ${failure}` }]
  }
}
