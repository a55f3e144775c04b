import type { SyntaxNode, Tree } from '@lezer/common'
import { rpcErrorOfCode, type RpcError } from '../../rpc/status.ts'
import type { PrometheusRow } from '../prometheus-row.ts'
import {
  anyOf,
  exactly,
  isOneOf,
  isPlainMetric,
  readDuration,
  readString,
  writeLabel,
  writeString,
} from './promql-text.ts'

const QUERY_BYTES_MAX = 8 * 1024
const DEPTH_MAX = 40
const NAME = '__name__'
const OPERATORS = { EqlSingle: '=', Neq: '!=', EqlRegex: '=~', NeqRegex: '!~' } as const
/** Functions that look at series beside those that a query names. */
const FUNCTIONS_REFUSED = ['info']
const NUMBER =
  /^[+-]?(?:\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|inf|nan)$/i

/** Parses PromQL: `parser` of @prometheus-io/lezer-promql, which is read where a source is configured alone. */
export interface PromqlParser {
  parse(text: string): Tree
}

/** Holds queries to what the customer lets be seen, and writes each anew: what is sent is what was judged. */
export class Promql {
  readonly #parser: PromqlParser
  readonly #row: PrometheusRow

  constructor(parser: PromqlParser, row: PrometheusRow) {
    this.#parser = parser
    this.#row = row
  }

  /** Returns the query as it is to be sent. @throws RpcError QUERY_REFUSED */
  query(text: string): string {
    return this.#write(this.#parsed(text), text, 0)
  }

  /** Returns a selector as it is to be sent. @throws RpcError QUERY_REFUSED */
  selector(text: string): string {
    const node = this.#parsed(text)
    if (node.name !== 'VectorSelector')
      throw refused('a match is a selector, such as up{job="api"}')
    return this.#write(node, text, 0)
  }

  /** The selector of all series that may be seen. */
  everything(): string {
    const { metrics } = this.#row
    return `{${[`${NAME}=~${writeString(anyOf(metrics))}`, ...this.#enforced()].join(',')}}`
  }

  #parsed(text: string): SyntaxNode {
    if (Buffer.byteLength(text) > QUERY_BYTES_MAX)
      throw refused(`it has over ${String(QUERY_BYTES_MAX)} bytes`)
    const tree = this.#parser.parse(text)
    tree.iterate({
      enter: (node) => {
        if (node.type.isError)
          throw refused(`it cannot be read from character ${String(node.from + 1)} on`)
      },
    })
    const [root, ...others] = childrenOf(tree.topNode)
    if (root === undefined || others.length > 0) throw refused('it is no single expression')
    return root
  }

  /** One node of the tree, by a closed list of kinds: what is not in it is not sent. */
  #write(node: SyntaxNode, text: string, depth: number): string {
    if (depth > DEPTH_MAX) throw refused(`it is nested more than ${String(DEPTH_MAX)} deep`)
    const children = childrenOf(node)
    const [first, second, third] = children
    const write = (one: SyntaxNode | undefined): string => this.#write(need(one), text, depth + 1)
    switch (node.name) {
      case 'VectorSelector':
        return this.#selector(children, text)
      case 'ParenExpr':
        return `(${write(first)})`
      case 'UnaryExpr':
        return `${sign(textOf(need(first), text))}${write(second)}`
      case 'BinaryExpr':
        return binary(children, text, write)
      case 'AggregateExpr':
        return aggregate(children, text, write)
      case 'FunctionCall':
        return `${functionName(textOf(need(first), text))}${write(second)}`
      case 'FunctionCallBody':
        return `(${children.map(write).join(', ')})`
      case 'MatrixSelector':
        return `${write(first)}[${this.#range(second, text)}]`
      case 'SubqueryExpr':
        return this.#subquery(write(first), second, third, text)
      case 'OffsetExpr':
        return `${write(first)} offset ${this.#offset(third, text)}`
      case 'StepInvariantExpr':
        return `${write(first)} @ ${moment(need(third), text)}`
      case 'NumberDurationLiteral':
        return number(textOf(node, text))
      case 'StringLiteral':
        return writeString(string(node, text))
      default:
        throw refused(`${node.name} is not passed on`)
    }
  }

  #selector(children: readonly SyntaxNode[], text: string): string {
    let name: string | undefined
    const matchers: string[] = []
    const setName = (said: string): void => {
      if (name !== undefined) throw refused('a selector names two metrics')
      name = said
    }
    for (const child of children) {
      if (child.name === 'Identifier') setName(textOf(child, text))
      else if (child.name !== 'LabelMatchers') throw refused(`${child.name} is not passed on`)
      else
        for (const matcher of childrenOf(child)) {
          const [label, operator, value] = partsOf(matcher, text)
          if (operator === undefined) setName(label)
          else if (label !== NAME)
            matchers.push(`${writeLabel(label)}${operator}${writeString(value)}`)
          else if (operator === '=') setName(value)
          else throw refused('a metric is named by its name, and by no pattern')
        }
    }
    if (name === undefined) throw refused('a selector must name its metric')
    if (!isOneOf(name, this.#row.metrics))
      throw refused('a metric is none of those that the settings of the agent let be seen')
    const isPlain = isPlainMetric(name)
    const all = [...(isPlain ? [] : [writeString(name)]), ...matchers, ...this.#enforced()]
    return `${isPlain ? name : ''}${all.length === 0 ? '' : `{${all.join(',')}}`}`
  }

  #enforced(): string[] {
    return [...this.#row.labels].map(([label, values]) =>
      values.length === 1
        ? `${writeLabel(label)}=${writeString(values[0] ?? '')}`
        : `${writeLabel(label)}=~${writeString(exactly(values))}`,
    )
  }

  #range(node: SyntaxNode | undefined, text: string): string {
    const { text: written, ms } = duration(node, text)
    if (ms > this.#row.rangeMaxMs) throw refused('a range is longer than the settings allow')
    return written
  }

  #subquery(
    of: string,
    range: SyntaxNode | undefined,
    step: SyntaxNode | undefined,
    text: string,
  ): string {
    const span = this.#range(range, text)
    if (step === undefined) return `${of}[${span}:]`
    const every = duration(step, text)
    if (every.ms <= 0 || duration(range, text).ms / every.ms > this.#row.pointsMax)
      throw refused('a subquery has more moments than the settings allow')
    return `${of}[${span}:${every.text}]`
  }

  #offset(node: SyntaxNode | undefined, text: string): string {
    const [first, inner] = childrenOf(need(node))
    if (first?.name === 'UnaryOp') return `${sign(textOf(first, text))}${this.#offset(inner, text)}`
    return this.#range(node, text)
  }
}

function binary(
  [left, operator, ...rest]: readonly SyntaxNode[],
  text: string,
  write: (node: SyntaxNode | undefined) => string,
): string {
  const right = rest.pop()
  const modifiers = rest.map((one) => {
    if (one.name === 'BoolModifier') return 'bool '
    if (one.name !== 'MatchingModifierClause') throw refused(`${one.name} is not passed on`)
    return `${modifier(childrenOf(one), text)} `
  })
  const word = textOf(need(operator), text).toLowerCase()
  if (!/^(?:[-+*/%^]|[=!]=|[<>]=?|and|or|unless|atan2)$/.test(word))
    throw refused('an operator is not passed on')
  return `${write(left)} ${word} ${modifiers.join('')}${write(right)}`
}

function aggregate(
  [operator, ...rest]: readonly SyntaxNode[],
  text: string,
  write: (node: SyntaxNode | undefined) => string,
): string {
  const body = rest.find(({ name }) => name === 'FunctionCallBody')
  const by = rest.filter(({ name }) => name === 'AggregateModifier')
  if (by.length > 1 || by.length + 1 !== rest.length)
    throw refused('an aggregation is not passed on')
  const grouping = by.map((one) => ` ${modifier(childrenOf(one), text)} `).join('')
  return `${functionName(textOf(need(operator), text))}${grouping}${write(body)}`
}

/** `by (a, b)`, `on (a) group_left (b)`. */
function modifier(children: readonly SyntaxNode[], text: string): string {
  return children
    .map((one) => {
      if (one.name !== 'GroupingLabels') {
        const word = textOf(one, text).toLowerCase()
        if (/^(?:by|without|on|ignoring|group_left|group_right)$/.test(word)) return word
        throw refused(`${one.name} is not passed on`)
      }
      const labels = childrenOf(one).map((label) => writeLabel(labelOf(label, text)))
      return `(${labels.join(', ')})`
    })
    .join(' ')
}

/** Name of the label, operator and value of a matcher; without an operator the quoted name of a metric. */
function partsOf(matcher: SyntaxNode, text: string): readonly [string, string | undefined, string] {
  const [label, operator, value] = childrenOf(matcher)
  if (matcher.name === 'QuotedLabelName') return [string(need(label), text), undefined, '']
  const kind = childrenOf(need(operator))[0]?.name as keyof typeof OPERATORS | undefined
  const written = kind === undefined ? undefined : OPERATORS[kind]
  if (written === undefined) throw refused('a matcher is not passed on')
  return [labelOf(need(label), text), written, string(need(value), text)]
}

function labelOf(node: SyntaxNode, text: string): string {
  return node.name === 'QuotedLabelName'
    ? string(need(childrenOf(node)[0]), text)
    : textOf(node, text)
}

function duration(
  node: SyntaxNode | undefined,
  text: string,
): { readonly text: string; readonly ms: number } {
  const [literal, ...others] = childrenOf(need(node))
  const written = textOf(need(literal), text)
  const ms = others.length === 0 ? readDuration(written) : undefined
  if (ms === undefined) throw refused('a duration is a number with a unit, such as 5m')
  return { text: written, ms }
}

function moment(node: SyntaxNode, text: string): string {
  if (node.name === 'NumberDurationLiteral') return number(textOf(node, text))
  const [which] = childrenOf(node)
  if (which?.name === 'AtStart') return 'start()'
  if (which?.name === 'AtEnd') return 'end()'
  throw refused(`${node.name} is not passed on`)
}

function number(text: string): string {
  if (NUMBER.test(text) || readDuration(text) !== undefined) return text
  throw refused('a number is not passed on')
}

function functionName(name: string): string {
  if (/^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/.test(name) && !FUNCTIONS_REFUSED.includes(name.toLowerCase()))
    return name
  throw refused(`${name.slice(0, 64)} is not passed on`)
}

function sign(text: string): string {
  if (text === '-' || text === '+') return text
  throw refused('a sign is not passed on')
}

function string(node: SyntaxNode, text: string): string {
  const found = node.name === 'StringLiteral' ? readString(textOf(node, text)) : undefined
  if (found === undefined) throw refused('a string has escapes that are not passed on')
  return found
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = []
  for (let one = node.firstChild; one !== null; one = one.nextSibling)
    if (one.name !== 'LineComment') found.push(one)
  return found
}

function textOf(node: SyntaxNode, text: string): string {
  return text.slice(node.from, node.to)
}

function need(node: SyntaxNode | undefined): SyntaxNode {
  if (node === undefined) throw refused('it ends before it is complete')
  return node
}

function refused(why: string): RpcError {
  return rpcErrorOfCode('QUERY_REFUSED', `the query: ${why}`)
}
