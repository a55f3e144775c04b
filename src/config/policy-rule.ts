import type { Node } from 'yaml'
import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'
import type { BudgetSpec } from '../guard/budget.ts'
import { mayCross, neverText } from '../guard/catalog.ts'
import { isZone, readDays, readTimeOfDay, type Hours } from '../guard/hours.ts'
import { isMethodPattern, readCallerPattern, readPathPattern } from '../guard/pattern.ts'
import { rule, type BudgetSpecs, type PolicyRule } from '../guard/rule.ts'
import { readUserRule } from './policy-users.ts'
import { parseBytes } from './setting.ts'
import type { YamlCursor } from './yaml-cursor.ts'

const SERVICE = /^(\*|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/
const NAME_MAX = 80
const KEYS = [
  ...['name', 'callers', 'methods', 'services', 'paths', 'upgrade', 'types', 'about'],
  ...['message', 'budget', 'hours', 'sealed', 'user'],
]
const PERIODS_MS: Readonly<Record<string, number>> = {
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  day: 86_400_000,
}
const SIZE = 'a size such as 64KiB'

/** Reads one rule. What is wrong in it is noted at the cursor; undefined where it cannot be a rule at all. */
export function readRule(at: YamlCursor, node: Node, origin: string): PolicyRule | undefined {
  const fields = at.map(node, 'a rule', KEYS)
  if (fields === undefined) return undefined
  const name = at.text(fields.get('name'), 'name')
  if (name === undefined) {
    at.fault(node, 'a rule needs a name')
    return undefined
  }
  if (name.length > NAME_MAX)
    at.fault(fields.get('name'), `a name has at most ${String(NAME_MAX)} characters`)
  const callers = at.texts(fields.get('callers'), 'callers').flatMap((one) => {
    const pattern = readCallerPattern(one.value)
    if (pattern === undefined)
      at.fault(
        one.node,
        `${JSON.stringify(one.value)} must be a caller's name, the beginning of one with *, or *; with @first-hand, @gateway, @token or @token=https://issuer behind it`,
      )
    return pattern ?? []
  })
  if (!fields.has('callers')) at.fault(node, `rule ${JSON.stringify(name)} names no callers`)
  const methods = at.texts(fields.get('methods'), 'methods')
  for (const one of methods)
    if (!isMethodPattern(one.value))
      at.fault(
        one.node,
        `${JSON.stringify(one.value)} must be package.Service/Method, package.Service/* or *`,
      )
  const services = at.texts(fields.get('services'), 'services')
  for (const one of services)
    if (!SERVICE.test(one.value))
      at.fault(one.node, `${JSON.stringify(one.value)} must be the name of a service, or *`)
  if (methods.length === 0 && services.length === 0)
    at.fault(node, `rule ${JSON.stringify(name)} names neither methods nor services`)
  const paths = at.texts(fields.get('paths'), 'paths').flatMap((one) => {
    const pattern = readPathPattern(one.value)
    if (pattern === undefined)
      at.fault(
        one.node,
        `${JSON.stringify(one.value)} must be a path such as "GET /v1/*", with ** at its end only`,
      )
    return pattern ?? []
  })
  if (fields.has('paths') && services.length === 0)
    at.fault(fields.get('paths'), 'paths belong to services')
  const message = at.read(fields.get('message'), 'message', (text) => bytesOf(text), SIZE)
  return rule({
    name,
    place: `${origin}:${String(at.lineOf(node))}`,
    callers,
    methods: methods.map(({ value }) => value),
    services: services.map(({ value }) => value),
    paths,
    upgrade: at.flag(fields.get('upgrade'), 'upgrade') ?? false,
    types: readTypes(at, fields.get('types'), 'types'),
    about: readTypes(at, fields.get('about'), 'about'),
    messageBytesMax: message,
    budget: readBudget(at, fields.get('budget')),
    hours: readHours(at, fields.get('hours')),
    sealed: at.word(fields.get('sealed'), 'sealed', ['required', 'optional']) === 'required',
    user: readUserRule(at, fields.get('user')),
  })
}

/** Reads the name of a type. Noted where it is none. */
export function readType(
  at: YamlCursor,
  node: Node,
  text = at.text(node, 'a type'),
): DataType | undefined {
  if (text === undefined) return undefined
  return at.word(node, 'data type', DATA_TYPE_NAMES)
}

function readTypes(
  at: YamlCursor,
  node: Node | undefined,
  key: 'types' | 'about',
): DataType[] | undefined {
  if (node === undefined) return undefined
  return at.list(node, key).flatMap((item) => {
    const type = readType(at, item)
    if (type === undefined) return []
    if (key === 'types' && !mayCross(type)) at.fault(item, neverText(type))
    if (key === 'types' && type === 'own')
      at.fault(
        item,
        'own is what Postern itself says: no rule is needed for it, and none takes it away',
      )
    return [type]
  })
}

/** Reads `{ bytes: 2GiB/day, calls: 100/min }`. */
export function readBudget(at: YamlCursor, node: Node | undefined): BudgetSpecs {
  if (node === undefined) return {}
  const fields = at.map(node, 'a budget', ['bytes', 'calls'])
  const bytes = at.read(
    fields?.get('bytes'),
    'bytes',
    (text) => specOf(text, bytesOf),
    'such as 2GiB/day: a size, then /s, /min, /h or /day',
  )
  const calls = at.read(
    fields?.get('calls'),
    'calls',
    (text) => specOf(text, countOf),
    'such as 100/min: a number, then /s, /min, /h or /day',
  )
  return { ...(bytes && { bytes }), ...(calls && { calls }) }
}

function specOf(text: string, read: (text: string) => number | undefined): BudgetSpec | undefined {
  const [amountText = '', unit = '', ...rest] = text.split('/')
  const amount = read(amountText)
  const periodMs = Object.hasOwn(PERIODS_MS, unit) ? PERIODS_MS[unit] : undefined
  if (amount === undefined || amount === 0 || periodMs === undefined || rest.length > 0)
    return undefined
  return { amount, periodMs }
}

function bytesOf(text: string): number | undefined {
  try {
    return parseBytes(text)
  } catch {
    // The cursor says what form it must have.
    return undefined
  }
}

function countOf(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

function readHours(at: YamlCursor, node: Node | undefined): Hours | undefined {
  if (node === undefined) return undefined
  const fields = at.map(node, 'hours', ['days', 'from', 'to', 'zone'])
  const days = at.read(fields?.get('days'), 'days', readDays, 'days such as mon-fri or sat,sun')
  const from = at.read(
    fields?.get('from'),
    'from',
    readTimeOfDay,
    'a time such as "08:00", in quotes',
  )
  const to = at.read(fields?.get('to'), 'to', readTimeOfDay, 'a time such as "18:00", in quotes')
  const zone = at.read(
    fields?.get('zone'),
    'zone',
    (text) => (isZone(text) ? text : undefined),
    'a time zone such as Europe/Dublin',
  )
  if (fields === undefined || from === undefined || to === undefined || zone === undefined) {
    if (['from', 'to', 'zone'].some((key) => fields?.has(key) !== true))
      at.fault(node, 'hours need from, to and zone')
    return undefined
  }
  return { days: days ?? new Set([0, 1, 2, 3, 4, 5, 6]), from, to, zone }
}
