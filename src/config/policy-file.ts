import { readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import type { Node } from 'yaml'
import { PosternError } from '../base/errors.ts'
import type { DataType } from '../contract/data-type.ts'
import { mayCross, neverText } from '../guard/catalog.ts'
import { coversCaller, matchesMethod, matchesService } from '../guard/pattern.ts'
import { isRegionName, KNOWN_REGIONS, REGION_GROUPS } from '../guard/regions.ts'
import {
  EMPTY_POLICY,
  type BudgetSpecs,
  type PolicyDocument,
  type PolicyRule,
} from '../guard/rule.ts'
import { judgeUsers, readUsers } from './policy-users.ts'
import { readBudget, readRule, readType } from './policy-rule.ts'
import { YamlCursor, type Problem } from './yaml-cursor.ts'

const FILE_BYTES_MAX = 1024 * 1024
const RULES_MAX = 10_000
const KEYS = [
  ...['version', 'mode', 'observeUntil', 'residency', 'sealed', 'rules', 'budgets', 'push'],
  ...['unknownFields', 'metadata', 'lockdown', 'users'],
]
/** What a push may say: the rest is the customer's alone. */
const PUSH_KEYS = ['version', 'rules']
const STORE_REGION = /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/
const METADATA_NAME = /^[a-z0-9_.-]{1,128}$/

/** A policy file as it was read: a policy where it has no mistake, and all that is to be said of it. */
export interface PolicyFile {
  readonly document: PolicyDocument | undefined
  readonly problems: readonly Problem[]
}

/**
 * Reads a customer's policy, or, with `isPush`, the narrower one of a control plane. `origin`: the name of its file, for people.
 * Every mistake is told at once, with line and column.
 */
export function readPolicy(text: string, origin: string, isPush = false): PolicyFile {
  const at = new YamlCursor(text)
  const { root } = at
  if (root === undefined) {
    if (!at.hasErrors) at.fault(undefined, 'the file is empty: it needs version: 1')
    return { document: undefined, problems: at.problems }
  }
  const fields = at.map(root, isPush ? 'a pushed policy' : 'a policy', isPush ? PUSH_KEYS : KEYS)
  if (fields === undefined) return { document: undefined, problems: at.problems }
  readVersion(at, root, fields.get('version'))
  const rules = readRules(at, fields.get('rules'), origin)
  const users = readUsers(at, fields.get('users'))
  if (!isPush) judgeUsers(at, fields.get('rules'), rules, users)
  const document = {
    ...EMPTY_POLICY,
    ...users,
    origin,
    ...readMode(at, fields),
    ...readResidency(at, fields.get('residency')),
    sealed: readSealed(at, fields.get('sealed')),
    rules,
    budgets: readBudgets(at, fields.get('budgets')),
    push: at.word(fields.get('push'), 'push', ['narrow', 'off']) ?? 'narrow',
    unknownFields:
      at.word(fields.get('unknownFields'), 'unknownFields', ['strip', 'refuse']) ?? 'strip',
    metadata: readMetadata(at, fields.get('metadata')),
    lockdown: at.text(fields.get('lockdown'), 'lockdown (why, in words)'),
  }
  const problems = at.problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
  return { document: at.hasErrors ? undefined : document, problems }
}

/** Reads a policy from its file. @throws CONFIG_UNREADABLE, CONFIG_INVALID with every mistake */
export function loadPolicy(path: string): PolicyDocument {
  const { document, problems } = readPolicy(readPolicyText(path), basename(path))
  if (document !== undefined) return document
  const errors = problems.filter(({ severity }) => severity === 'error')
  const text = errors.map((one) => problemText(basename(path), one)).join('; ')
  throw new PosternError('CONFIG_INVALID', text, { path })
}

/** Reads the text of a policy file. @throws CONFIG_UNREADABLE */
export function readPolicyText(path: string): string {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) throw new Error('it is larger than 1 MiB')
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (error) {
    const reason = error instanceof TypeError ? 'it is not UTF-8' : (error as Error).message
    throw new PosternError('CONFIG_UNREADABLE', `${path}: ${reason}`, { path }, { cause: error })
  }
}

/** Formats a mistake for people: "policy.yaml:14:12: ...". */
export function problemText(file: string, { line, column, severity, text }: Problem): string {
  const mark = severity === 'warning' ? 'warning: ' : ''
  return `${file}:${String(line)}:${String(column)}: ${mark}${text}`
}

type Fields = ReadonlyMap<string, Node>

function readVersion(at: YamlCursor, root: Node, node: Node | undefined): void {
  if (node === undefined) at.fault(root, 'version is missing: it must be 1')
  else if (String(node) !== '1')
    at.fault(node, `version ${String(node).slice(0, 20)} is not known: it must be 1`)
}

function readMode(at: YamlCursor, fields: Fields): Pick<PolicyDocument, 'mode' | 'observeUntilMs'> {
  const mode = at.word(fields.get('mode'), 'mode', ['enforce', 'observe']) ?? 'enforce'
  const node = fields.get('observeUntil')
  const form = 'a day such as 2027-01-31, or a time such as 2027-01-31T12:00Z'
  const untilMs = at.read(node, 'observeUntil', timeOf, form)
  if (mode === 'observe' && node === undefined)
    at.fault(fields.get('mode'), 'observing must end: observeUntil is missing')
  return { mode, observeUntilMs: untilMs ?? 0 }
}

function timeOf(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(text)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}

function readResidency(
  at: YamlCursor,
  node: Node | undefined,
): Pick<PolicyDocument, 'gatewayRegions' | 'callerRegions' | 'storeRegions'> {
  const fields = node && at.map(node, 'residency', ['gateways', 'callers', 'stores'])
  const regions = (key: string): readonly string[] =>
    at.texts(fields?.get(key), key).map((one) => {
      if (!isRegionName(one.value))
        at.fault(one.node, `${JSON.stringify(one.value)} is no name of a region`)
      else if (!KNOWN_REGIONS.includes(one.value) && !(one.value in REGION_GROUPS))
        at.warn(
          one.node,
          `${one.value} is none of the regions that are known by name: ${[...KNOWN_REGIONS, ...Object.keys(REGION_GROUPS)].join(', ')}`,
        )
      return one.value
    })
  // Of these each cloud has names of its own.
  const storeRegions = at.texts(fields?.get('stores'), 'stores').map((one) => {
    if (!STORE_REGION.test(one.value))
      at.fault(one.node, `${JSON.stringify(one.value)} must be the name of a region of its cloud`)
    return one.value.toLowerCase()
  })
  return {
    gatewayRegions: regions('gateways'),
    callerRegions: regions('callers'),
    storeRegions,
  }
}

function readSealed(at: YamlCursor, node: Node | undefined): PolicyDocument['sealed'] {
  return byType(at, node, 'sealed', (value) => {
    const word = at.word(value, 'sealed', ['required', 'optional'])
    return word === undefined ? undefined : word === 'required'
  })
}

function readBudgets(at: YamlCursor, node: Node | undefined): ReadonlyMap<DataType, BudgetSpecs> {
  return byType(at, node, 'budgets', (value) => readBudget(at, value))
}

function byType<T>(
  at: YamlCursor,
  node: Node | undefined,
  what: string,
  read: (value: Node) => T | undefined,
): ReadonlyMap<DataType, T> {
  const found = new Map<DataType, T>()
  if (node === undefined) return found
  for (const [key, value] of at.entries(node, what)) {
    const type = readType(at, key)
    const made = read(value)
    if (type !== undefined && !mayCross(type)) at.fault(key, neverText(type))
    if (type !== undefined && made !== undefined) found.set(type, made)
  }
  return found
}

function readMetadata(at: YamlCursor, node: Node | undefined): readonly string[] {
  return at.texts(node, 'metadata').map((one) => {
    if (!METADATA_NAME.test(one.value))
      at.fault(one.node, `${JSON.stringify(one.value)} must be 1 to 128 of a-z 0-9 _ . -`)
    return one.value
  })
}

function readRules(at: YamlCursor, node: Node | undefined, origin: string): readonly PolicyRule[] {
  const nodes = at.list(node, 'rules')
  if (nodes.length > RULES_MAX) {
    at.fault(node, `more than ${String(RULES_MAX)} rules`)
    return []
  }
  const names = new Set<string>()
  const rules: PolicyRule[] = []
  for (const one of nodes) {
    const found = readRule(at, one, origin)
    if (found === undefined) continue
    if (names.has(found.name)) at.fault(one, `the name ${JSON.stringify(found.name)} stands twice`)
    names.add(found.name)
    const shadow = rules.find((earlier) => shadows(earlier, found))
    if (shadow !== undefined)
      at.warn(
        one,
        `rule ${JSON.stringify(found.name)} is never reached: ${JSON.stringify(shadow.name)} (${shadow.place}) allows all that it does`,
      )
    const isClosed = [found.types, found.about].some((types) => types?.length === 0)
    if (isClosed)
      at.warn(one, `rule ${JSON.stringify(found.name)} never matches: its list of types is empty`)
    rules.push(found)
  }
  return rules
}

/** Whether an earlier rule allows all that a later one does, so that this is never reached. */
function shadows(earlier: PolicyRule, later: PolicyRule): boolean {
  const { hours, budget, sealed, user, types, about, paths, messageBytesMax } = earlier
  const isBound =
    hours !== undefined ||
    sealed ||
    user !== undefined ||
    about !== undefined ||
    paths.length > 0 ||
    Object.keys(budget).length > 0 ||
    messageBytesMax !== undefined
  if (isBound) return false
  if (types !== undefined && later.types?.every((type) => types.includes(type)) !== true)
    return false
  // What must be named is not allowed by a wildcard, so a rule that names more is not shadowed by one.
  return (
    later.callers.every((one) => earlier.callers.some((other) => coversCaller(other, one))) &&
    later.methods.every((one) =>
      earlier.methods.some((other) => one === other || (one !== '*' && matchesMethod(other, one))),
    ) &&
    later.services.every((one) =>
      earlier.services.some((other) => other !== '*' && matchesService(other, one)),
    )
  )
}
