import { knownCaller } from '../guard/policy.ts'
import type { Decided, Ended } from '../guard/recorder.ts'

const TEMPLATES_MAX = 4096

/** Writes the lines of calls. What is the same from call to call is written once, and kept. */
export class LineWriter {
  readonly #templates = new Map<string, string>()
  #atMs = -1
  #at = ''

  /** One line for a call with one answer, without its number. */
  called(decided: Decided, ended: Ended): string {
    return `${this.#at_(ended.atMs)}${this.#facts(decided)}${aboutOf(ended)},${endOf(ended, 'outcome')}}\n`
  }

  /** The first of the two lines of a stream. */
  opened(decided: Decided, stream: string): string {
    return `${this.#at_(decided.atMs)}${this.#facts(decided)},"stream":"${stream}"}\n`
  }

  /** The second. */
  closed(stream: string, ended: Ended): string {
    return `${this.#at_(ended.atMs)}"stream":"${stream}"${aboutOf(ended)},${endOf(ended, 'end')}}\n`
  }

  /** A refusal; `count`: so many more of the kind since the line before. */
  refused(decided: Decided, count: number | undefined): string {
    const { denial } = decided
    const more = {
      code: denial?.code,
      why: denial?.why,
      ...(count === undefined ? { id: denial?.id } : { repeated: count }),
    }
    return `${this.#at_(decided.atMs)}${this.#facts(decided)},${JSON.stringify(more).slice(1)}\n`
  }

  /** Anything else, as plain data. */
  other(atMs: number, facts: object): string {
    return `${this.#at_(atMs)}${JSON.stringify(facts).slice(1)}\n`
  }

  /** `"at":"...",`: many lines are of one millisecond. */
  #at_(ms: number): string {
    if (ms !== this.#atMs) {
      this.#atMs = ms
      this.#at = `"at":"${new Date(ms).toISOString()}",`
    }
    return this.#at
  }

  #facts({ ask, decision, rule, sealed, path }: Decided): string {
    const { caller, name, kind, gateway, region, data } = ask
    const who = knownCaller(caller)
    const key = `${decision} ${String(sealed)} ${who?.known ?? ''} ${who?.name ?? ''} ${kind === 'forward' ? '>' : '/'} ${name} ${gateway} ${region} ${data?.carries ?? ''} ${path ?? ''} ${rule ?? ''}`
    const kept = this.#templates.get(key)
    if (kept !== undefined) return kept
    const facts = {
      caller: who?.name ?? null,
      known: who?.known ?? null,
      user: null,
      [kind === 'forward' ? 'service' : 'method']: name,
      ...(path === undefined ? {} : { path }),
      type: data?.carries ?? null,
      decision,
      rule: rule ?? null,
      gateway,
      region,
      sealed,
    }
    const text = JSON.stringify(facts).slice(1, -1)
    if (this.#templates.size >= TEMPLATES_MAX) this.#templates.clear()
    this.#templates.set(key, text)
    return text
  }
}

function aboutOf({ about }: Ended): string {
  return about === undefined ? '' : `,"about":"${about}"`
}

function endOf({ outcome, bytesIn, bytesOut, durationMs }: Ended, word: 'outcome' | 'end'): string {
  return `"${word}":"${outcome}","in":${String(bytesIn)},"out":${String(bytesOut)},"ms":${String(Math.round(durationMs * 1000) / 1000)}`
}
