import type { LogFacts, Logger } from '../../src/base/logger.ts'
import { noteLine } from './seen.ts'

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly facts: LogFacts
}

/** A logger that keeps its lines. */
export class LogRecorder implements Logger {
  readonly lines: LogLine[]
  readonly #base: LogFacts

  constructor(lines: LogLine[] = [], base: LogFacts = {}) {
    this.lines = lines
    this.#base = base
  }

  error = (facts: LogFacts, message: string): void => {
    this.#add('error', facts, message)
  }
  warn = (facts: LogFacts, message: string): void => {
    this.#add('warn', facts, message)
  }
  info = (facts: LogFacts, message: string): void => {
    this.#add('info', facts, message)
  }
  debug = (facts: LogFacts, message: string): void => {
    this.#add('debug', facts, message)
  }

  child(facts: LogFacts): LogRecorder {
    return new LogRecorder(this.lines, { ...this.#base, ...facts })
  }

  find(message: string): LogLine | undefined {
    return this.lines.find((line) => line.message === message)
  }

  #add(level: string, facts: LogFacts, message: string): void {
    const line = { level, message, facts: { ...this.#base, ...facts } }
    noteLine(line.facts, message)
    this.lines.push(line)
  }
}
