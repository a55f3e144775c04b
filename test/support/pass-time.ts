import type { FakeClock } from './fake-clock.ts'

/** Promises that one step of a conversation takes at most. */
const TURNS = 20

/** Lets `ms` pass on a clock, each timer at its time, and promises in between. */
export async function passTime(clock: FakeClock, ms: number): Promise<void> {
  const endMs = clock.nowMs() + ms
  for (;;) {
    for (let turn = 0; turn < TURNS; turn++) {
      await Promise.resolve()
      clock.advance(0)
    }
    const next = Math.min(clock.nextAtMs ?? endMs, endMs)
    if (next >= endMs) break
    clock.advance(Math.max(0, next - clock.nowMs()))
  }
  clock.advance(endMs - clock.nowMs())
}
