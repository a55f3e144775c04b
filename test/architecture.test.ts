import { expect } from 'chai'
import { BANS } from './support/bans.ts'
import { readFileSync, globSync, existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** A file imports only from floors strictly below, or from its own folder. Siblings never meet. */
const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['gen', 'tracing'],
  ['wire', 'identity', 'contract'],
  ['mux', 'transport'],
  ['guard', 'rpc', 'carrier', 'store', 'token'],
  ['audit', 'tunnel'],
  ['dataplane', 'seal'],
  ['config'],
  ['agent', 'gateway', 'caller'],
  ['cli', 'client.ts', 'embedded-agent.ts'],
]

/**
 * Rooms of a floor, in order: one imports the doors of rooms before it, and the floor's own files, which
 * see all rooms, import nothing but doors. A door is the file with the name of its room.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  agent: [
    ...['health', 'credential', 'guard', 'enrolment', 'carriers', 'doctor', 'services', 'seal'],
    ...['posture', 'prove', 'tunnels', 'events', 'changes', 'notices', 'control'],
  ],
  gateway: [
    ...['access', 'roles', 'clusters', 'runs', 'posture', 'ca', 'operations', 'agents', 'callers'],
    ...['protocols', 'api', 'enrolment', 'control'],
  ],
  cli: [
    'program',
    'daemon',
    'service',
    'place',
    'agent-certs',
    'agent-guard',
    'agent-audit',
    'agent-prove',
    'posture',
    'agent',
    'caller',
    'gateway-access',
    'gateway',
  ],
  identity: ['validation'],
  dataplane: [
    ...['objects', 'metrics', 'secrets', 'log-files', 'log-sources', 'logs', 'tasks'],
    ...['events', 'vendor'],
  ],
}
/** Runs before anything else is read. */
const FIRST = 'src/cli/program/early-signals.ts'
/** What is read only where a rare command or setting needs it: `await import()` goes past the door. */
const LAZY = /\bimport\('(\.[^']+)'\)/g

/** Package or built-in, and the only folders that may import it. */
const SOLE_USERS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^node:(tls|net|http|https|http2)$/, ['transport', 'carrier']],
  [/^ws$/, ['carrier']],
  [/^(@peculiar\/|reflect-metadata)/, ['identity']],
  [/^(node-forge|pkijs|asn1js)$/, ['identity']],
  [/^@opentelemetry\//, ['tracing']],
  [/^jose$/, ['token']],
  [
    /^(@aws-sdk|@smithy|@azure)\/|^google-auth-library$|^@(lezer|prometheus-io)\/|^(age-encryption|re2js)$/,
    ['dataplane'],
  ],
  [/^prom-client$/, ['base']],
  [/^pino$/, ['cli']],
  [/^yaml$/, ['config']],
  [/^(kysely|node:sqlite)$/, ['store', 'gateway']],
]

interface SourceFile {
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
}

function readSources(pattern: string): SourceFile[] {
  return globSync(pattern, { cwd: ROOT })
    .filter((path) => !path.startsWith('src/gen/'))
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8')
      const { importedFiles } = ts.preProcessFile(text, true, true)
      return { path, text, imports: importedFiles.map((file) => file.fileName) }
    })
}

function folderOf(path: string): string {
  return path.split('/')[1] ?? ''
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder))
}

/** "floor/room" of a file in a room. */
function roomOf(path: string): string | undefined {
  const [, floor = '', room, file] = path.split('/')
  return floor in ROOMS && file !== undefined ? `${floor}/${room ?? ''}` : undefined
}

function mayImport(path: string, target: string): boolean {
  const [from, to] = [roomOf(path), roomOf(target)]
  if (to === undefined || to === from) return true
  const [floor = '', name = ''] = to.split('/')
  if (target !== `src/${to}/${name}.ts`) return target === FIRST
  const order = ROOMS[floor] ?? []
  if (from?.startsWith(`${floor}/`) !== true) return true
  return order.indexOf(name) < order.indexOf(from.slice(floor.length + 1))
}

function resolve(from: string, target: string): string {
  return normalize(join(dirname(from), target))
}

describe('the architecture', () => {
  const sources = readSources('src/**/*.ts')

  it('has every folder on a floor', () => {
    const homeless = sources.filter(({ path }) => floorOf(folderOf(path)) === -1)
    expect(homeless.map(({ path }) => path)).to.deep.equal([])
  })

  it('imports only downwards', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter((target) => target.startsWith('.'))
        .map((target) => resolve(path, target))
        .filter((target) => folderOf(target) !== folderOf(path))
        .filter((target) => floorOf(folderOf(target)) >= floorOf(folderOf(path)))
        .map((target) => `${path} -> ${target}`),
    )
    expect(wrong).to.deep.equal([])
  })

  it('has every room in the list, and 2 to 13 files in each', () => {
    const found = new Map<string, number>()
    for (const { path } of sources) {
      const room = roomOf(path)
      if (room !== undefined) found.set(room, (found.get(room) ?? 0) + 1)
    }
    const listed = Object.entries(ROOMS).flatMap(([floor, rooms]) =>
      rooms.map((room) => `${floor}/${room}`),
    )
    expect([...found.keys()].sort()).to.deep.equal(listed.sort())
    expect([...found].filter(([, count]) => count < 2 || count > 13)).to.deep.equal([])
  })

  it('enters rooms by their doors, and in their order', () => {
    const wrong = sources.flatMap(({ path, text, imports }) => {
      const lazy = new Set([...text.matchAll(LAZY)].map(([, target]) => target))
      return imports
        .filter((target) => target.startsWith('.') && !lazy.has(target))
        .map((target) => resolve(path, target))
        .filter((target) => !mayImport(path, target))
        .map((target) => `${path} -> ${target}`)
    })
    expect(wrong).to.deep.equal([])
  })

  it('has no import cycle, type-only imports included', () => {
    const graph = new Map(
      sources.map(({ path, imports }) => [
        path,
        imports.filter((target) => target.startsWith('.')).map((target) => resolve(path, target)),
      ]),
    )
    expect(findCycle(graph)).to.equal(undefined)
  })

  it('keeps packages and built-ins to the folders that own them', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports.flatMap((target) =>
        SOLE_USERS.filter(
          ([pattern, folders]) => pattern.test(target) && !folders.includes(folderOf(path)),
        ).map(() => `${path} -> ${target}`),
      ),
    )
    expect(wrong).to.deep.equal([])
  })

  it('has no file over 400 lines, and a median near 100', () => {
    const all = [
      ...sources,
      ...readSources('test/**/*.ts'),
      ...readSources('bench/**/*.ts'),
      ...readSources('scripts/**/*.ts'),
    ]
    const lines = all.map(({ path, text }) => ({ path, count: text.split('\n').length - 1 }))
    expect(lines.filter(({ count }) => count > 400)).to.deep.equal([])
    const counts = lines.map(({ count }) => count).sort((a, b) => a - b)
    expect(counts[Math.floor(counts.length / 2)]).to.be.lessThan(150)
  })

  it('has no function over 70 lines', () => {
    const wrong = sources.flatMap(({ path, text }) => longFunctions(path, text, 70))
    expect(wrong).to.deep.equal([])
  })

  it('says why, wherever an error is caught and not looked at', () => {
    const wrong = sources.flatMap(({ path, text }) => silentCatches(path, text))
    expect(wrong).to.deep.equal([])
  })

  it('documents every exported declaration, by a sentence before any tag', () => {
    const wrong = sources.flatMap(({ path, text }) => undocumented(path, text))
    expect(wrong).to.deep.equal([])
  })

  it('gives a room what is made before it, never a function that reaches what is made later', () => {
    const rooms = sources.filter(({ path }) => /^src\/(agent|gateway)\//.test(path))
    const classes = new Set(
      rooms.flatMap(({ text }) =>
        [...text.matchAll(/^export class (\w+)/gm)].map(([, name]) => name),
      ),
    )
    expect(classes.size).to.be.greaterThan(40)
    const late = rooms.flatMap(({ path, text }) =>
      [...text.matchAll(/^\s+readonly (\w+)\??: \(\) => (\w+)|^\s+(\w+)\(\): (\w+)\b/gm)]
        .map(([line, field, made, method, returned]) => ({
          line,
          made: made ?? returned,
          field: field ?? method,
        }))
        .filter(({ made, line }) => classes.has(made) && !line.includes('{'))
        .filter(({ field }) => inAnInterface(text, field ?? ''))
        .map(({ line }) => `${path}: ${line.trim()}`),
    )
    expect(late).to.deep.equal([])
  })

  it('keeps the files that make all rooms short', () => {
    const roots = sources.filter(({ path }) => /^src\/(agent|gateway)\/\w+\.ts$/.test(path))
    const long = roots.filter(({ text }) => text.split('\n').length > 150)
    expect(long.map(({ path }) => path)).to.deep.equal([])
  })

  it('calls time, chance, environment and exits only in their adapters', () => {
    const wrong = sources.flatMap(({ path, text }) =>
      BANS.filter(
        ({ allowedIn, within = [''] }) =>
          within.some((folder) => path.startsWith(folder)) &&
          !allowedIn.some((allowed) => path.startsWith(allowed)),
      ).flatMap(({ pattern, instead }) =>
        withoutComments(text)
          .split('\n')
          .filter((line) => pattern.test(line))
          .map((line) => `${path}: ${line.trim()} (use ${instead})`),
      ),
    )
    expect(wrong).to.deep.equal([])
  })

  it('has no any and no unchecked assertion', () => {
    const wrong = sources.flatMap(({ path, text }) =>
      withoutComments(text)
        .split('\n')
        .filter(
          (line) =>
            /\bas any\b|: any\b|<any>|@ts-ignore|@ts-expect-error/.test(line) &&
            !line.includes('Setting<any>'),
        )
        .map((line) => `${path}: ${line.trim()}`),
    )
    expect(wrong).to.deep.equal([])
  })

  it('is what docs/ARCHITECTURE.md says: the tour names files and functions that exist, the tables name the rooms', () => {
    const document = readFileSync(join(ROOT, 'docs/ARCHITECTURE.md'), 'utf8')
    const tour = document.split('## A tour')[1]?.split('\n## ')[0] ?? ''
    let text = ''
    const missing: string[] = []
    let stops = 0
    for (const [, token = ''] of tour.matchAll(/`([^`]+)`/g)) {
      stops++
      const file = sources.find(({ path }) => path === `src/${token}`)
      if (token.includes('/')) text = file?.text ?? ''
      const isThere = token.includes('/')
        ? file !== undefined
        : new RegExp(`\\b${token}\\b`).test(text)
      if (!isThere) missing.push(token)
    }
    expect(stops).to.be.greaterThan(60)
    expect(missing).to.deep.equal([])
    const places = document.split('## Where a change goes')[1]?.split('\n## ')[0] ?? ''
    const paths = [...places.matchAll(/`([^`]+\/[^`]*)`/g)].map(([, path = '']) => path)
    expect(paths.length).to.be.greaterThan(15)
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).to.deep.equal([])
    for (const floor of ['agent', 'gateway']) {
      const table = document.split(`| ${floor}/ | |`)[1]?.split('\n\n')[0] ?? ''
      const named = [...table.matchAll(/\| `([a-z-]+)\/` \|/g)].map(([, room]) => room)
      expect(named.sort()).to.deep.equal([...(ROOMS[floor] ?? [])].sort())
    }
  })

  it('commits no private key', () => {
    const wrong = [...sources, ...readSources('{test,scripts,bench}/**/*.ts')].filter(({ text }) =>
      /-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]/.test(text),
    )
    expect(wrong.map(({ path }) => path)).to.deep.equal([])
  })
})

function findCycle(graph: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const done = new Set<string>()
  const visit = (node: string, trail: readonly string[]): readonly string[] | undefined => {
    if (trail.includes(node)) return [...trail.slice(trail.indexOf(node)), node]
    if (done.has(node)) return undefined
    done.add(node)
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next, [...trail, node])
      if (cycle !== undefined) return cycle
    }
    return undefined
  }
  for (const node of graph.keys()) {
    const cycle = visit(node, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

function longFunctions(path: string, text: string, linesMax: number): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && !ts.isFunctionTypeNode(node)) {
      const from = source.getLineAndCharacterOfPosition(node.getStart()).line
      const to = source.getLineAndCharacterOfPosition(node.getEnd()).line
      if (to - from + 1 > linesMax)
        found.push(`${path}:${String(from + 1)} has ${String(to - from + 1)} lines`)
    }
    node.forEachChild(visit)
  }
  visit(source)
  return found
}

/** Whether a field of that name stands in an interface of ports or options. */
function inAnInterface(text: string, field: string): boolean {
  const bodies = [
    ...text.matchAll(/^export interface \w*(?:Ports|Options)\b[^{]*\{([\s\S]*?)^\}/gm),
  ]
  return bodies.some(([, body = '']) => new RegExp(`\\b${field}\\b`).test(body))
}

function docOf(node: ts.Node): string {
  return ts.getJSDocCommentsAndTags(node)[0]?.getText() ?? ''
}

function undocumented(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  return source.statements
    .filter((one) => ts.canHaveModifiers(one))
    .filter((one) => ts.getModifiers(one)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword))
    .filter((one) => !/^\/\*\*[\s*]*[^\s*@]/.test(docOf(one)))
    .map((one) => `${path}: ${one.getText().split('\n')[0] ?? ''}`)
}

/** Blocks of catch that neither use the error nor hold a comment. */
function silentCatches(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCatchClause(node)) {
      const name = node.variableDeclaration?.name.getText()
      const body = node.block.getFullText()
      const isUsed = name !== undefined && new RegExp(`\\b${name}\\b`).test(withoutComments(body))
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1
      if (!isUsed && !/\/\/|\/\*/.test(body)) found.push(`${path}:${String(line)}`)
    }
    node.forEachChild(visit)
  }
  visit(source)
  return found
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}
