import { isBuiltin } from 'node:module'
import ts from 'typescript'

/** What packages in CommonJS ask for Node's modules by: an ES module has none. */
const REQUIRE =
  'const require=name=>{const found=globalThis.process.getBuiltinModule(name);if(found===void 0)throw Object.assign(new Error(`Cannot find module \'${name}\'`),{code:"MODULE_NOT_FOUND"});return found};\n'

/**
 * Makes a bundled file take Node's own modules by `process.getBuiltinModule`. As ES modules each of their exports is read when
 * they are linked, and some exports stand for much: `node:http` has a WebSocket, and so loads an HTTP client, its streams and
 * a Web crypto that nobody uses.
 */
export function takeBuiltinModules(text: string): string {
  const source = ts.createSourceFile(
    'chunk.js',
    text,
    ts.ScriptTarget.Latest,
    false,
    ts.ScriptKind.JS,
  )
  const taken = new Set<string>()
  let [rest, from] = ['', 0]
  for (const statement of source.statements) {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier))
      continue
    if (!isBuiltin(statement.moduleSpecifier.text)) continue
    for (const one of bindings(statement, statement.moduleSpecifier.text)) taken.add(one)
    rest += text.slice(from, statement.getStart(source))
    from = statement.end
  }
  rest += text.slice(from)
  const require = rest.includes('typeof require') ? REQUIRE : ''
  return `${require}${[...taken].join('')}${taken.size === 0 ? '' : '\n'}${rest}`
}

function bindings({ importClause }: ts.ImportDeclaration, module: string): string[] {
  const whole = `globalThis.process.getBuiltinModule(${JSON.stringify(module)})`
  const named = importClause?.namedBindings
  const names = [
    importClause?.name?.text,
    named !== undefined && ts.isNamespaceImport(named) ? named.name.text : undefined,
  ]
  const parts = named !== undefined && ts.isNamedImports(named) ? named.elements : []
  const picked = parts.map(({ name, propertyName }) =>
    propertyName === undefined ? name.text : `${propertyName.text}:${name.text}`,
  )
  return [
    ...names.flatMap((name) => (name === undefined ? [] : [`const ${name}=${whole};`])),
    ...(picked.length === 0 ? [] : [`const{${picked.join(',')}}=${whole};`]),
  ]
}
