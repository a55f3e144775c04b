import type { LogLine } from './log-lines.ts'

const ERRORS_MAX = 5
/** What it says while it stops, or of things that it can do without. */
const HARMLESS =
  /^(?:no more connections active and exiting|Failed to fetch features|Failed to initialize DNS local resolver|edge discovery: )/

/** What cloudflared has said of its connections to the edge. It decides nothing: it is for people. */
export class EdgeView {
  readonly errors: { readonly atMs: number; readonly text: string }[] = []
  metricsPort: number | undefined
  /** SHA-256 of the program that runs, as it says. */
  checksum: string | undefined
  protocol = ''
  /** It says that its token is not taken, and would go on trying for ever. */
  isUnauthorized = false
  hasQuicFailed = false
  /** Some of its lines are no JSON, such as the last before an exit. */
  #plain: string | undefined
  readonly #locations = new Map<number, string>()

  /** Takes a line. Returns whether it says that something is wrong. */
  take({ level, text, connIndex, location, protocol }: LogLine, atMs: number): boolean {
    if (protocol !== undefined) this.protocol = protocol
    this.protocol = /^Initial protocol (\w+)/.exec(text)?.[1] ?? this.protocol
    const port = /^Starting metrics server on 127\.0\.0\.1:(\d{1,5})\//.exec(text)?.[1]
    if (port !== undefined) this.metricsPort = Number(port)
    this.checksum ??= /^Version \S+ \(Checksum ([0-9a-f]{64})\)/.exec(text)?.[1]
    // Lines of two of its connections may be mixed up, so that it is looked for anywhere.
    if (level !== 'info' && text.includes('Unauthorized')) this.isUnauthorized = true
    if (text.startsWith('Registered tunnel connection')) this.isUnauthorized = false
    if (text.startsWith('Failed to dial a quic connection')) this.hasQuicFailed = true
    this.#place(text, connIndex, location)
    if (level === 'plain') this.#plain = text
    const isWrong = level === 'error' && !HARMLESS.test(text)
    if (!isWrong) return false
    this.errors.push({ atMs, text })
    if (this.errors.length > ERRORS_MAX) this.errors.shift()
    return true
  }

  /** What it said last that may explain why it ended. */
  get last(): string | undefined {
    return this.errors.at(-1)?.text ?? this.#plain
  }

  get locations(): readonly string[] {
    return [...new Set(this.#locations.values())].sort()
  }

  #place(text: string, connIndex: number | undefined, location: string | undefined): void {
    if (connIndex === undefined) return
    if (text.startsWith('Registered tunnel connection'))
      this.#locations.set(connIndex, location ?? '?')
    if (/^(?:Unregistered tunnel connection|Lost connection|Connection terminated)/.test(text))
      this.#locations.delete(connIndex)
  }
}
