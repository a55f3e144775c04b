import { expect } from 'chai'
import { TimedLogs, type TimedPages } from '../../src/dataplane/log-sources/timed-log.ts'
import type { TimedEntry } from '../../src/dataplane/log-sources/timed-place.ts'
import type { TailWish } from '../../src/dataplane/log-source.ts'
import { FakeClock } from '../support/fake-clock.ts'

const rules = { name: 'x', lineBytesMax: 1000, redact: [], settleMs: 0, reachMs: 1e9, lookMs: 1000 }
const wish: TailWish = {
  ...{ labels: {}, cursor: '', sinceMs: undefined, untilMs: undefined, last: 0 },
  ...{ follow: false, drop: false, signal: new AbortController().signal },
}

describe('a log of a source that keeps times', () => {
  const clock = new FakeClock()
  const entries = (texts: readonly string[]): TimedEntry[] =>
    texts.map((text) => ({ timeNs: BigInt(clock.wallMs() - 1000) * 1_000_000n, id: text, text }))
  /** A source whose pages follow one another by tokens, so many entries each. */
  const source = (all: readonly TimedEntry[], size: number): TimedLogs => {
    const pages: TimedPages = {
      ...{ log: 'x', doOverlap: false },
      page: ({ token = '0' }) => {
        const at = Number(token)
        const next = at + size < all.length ? String(at + size) : undefined
        return Promise.resolve({ entries: all.slice(at, at + size), next })
      },
      last: (count) => Promise.resolve(all.slice(-count)),
    }
    return new TimedLogs({ open: () => pages }, rules, clock)
  }
  const read = async (
    logs: TimedLogs,
    cursor = '',
    most = Infinity,
  ): Promise<{ texts: string[]; cursor: string }> => {
    const told = { texts: [] as string[], cursor: '' }
    for await (const step of logs.tail({ ...wish, cursor })) {
      if (step.kind !== 'lines') continue
      const taken = step.lines.slice(0, most - told.texts.length)
      told.texts.push(...taken.map(({ text }) => text))
      told.cursor = step.cursorBehind(taken.length)
      if (told.texts.length >= most) break
    }
    return told
  }

  it('tells lines that are alike as often as they were said, over pages and cursors', async () => {
    const texts = Array.from({ length: 20 }, (_, i) => (i % 3 === 0 ? 'same' : `line ${String(i)}`))
    for (const size of [3, 5, 20]) {
      const logs = source(entries(texts), size)
      expect((await read(logs)).texts).to.deep.equal(texts)
      for (let most = 1; most < texts.length; most++) {
        const first = await read(logs, '', most)
        const rest = await read(logs, first.cursor)
        expect(
          [...first.texts, ...rest.texts].sort(),
          `${String(size)} ${String(most)}`,
        ).to.deep.equal(texts.toSorted())
      }
    }
  })

  it('goes on behind more of one moment than a cursor names', async () => {
    const texts = Array.from({ length: 700 }, (_, i) => `line ${String(i)}`)
    const logs = source(entries(texts), 100)
    const first = await read(logs, '', 400)
    expect((await read(logs, first.cursor)).texts).to.deep.equal(texts.slice(400))
  })
})
