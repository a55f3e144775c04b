import type { KnownCaller } from '../guard/pattern.ts'
import { knownCaller } from '../guard/policy.ts'
import type { Decided, Ended } from '../guard/recorder.ts'

const RECENT = 8
const VERB_MAX = 16

/** A line in two parts. */
export interface LineParts {
  readonly head: string
  readonly facts: Buffer
}

interface Kept {
  readonly decided: Decided
  readonly text: string
  readonly bytes: Buffer
}

/** Writes the lines of calls. What is the same from call to call is written once, and kept. */
export class LineWriter {
  readonly #recent: Kept[] = []
  #nextRecent = 0
  #atMs = -1
  #at = ''

  /** One line for a call with one answer, without its number, in two parts: the second is the longer one, and kept. */
  called(decided: Decided, ended: Ended): LineParts {
    return {
      head: `${this.#at_(ended.atMs)}${endOf(ended, 'outcome')}${aboutOf(ended)}${mintedOf(ended)},`,
      facts: this.#kept(decided).bytes,
    }
  }

  /** The first of the two lines of a stream. */
  opened(decided: Decided, stream: string): string {
    return `${this.#at_(decided.atMs)}${this.#kept(decided).text},"stream":"${stream}"}\n`
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
    return `${this.#at_(decided.atMs)}${this.#kept(decided).text},${JSON.stringify(more).slice(1)}\n`
  }

  /** Anything else, as plain data. */
  other(atMs: number, facts: object): string {
    return `${this.#at_(atMs)}${JSON.stringify(facts).slice(1)}\n`
  }

  /** `"at":"...",`: many lines are of one millisecond. */
  #at_(exactMs: number): string {
    const ms = Math.floor(exactMs)
    if (ms !== this.#atMs) {
      this.#atMs = ms
      this.#at = `"at":"${new Date(ms).toISOString()}",`
    }
    return this.#at
  }

  /** What one of the last few calls was like is found without a look at the rest. */
  #kept(decided: Decided): Kept {
    for (const kept of this.#recent) if (isAlike(kept.decided, decided)) return kept
    const { ask, decision, rule, path, http } = decided
    const who = knownCaller(ask.caller)
    const { name, kind, gateway, region, data, sealed, user } = ask
    const facts = {
      caller: who?.name ?? null,
      known: who?.known ?? null,
      ...(who?.region === undefined ? {} : { callerRegion: who.region }),
      ...(who?.issuer === undefined ? {} : { callerIssuer: who.issuer }),
      user: user === undefined ? null : { issuer: user.issuer, subject: user.subject },
      [kind === 'forward' ? 'service' : 'method']: name,
      // The path itself may say more than its pattern: it stays here.
      ...(http === undefined ? {} : { verb: http.method.slice(0, VERB_MAX), path: path ?? '*' }),
      type: data?.carries ?? null,
      decision,
      rule: rule ?? null,
      gateway,
      region,
      sealed,
    }
    const text = JSON.stringify(facts).slice(1, -1)
    const kept = { decided, text, bytes: Buffer.from(`${text}}\n`) }
    this.#recent[this.#nextRecent] = kept
    this.#nextRecent = (this.#nextRecent + 1) % RECENT
    return kept
  }
}

/** Whether two decisions have the same line, but for time and number. */
function isAlike(one: Decided, other: Decided): boolean {
  const [a, b] = [one.ask, other.ask]
  return (
    a.name === b.name &&
    a.kind === b.kind &&
    a.gateway === b.gateway &&
    a.region === b.region &&
    a.data === b.data &&
    one.rule === other.rule &&
    one.decision === other.decision &&
    a.sealed === b.sealed &&
    a.user?.subject === b.user?.subject &&
    a.user?.issuer === b.user?.issuer &&
    one.path === other.path &&
    one.http?.method === other.http?.method &&
    isSameCaller(knownCaller(a.caller), knownCaller(b.caller))
  )
}

function isSameCaller(a: KnownCaller | undefined, b: KnownCaller | undefined): boolean {
  const isNamedAlike = a?.name === b?.name && a?.known === b?.known
  return isNamedAlike && a?.region === b?.region && a?.issuer === b?.issuer
}

function aboutOf({ about }: Ended): string {
  return about === undefined ? '' : `,"about":"${about}"`
}

function mintedOf({ minted }: Ended): string {
  if (minted === undefined) return ''
  const { store, backend, keyHash, verb, expiresAtMs, count } = minted
  const expires = new Date(expiresAtMs).toISOString()
  return `,"url":${JSON.stringify({ store, backend, key: keyHash, verb, expires, count })}`
}

/** A span with one digit behind the point: whole numbers are far cheaper to write than others. */
function msText(ms: number): string {
  const tenths = Math.round(ms * 10)
  const rest = tenths % 10
  return rest === 0 ? String(tenths / 10) : `${String((tenths - rest) / 10)}.${String(rest)}`
}

function endOf({ outcome, bytesIn, bytesOut, durationMs }: Ended, word: 'outcome' | 'end'): string {
  return `"${word}":"${outcome}","in":${String(bytesIn)},"out":${String(bytesOut)},"ms":${msText(durationMs)}`
}
