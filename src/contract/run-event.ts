import { toBinary, toJsonString } from '@bufbuild/protobuf'
import { PosternError } from '../base/errors.ts'
import { RunEventSchema, type RunEvent } from '../gen/postern/dataplane/v1/events_pb.js'
import { Phase, type Action } from '../gen/postern/dataplane/v1/tasks_pb.js'

/** Longest text of an event, in bytes of UTF-8. */
export const EVENT_TEXT_BYTES_MAX = 2048
/** Longest value of an attribute, and kind of a failure, in bytes of UTF-8. */
export const EVENT_WORD_BYTES_MAX = 256
/** Longest event, in bytes, as it crosses; in protobuf's JSON it may have this and a half. */
export const EVENT_BYTES_MAX = 48 * 1024
/** Entries that are handed on at once. */
export const ENTRIES_MAX = 100
const JSON_BYTES_MAX = 1.5 * EVENT_BYTES_MAX
const ATTRIBUTES_MAX = 32
/** As many as Tasks takes of a definition. */
const PARTS_MAX = 256
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

/** Why an event is none, before its texts are cut; undefined: it is one. */
export function eventFault(event: RunEvent): string | undefined {
  const { action, attempt, phase, attributes, failure } = event
  const fault = actionFault(action, attempt)
  if (fault !== undefined) return fault
  if (phase === Phase.UNSPECIFIED || !(phase in Phase)) return 'its phase is none that is known'
  if (isCrowded(event)) return `its task has over ${String(PARTS_MAX)} words, values or inputs`
  const entries = Object.entries(attributes)
  if (entries.length > ATTRIBUTES_MAX) return `it has over ${String(ATTRIBUTES_MAX)} attributes`
  const isGood = entries.every(([name, value]) => ATTRIBUTE.test(name) && isWord(value))
  if (!isGood)
    return `an attribute has a name that is none, or over ${String(EVENT_WORD_BYTES_MAX)} bytes`
  return isWord(failure?.kind ?? '')
    ? undefined
    : `the kind of its failure has over ${String(EVENT_WORD_BYTES_MAX)} bytes`
}

/** Empty ones cost nothing to send, and much to write. */
function isCrowded({ task }: RunEvent): boolean {
  if (task === undefined) return false
  const { command, arguments: words, inputs, environment, resources } = task
  const lists = [command, words, inputs, Object.keys(environment), Object.keys(resources)]
  return lists.some(({ length }) => length > PARTS_MAX)
}

function isWord(text: string): boolean {
  return Buffer.byteLength(text) <= EVENT_WORD_BYTES_MAX
}

/** An event as it crosses and is kept: the same judgement at both ends, so that what one sends the other takes. */
export interface JudgedEvent {
  /** `organisation/project/domain/run`. */
  readonly run: string
  readonly binary: Uint8Array
  /** In protobuf's JSON. */
  readonly json: string
}

/** Judges an event whose texts were cut. @throws EVENT_REFUSED */
export function judgeEvent(event: RunEvent): JudgedEvent {
  const fault = eventFault(event) ?? textFault(event)
  if (fault !== undefined || event.action === undefined) throw eventRefused(fault ?? 'no action')
  const binary = toBinary(RunEventSchema, event, { writeUnknownFields: false })
  const json = jsonOf(event)
  if (binary.length > EVENT_BYTES_MAX || Buffer.byteLength(json) > JSON_BYTES_MAX)
    throw eventRefused(`it has over ${String(EVENT_BYTES_MAX)} bytes`)
  return { run: runName(event.action), binary, json }
}

function textFault({ message, failure }: RunEvent): string | undefined {
  const isLong = [message, failure?.text ?? ''].some(
    (text) => Buffer.byteLength(text) > EVENT_TEXT_BYTES_MAX,
  )
  return isLong ? `a text has over ${String(EVENT_TEXT_BYTES_MAX)} bytes` : undefined
}

function jsonOf(event: RunEvent): string {
  try {
    return toJsonString(RunEventSchema, event)
  } catch {
    // Its texts are whole and its numbers in their ranges: a time outside the years of its form alone has none.
    throw eventRefused('its time is none of the years 1 to 9999')
  }
}

/** Makes the error of an event that is not taken. */
export function eventRefused(why: string): PosternError {
  return new PosternError('EVENT_REFUSED', `the event: ${why}`)
}

/** The name of the run of an action that was judged. */
export function runName({ organisation, project, domain, run }: Action): string {
  return `${organisation}/${project}/${domain}/${run}`
}
