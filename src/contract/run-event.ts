import type { Action } from '../gen/postern/dataplane/v1/tasks_pb.js'
import { Phase } from '../gen/postern/dataplane/v1/tasks_pb.js'
import type { RunEvent } from '../gen/postern/dataplane/v1/events_pb.js'

/** Longest text of an event, in bytes of UTF-8. */
export const EVENT_TEXT_BYTES_MAX = 2048
/** Longest event, in bytes. */
export const EVENT_BYTES_MAX = 48 * 1024
const ATTRIBUTES_MAX = 32
const ATTRIBUTE_BYTES_MAX = 256
const KIND_BYTES_MAX = 256
const ATTEMPTS_MAX = 1_000_000
const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const ATTRIBUTE = /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/

/** Why an action is none; undefined: it is one. */
export function actionFault(action: Action | undefined, attempt: number): string | undefined {
  if (action === undefined) return 'it names no action'
  const { organisation, project, domain, run, action: name } = action
  if (![organisation, project, domain, run, name].every((one) => SEGMENT.test(one)))
    return 'the parts of an action are 1 to 63 of letters, digits, ".", "_" and "-"'
  return attempt < 1 || attempt > ATTEMPTS_MAX ? 'attempts are counted from 1' : undefined
}

/** Why an event is none, before its texts are cut; undefined: it is one. Both ends judge it. */
export function eventFault(event: RunEvent): string | undefined {
  const { action, attempt, phase, attributes, failure } = event
  const fault = actionFault(action, attempt)
  if (fault !== undefined) return fault
  if (phase === Phase.UNSPECIFIED || !(phase in Phase)) return 'its phase is none that is known'
  const entries = Object.entries(attributes)
  if (entries.length > ATTRIBUTES_MAX) return `it has over ${String(ATTRIBUTES_MAX)} attributes`
  const isGood = entries.every(
    ([name, value]) => ATTRIBUTE.test(name) && Buffer.byteLength(value) <= ATTRIBUTE_BYTES_MAX,
  )
  if (!isGood)
    return `an attribute has a name that is none, or over ${String(ATTRIBUTE_BYTES_MAX)} bytes`
  const isLong = Buffer.byteLength(failure?.kind ?? '') > KIND_BYTES_MAX
  return isLong ? `the kind of its failure has over ${String(KIND_BYTES_MAX)} bytes` : undefined
}

/** The name of the run of an event that was judged. */
export function runName({ organisation, project, domain, run }: Action): string {
  return `${organisation}/${project}/${domain}/${run}`
}
