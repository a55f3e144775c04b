import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { PosternError } from '../../base/errors.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { streamBackend } from '../../transport/stream-backend.ts'
import { LabelValues, logUnknown } from '../log-labels.ts'
import { lineOf, LineSplitter, type LogLine } from '../log-lines.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { KubernetesLogsRow } from '../logs-row.ts'
import { jsonAnswer, listIn } from './json-answer.ts'
import { readNanos, writeNanos } from './timed-log.ts'
import { TimedPlace, type TimedEntry } from './timed-place.ts'

const OK = 200
const DENIED = [401, 403]
const NOT_FOUND = 404
const AGAIN_MS = 1000
/** The time in front of each line, and what a runtime adds. */
const STAMP_BYTES = 64
const NS_PER_MS = 1_000_000n

interface Pod {
  readonly path: string
  readonly container: string | undefined
}

/** Logs of containers, by the API server: no right is needed but to get pods and pods/log. */
export class KubernetesLogs implements LogSource {
  readonly dropsItself = false
  readonly #row: KubernetesLogsRow
  readonly #clock: Clock

  constructor(row: KubernetesLogsRow, clock: Clock) {
    this.#row = row
    this.#clock = clock
  }

  async *tail(wish: TailWish): AsyncGenerator<LogStep> {
    const pod = this.#podOf(wish.labels)
    const log = `${pod.path}\0${pod.container ?? ''}`
    const known = TimedPlace.read(wish.cursor, log)
    const place = known ?? new TimedPlace(BigInt(Math.floor(wish.sinceMs ?? 0)) * NS_PER_MS)
    for (let isResumed = known !== undefined, last = wish.last; ;) {
      yield* this.#once(pod, log, { place, isResumed, last: isResumed ? 0 : last }, wish)
      if (!wish.follow || wish.signal.aborted || (await this.#hasEnded(pod, wish.signal))) return
      isResumed = place.timeNs > 0n
      last = 0
      await pause(this.#clock, AGAIN_MS, wish.signal)
    }
  }

  #podOf(labels: Readonly<Record<string, string>>): Pod {
    const values = new LabelValues(labels)
    const [namespace, name] = [values.fill(this.#row.namespace), values.fill(this.#row.pod)]
    const container = this.#row.container && values.fill(this.#row.container)
    values.finish()
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`
    return { path, container }
  }

  /** One answer of the API server: with `follow` until the container, its node or the connection ends. */
  async *#once(
    { path, container }: Pod,
    log: string,
    { place, isResumed, last }: { place: TimedPlace; isResumed: boolean; last: number },
    { follow, signal }: TailWish,
  ): AsyncGenerator<LogStep> {
    const query = new URLSearchParams({
      timestamps: 'true',
      ...(container === undefined ? {} : { container }),
      ...(follow ? { follow: 'true' } : {}),
      ...(place.timeNs > 0n ? { sinceTime: writeNanos(place.timeNs) } : {}),
      ...(last > 0 ? { tailLines: String(last) } : {}),
    })
    const { status, body, close } = await streamBackend({
      ...{ url: new URL(`${path}/log?${query.toString()}`, this.#row.url), method: 'GET', signal },
      ...this.#trust(),
    })
    if (status !== OK) {
      close()
      throw faultOf(status)
    }
    const start = place.copy()
    const splitter = new LineSplitter(this.#row.lineBytesMax + STAMP_BYTES)
    let isFirst = true
    for await (const piece of body) {
      const entries = splitter.push(piece).flatMap(entryOf)
      // The runtime has rotated away what was told last: what lay between that and this nobody knows.
      if (isFirst && isResumed && (entries[0]?.timeNs ?? 0n) > start.timeNs)
        yield { kind: 'gap', bytes: 0, cursor: place.write(log) }
      isFirst &&= entries.length === 0
      const fresh = this.#fresh(start, entries)
      if (fresh.length > 0) yield this.#told(log, place, fresh)
    }
    const rest = [splitter.flush()].flatMap((line) => (line === undefined ? [] : entryOf(line)))
    const fresh = this.#fresh(start, rest)
    if (!signal.aborted && fresh.length > 0) yield this.#told(log, place, fresh)
  }

  /** Of those of the moment in which it begins, each that was told comes once more. */
  #fresh(start: TimedPlace, entries: readonly StampedEntry[]): StampedEntry[] {
    return entries.filter((entry) => start.take(entry))
  }

  #told(log: string, place: TimedPlace, entries: readonly StampedEntry[]): LogStep {
    const before = place.copy()
    for (const entry of entries) place.advance(entry)
    const { lineBytesMax } = this.#row
    const lines = entries.map(({ text, timeNs, isCut }): LogLine => {
      const line = lineOf(text, lineBytesMax)
      return { ...line, isCut: line.isCut || isCut, timeMs: Number(timeNs / NS_PER_MS) }
    })
    const cursorBehind = (count: number): string => {
      const behind = before.copy()
      for (const entry of entries.slice(0, count)) behind.advance(entry)
      return behind.write(log)
    }
    return { kind: 'lines', lines, cursorBehind }
  }

  /** A container that has ended, or that is no more, says nothing more. */
  async #hasEnded({ path, container }: Pod, signal: AbortSignal): Promise<boolean> {
    const url = new URL(path, this.#row.url)
    const answer = await askBackend({ url, method: 'GET', signal, ...this.#trust() })
    if (answer.status === NOT_FOUND) return true
    const { status } = jsonAnswer(answer) as { readonly status?: Readonly<Record<string, unknown>> }
    if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return true
    const states = listIn(status, 'containerStatuses') as readonly {
      readonly name?: unknown
      readonly state?: { readonly terminated?: unknown }
    }[]
    const own = states.find(({ name }) => container === undefined || name === container)
    return own?.state?.terminated !== undefined
  }

  #trust(): { readonly caPem: string; readonly headers: Readonly<Record<string, string>> } {
    const { caFile, tokenFile } = this.#row
    const authorization = `Bearer ${readSecretFile(tokenFile).trim()}`
    return { caPem: readPublicFile(caFile), headers: { authorization } }
  }
}

type StampedEntry = TimedEntry & { readonly isCut: boolean }

/** A line begins with its time, as the runtime wrote it. */
function entryOf({ text, isCut }: LogLine): StampedEntry[] {
  const space = text.indexOf(' ')
  const timeNs = readNanos(space === -1 ? text : text.slice(0, space))
  const said = space === -1 ? '' : text.slice(space + 1)
  return timeNs === undefined ? [] : [{ timeNs, id: said, text: said, isCut }]
}

function faultOf(status: number): Error {
  if (status === NOT_FOUND) return logUnknown('there is no such pod')
  const code = DENIED.includes(status) ? 'CREDENTIALS_MISSING' : 'BACKEND_REFUSED'
  return new PosternError(code, `status ${String(status)}`)
}
