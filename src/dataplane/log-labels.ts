import { rpcErrorOfCode, type RpcError } from '../rpc/status.ts'

/** One piece of a text in a row of `logs`: as it stands, or the name of a label whose value it is. */
export type TextPiece = { readonly text: string } | { readonly label: string }

/** Begins with no dot, and holds nothing that means something in a path, a query or a URL. */
const VALUE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/

/** Puts the values of a caller's labels into the texts of a row. */
export class LabelValues {
  readonly #labels: Readonly<Record<string, string>>
  readonly #used = new Set<string>()

  constructor(labels: Readonly<Record<string, string>>) {
    this.#labels = labels
  }

  /** @throws RpcError LOG_UNKNOWN */
  fill(pieces: readonly TextPiece[]): string {
    return pieces.map((piece) => ('text' in piece ? piece.text : this.#value(piece.label))).join('')
  }

  /** Every label was one of the source's. @throws RpcError LOG_UNKNOWN */
  finish(): void {
    if (Object.keys(this.#labels).some((label) => !this.#used.has(label)))
      throw logUnknown(`the labels of its logs are ${[...this.#used].join(', ')}`)
  }

  #value(label: string): string {
    this.#used.add(label)
    const value = Object.hasOwn(this.#labels, label) ? this.#labels[label] : undefined
    if (value === undefined) throw logUnknown(`the label ${label} is missing`)
    if (!VALUE.test(value)) throw logUnknown(`the label ${label} has a value that is no name`)
    return value
  }
}

/** Fills a list of names, each with its text. @throws RpcError LOG_UNKNOWN */
export function fillAll(
  texts: ReadonlyMap<string, readonly TextPiece[]>,
  labels: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  const values = new LabelValues(labels)
  const filled = new Map([...texts].map(([name, pieces]) => [name, values.fill(pieces)]))
  values.finish()
  return filled
}

/** Makes the error for a log that is not there, or not named. */
export function logUnknown(why: string): RpcError {
  return rpcErrorOfCode('LOG_UNKNOWN', `the log: ${why}`)
}
