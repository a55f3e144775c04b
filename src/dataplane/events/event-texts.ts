import { cutText } from '../../base/cut-text.ts'
import { EVENT_TEXT_BYTES_MAX, EVENT_WORD_BYTES_MAX } from '../../contract/run-event.ts'
import { AHEAD_BYTES } from '../log-lines.ts'
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
  event.redacted = 0
  const limited = (text: string, bytesMax = EVENT_TEXT_BYTES_MAX): string => {
    if (text === '') return text
    if (texts === 'drop') {
      event.cut = true
      return ''
    }
    // Cut before: what is read takes time by its length. What lies across that cut no rule would know: it is withheld.
    const short = cutText(text, bytesMax + AHEAD_BYTES)
    const { text: told, count } = redact(short)
    const known = short === text ? told : cutText(told, Buffer.byteLength(told) - AHEAD_BYTES)
    // And after: what replaces a place may be longer than it.
    const result = cutText(known, bytesMax)
    if (result !== told) event.cut = true
    event.redacted += count
    return result
  }
  event.message = limited(event.message)
  if (event.failure !== undefined) {
    event.failure.text = limited(event.failure.text)
    event.failure.kind = limited(event.failure.kind, EVENT_WORD_BYTES_MAX)
  }
  for (const [name, value] of Object.entries(event.attributes))
    event.attributes[name] = limited(value, EVENT_WORD_BYTES_MAX)
}
