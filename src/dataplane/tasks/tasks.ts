import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { printable } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import {
  Tasks,
  type Action,
  type DispatchRequest,
  type DispatchResponse,
  type DispatchResponseSchema,
} from '../../gen/postern/dataplane/v1/tasks_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import { useBackend, type FaultPorts } from '../backend-use.ts'
import type { ExecutorRow } from '../executor-row.ts'
import { Attempts } from './attempts.ts'
import { askExecutor } from './executor.ts'
import { attemptName, judgeTask } from './judge-task.ts'

const TEXT_MAX = 1000

/** The collaborators of the executors. */
export interface TaskPorts extends FaultPorts {
  readonly clock: Pick<Clock, 'nowMs'>
  /** Hears of each attempt that has begun, once; not of sealed calls, as the control plane is told of it in clear. */
  readonly onDispatched?: (request: DispatchRequest) => void
}

interface Attempted {
  readonly executor: string
  readonly action?: Action | undefined
  readonly attempt: number
}

/** The customer's executors of tasks: definitions are judged, and go on. */
export class Executors {
  readonly #rows: ReadonlyMap<string, ExecutorRow>
  readonly #ports: TaskPorts
  readonly #attempts = new Attempts<DispatchResponse>()

  constructor(rows: readonly ExecutorRow[], ports: TaskPorts) {
    this.#rows = new Map(rows.map((row) => [row.name, row]))
    this.#ports = ports
  }

  /** `postern.dataplane.v1.Tasks`. */
  offers(): Offer[] {
    const { abort, status } = Tasks.method
    return offersOf(Tasks, {
      dispatch: (request, context) => this.#dispatch(request, context),
      abort: async (request, context) => {
        const { phase } = await this.#ask(abort, request, context)
        return { phase }
      },
      status: async (request, context) => {
        const answer = await this.#ask(status, request, context)
        return { ...answer, message: printable(answer.message, TEXT_MAX) }
      },
    })
  }

  report(): { readonly name: string; readonly type: string; readonly url: string }[] {
    return [...this.#rows.values()].map(({ name, type, url }) => ({ name, type, url: url.origin }))
  }

  async #dispatch(
    request: DispatchRequest,
    context: CallContext,
  ): Promise<MessageInitShape<typeof DispatchResponseSchema>> {
    const row = this.#rowOf(request)
    const name = `${row.name}/${attemptName(request.action, request.attempt)}`
    judgeTask(request, row)
    const { answer, isRepeated } = await this.#attempts.once(name, request, async () => {
      const begun = await this.#ask(Tasks.method.dispatch, request, context)
      if (!isSealed(context)) this.#ports.onDispatched?.(request)
      return begun
    })
    const message = printable(answer.message, TEXT_MAX)
    return { phase: answer.phase, message, repeated: isRepeated || answer.repeated }
  }

  #rowOf({ executor }: Attempted): ExecutorRow {
    const row = this.#rows.get(executor)
    if (row !== undefined) return row
    throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no executor has that name')
  }

  async #ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageShape<I> & Attempted,
    { signal, deadlineAtMs }: CallContext,
  ): Promise<MessageShape<O>> {
    const row = this.#rowOf(request)
    const key = attemptName(request.action, request.attempt)
    return await useBackend({ setting: 'executors', name: row.name }, this.#ports, async () => {
      const leftMs = (deadlineAtMs ?? Infinity) - this.#ports.clock.nowMs()
      return await askExecutor(row, method, request, { leftMs, signal, key })
    })
  }
}

/** Whom the agent knows first-hand has sealed its call, so that no gateway reads it. */
function isSealed({ caller }: CallContext): boolean {
  return caller.kind === 'service' && caller.known === 'first-hand'
}
