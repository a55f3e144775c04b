import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'

/** A settings file as it was read: its content, and on which line each key and each entry of a list stands. */
export interface ParsedFile {
  readonly content: unknown
  /** The line of a dotted key, or of the entry of a list within it, from 1. */
  lineOf(key: string, entry?: number): number | undefined
}

/** Parses YAML. Throws an Error that says where it is none. */
export function parseFile(text: string): ParsedFile {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter })
  const [error] = document.errors
  if (error !== undefined) throw error
  const lines = new Map<string, number>()
  const note = (name: string, node: Node): void => {
    const [offset] = node.range ?? []
    if (offset !== undefined) lines.set(name, lineCounter.linePos(offset).line)
  }
  const walk = (node: unknown, prefix: string): void => {
    if (!isMap(node)) return
    for (const { key, value } of node.items) {
      if (!isScalar(key)) continue
      const name = `${prefix}${String(key.value)}`
      note(name, key)
      walk(value, `${name}.`)
      if (isSeq(value))
        value.items.forEach((item, index) => {
          note(`${name} ${String(index + 1)}`, item as Node)
        })
    }
  }
  walk(document.contents, '')
  const content: unknown = document.toJS({ maxAliasCount: 0 })
  return {
    content,
    lineOf: (key, entry) =>
      (entry === undefined ? undefined : lines.get(`${key} ${String(entry)}`)) ?? lines.get(key),
  }
}
