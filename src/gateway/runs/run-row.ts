import { printable } from '../../base/errors.ts'
import { eventRefused, EVENT_TEXT_BYTES_MAX, judgeEvent } from '../../contract/run-event.ts'
import type { Entry } from '../../gen/postern/v1/runs_pb.js'

const STREAM = /^[0-9a-f]{1,32}$/

/** An entry that was judged, as it is kept. */
export interface RunRow {
  readonly stream: string
  readonly number: number
  readonly run: string
  /** RunEvent in protobuf's JSON. */
  readonly event: string
  /** Of it, in bytes. */
  readonly length: number
}

/** Judges an entry: agents judge what they send; a hostile one does not. @throws EVENT_REFUSED */
export function runRow({ stream, number, event }: Entry): RunRow {
  const isCounted = number > 0n && number <= BigInt(Number.MAX_SAFE_INTEGER)
  if (event === undefined || !STREAM.test(stream) || !isCounted)
    throw eventRefused('its entry has no stream, number or event')
  event.message = printable(event.message, EVENT_TEXT_BYTES_MAX)
  if (event.failure !== undefined)
    event.failure.text = printable(event.failure.text, EVENT_TEXT_BYTES_MAX)
  const { run, json } = judgeEvent(event)
  return { stream, number: Number(number), run, event: json, length: Buffer.byteLength(json) }
}
