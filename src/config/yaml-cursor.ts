import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node, type Pair } from 'yaml'
import { printable } from '../base/errors.ts'
import { suggestion } from './suggestion.ts'

/** A mistake in a file, and where it is. */
export interface Problem {
  readonly line: number
  readonly column: number
  /** `warning`: the file is taken all the same. */
  readonly severity: 'error' | 'warning'
  readonly text: string
}

/** A value of a file, with its place. */
export interface Place<T> {
  readonly value: T
  readonly node: Node
  readonly line: number
}

type Any = Node | null | undefined

const PROBLEMS_MAX = 100
const WORD_MAX = 80

/** Reads the nodes of a YAML file, and collects every mistake with its line and column. Nothing of it throws. */
export class YamlCursor {
  readonly problems: Problem[] = []
  readonly #lines = new LineCounter()
  readonly root: Node | undefined

  constructor(text: string) {
    try {
      const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
      for (const { pos, message } of document.errors) this.#add(pos[0], 'error', message)
      if (document.errors.length === 0) this.root = document.contents ?? undefined
    } catch (error) {
      // A file may nest deeper than the parser's stack.
      this.#add(0, 'error', `cannot be read: ${printable((error as Error).message)}`)
    }
  }

  /** Notes a mistake at a node. */
  fault(node: Any, text: string): void {
    this.#add(node?.range?.[0] ?? 0, 'error', text)
  }

  warn(node: Any, text: string): void {
    this.#add(node?.range?.[0] ?? 0, 'warning', text)
  }

  lineOf(node: Any): number {
    return this.#lines.linePos(node?.range?.[0] ?? 0).line
  }

  get hasErrors(): boolean {
    return this.problems.some(({ severity }) => severity === 'error')
  }

  /** The values of a mapping, by key; other keys than those known are mistakes. */
  map(node: Any, what: string, known: readonly string[]): ReadonlyMap<string, Node> | undefined {
    if (!isMap(node)) {
      this.fault(node, `${what} must be a mapping`)
      return undefined
    }
    const found = new Map<string, Node>()
    for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
      const name = isScalar(key) ? String(key.value) : ''
      if (!known.includes(name)) {
        const near = suggestion(name, known) || `; known are ${known.join(', ')}`
        this.fault(key, `${JSON.stringify(printable(name, WORD_MAX))} is no key of ${what}${near}`)
      } else if (value === null) this.fault(key, `${name} has no value`)
      else found.set(name, value)
    }
    return found
  }

  /** Keys and values of a mapping whose keys are data. */
  entries(node: Any, what: string): readonly (readonly [Node, Node])[] {
    if (!isMap(node)) {
      this.fault(node, `${what} must be a mapping`)
      return []
    }
    return (node.items as Pair<Node, Node | null>[]).flatMap(({ key, value }) => {
      if (value !== null) return [[key, value] as const]
      this.fault(key, 'it has no value')
      return []
    })
  }

  list(node: Any, what: string): readonly Node[] {
    if (isSeq(node)) return node.items as Node[]
    if (node !== undefined && node !== null) this.fault(node, `${what} must be a list`)
    return []
  }

  /** Texts of a list; what is none is a mistake. */
  texts(node: Any, what: string): readonly Place<string>[] {
    return this.list(node, what).flatMap((item) => {
      const value = this.text(item, `each of ${what}`)
      return value === undefined ? [] : [{ value, node: item, line: this.lineOf(item) }]
    })
  }

  text(node: Any, what: string): string | undefined {
    if (node === undefined || node === null) return undefined
    if (isScalar(node) && typeof node.value === 'string' && node.value !== '') return node.value
    this.fault(node, `${what} must be a text`)
    return undefined
  }

  /** One of a few words; others are told as `what` that is not known. */
  word<const W extends string>(node: Any, what: string, words: readonly W[]): W | undefined {
    const value = this.text(node, what)
    if (value === undefined) return undefined
    const found = words.find((one) => one === value)
    if (found !== undefined) return found
    const shown = JSON.stringify(printable(value, WORD_MAX))
    const near = suggestion(value, words) || `; one of ${words.join(', ')}`
    this.fault(node, `${what} ${shown} is not known${near}`)
    return undefined
  }

  flag(node: Any, what: string): boolean | undefined {
    if (node === undefined || node === null) return undefined
    if (isScalar(node) && typeof node.value === 'boolean') return node.value
    this.fault(node, `${what} must be true or false`)
    return undefined
  }

  /** Whatever `read` makes of a text; undefined of it is a mistake, which `form` describes. */
  read<T>(
    node: Any,
    what: string,
    read: (text: string) => T | undefined,
    form: string,
  ): T | undefined {
    const value = this.text(node, what)
    if (value === undefined) return undefined
    const found = read(value)
    const shown = JSON.stringify(printable(value, WORD_MAX))
    if (found === undefined) this.fault(node, `${what} ${shown} must be ${form}`)
    return found
  }

  #add(offset: number, severity: Problem['severity'], text: string): void {
    if (this.problems.length >= PROBLEMS_MAX) return
    const { line, col } = this.#lines.linePos(offset)
    this.problems.push({ line, column: col, severity, text })
  }
}
