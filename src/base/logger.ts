/** Facts of one log line. Names come from the vocabulary in docs/ARCHITECTURE.md, "Logs". */
export type LogFacts = Readonly<Record<string, unknown>>

/** What the floors above `mux` need of a logger; the command line wires pino to it. */
export interface Logger {
  error(facts: LogFacts, message: string): void
  warn(facts: LogFacts, message: string): void
  info(facts: LogFacts, message: string): void
  debug(facts: LogFacts, message: string): void
  child(facts: LogFacts): Logger
}

const nothing = (): void => undefined

/** The logger that writes nothing. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  child: () => silentLogger,
}
