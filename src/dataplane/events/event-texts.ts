import { EVENT_TEXT_BYTES_MAX } from '../../contract/run-event.ts'
import type { RunEvent } from '../../gen/postern/dataplane/v1/events_pb.js'

/** What becomes of the free texts of events. */
export interface TextRules {
  /** `pass`: they cross, cut at their bound. `drop`: none does. */
  readonly texts: 'pass' | 'drop'
  /** Returns a text as it may be told, and how many places of it were redacted. */
  readonly redact: (text: string) => { readonly text: string; readonly count: number }
}

/** Cuts, redacts or leaves out the free texts of an event, and says so in it. */
export function limitTexts(event: RunEvent, { texts, redact }: TextRules): void {
  event.cut = false
  event.redacted = 0
  const limited = (text: string): string => {
    if (text === '') return text
    if (texts === 'drop') {
      event.cut = true
      return ''
    }
    // Cut before: what is read takes time by its length.
    const short = cutAt(text, EVENT_TEXT_BYTES_MAX)
    const { text: told, count } = redact(short)
    const result = cutAt(told, EVENT_TEXT_BYTES_MAX)
    if (short !== text || result !== told) event.cut = true
    event.redacted += count
    return result
  }
  event.message = limited(event.message)
  if (event.failure !== undefined) {
    event.failure.text = limited(event.failure.text)
    event.failure.kind = limited(event.failure.kind)
  }
  for (const [name, value] of Object.entries(event.attributes))
    event.attributes[name] = limited(value)
}

/** Cuts between characters. */
function cutAt(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= bytesMax) return text
  let end = bytesMax
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end).toString()
}
