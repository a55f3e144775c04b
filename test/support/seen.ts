import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { ERROR_CODES } from '../../src/base/error-codes.ts'

/** Codes that errors, lines of a log, exits and frames have shown to a test so far. */
const codes = new Set<string>()
/** Fields of the lines that were logged so far, each with a message that it stood beside. */
const logFields = new Map<string, string>()

const IN_TEXT = /(?<![A-Z_])[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*(?![A-Z_])/g
/** What pino and the wrapper add to every line. */
const ADDED = ['level', 'time', 'name', 'msg', 'pid', 'hostname']

/** Notes the codes in what a program of ours has said: `[CODE] text`, `"code":"CODE"`, `CODE: text`. */
export function noteText(text: string): void {
  for (const [word] of text.matchAll(IN_TEXT)) if (word in ERROR_CODES) codes.add(word)
}

/** Notes a line of a log. */
export function noteLine(facts: object, message: string): void {
  for (const name of Object.keys(facts)) if (!ADDED.includes(name)) logFields.set(name, message)
  const { code } = facts as { code?: unknown }
  if (typeof code === 'string') codes.add(code)
}

/** Notes what a daemon has written: lines of JSON among others. */
export function noteOutput(text: string): void {
  noteText(text)
  for (const line of text.split('\n')) {
    if (!line.startsWith('{"level"')) continue
    try {
      const { msg, ...facts } = JSON.parse(line) as { msg: string }
      noteLine(facts, msg)
    } catch {
      // It was cut: the process was killed while it wrote.
    }
  }
}

/** The fields that docs/ARCHITECTURE.md names under "Logs". */
function vocabulary(): Set<string> {
  const text = readFileSync(new URL('../../docs/ARCHITECTURE.md', import.meta.url), 'utf8')
  const [, words = ''] = /Fields: `([^`]+)`/.exec(text) ?? []
  return new Set(words.split(/,\s*/).map((word) => word.trim()))
}

/** After a whole run: every code of the table was provoked, and every line kept to the vocabulary. */
export function judgeSeen(): void {
  expect(
    Object.keys(ERROR_CODES).filter((code) => !codes.has(code)),
    'codes that no test has provoked',
  ).to.deep.equal([])
  expect(logFields.size).to.be.greaterThan(30)
  const known = vocabulary()
  const unknown = [...logFields].filter(([name]) => !known.has(name))
  expect(unknown, 'fields of the log that docs/ARCHITECTURE.md does not name').to.deep.equal([])
}
