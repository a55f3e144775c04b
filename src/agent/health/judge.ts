/** The health of an agent in one word. */
export type HealthName = 'healthy' | 'degraded' | 'down'

/** Why an agent is not healthy, as it is seen at one moment. */
export interface Reason {
  /** The same from look to look, while the words may change. */
  readonly key: string
  readonly text: string
  /** Nothing works while it lasts. */
  readonly isDown?: boolean
  /** It is often over in a moment, and counts only when it is not. */
  readonly isDelayed?: boolean
}

/** The health of an agent, since when, and why. */
export interface Verdict {
  readonly health: HealthName
  /** Since when it is that, in wall-clock ms. */
  readonly sinceMs: number
  readonly reasons: readonly { readonly text: string; readonly sinceMs: number }[]
}

/** Remembers since when each reason has lasted, and lets blips pass. */
export class HealthJudge {
  readonly #delayMs: number
  readonly #since = new Map<string, number>()
  #verdict: Verdict

  constructor(delayMs: number, nowWallMs: number) {
    this.#delayMs = delayMs
    this.#verdict = { health: 'down', sinceMs: nowWallMs, reasons: [] }
  }

  update(reasons: readonly Reason[], nowWallMs: number): Verdict {
    const keys = new Set(reasons.map(({ key }) => key))
    for (const key of this.#since.keys()) if (!keys.has(key)) this.#since.delete(key)
    const lasting = reasons.filter(({ key, isDelayed = false }) => {
      const sinceMs = this.#since.get(key) ?? nowWallMs
      this.#since.set(key, sinceMs)
      return !isDelayed || nowWallMs - sinceMs >= this.#delayMs
    })
    const health = lasting.some(({ isDown = false }) => isDown)
      ? 'down'
      : lasting.length === 0
        ? 'healthy'
        : 'degraded'
    this.#verdict = {
      health,
      sinceMs: health === this.#verdict.health ? this.#verdict.sinceMs : nowWallMs,
      reasons: lasting.map(({ key, text }) => ({
        text,
        sinceMs: this.#since.get(key) ?? nowWallMs,
      })),
    }
    return this.#verdict
  }
}
