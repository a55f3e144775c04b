import { expect } from 'chai'
import { globSync, readFileSync } from 'node:fs'
import ts from 'typescript'

const ROOT = new URL('../', import.meta.url)
const LEVELS = ['error', 'warn', 'info', 'debug', 'child']

/** The fields that docs/ARCHITECTURE.md names under "Logs". */
function vocabulary(): Set<string> {
  const text = readFileSync(new URL('docs/ARCHITECTURE.md', ROOT), 'utf8')
  const [, words = ''] = /Fields: `([^`]+)`/.exec(text) ?? []
  return new Set(words.split(/,\s*/).map((word) => word.trim()))
}

/** Names of the facts of every log call that are written out in a file. */
function factsIn(path: string): string[] {
  const text = readFileSync(new URL(path, ROOT), 'utf8')
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true)
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { name, expression } = node.expression
      const isLog = /log(ger)?$/i.test(expression.getText().replace(/\?$/, ''))
      const facts = node.arguments.find(ts.isObjectLiteralExpression)
      if (isLog && LEVELS.includes(name.text) && facts !== undefined)
        for (const property of facts.properties)
          if (property.name !== undefined) names.push(property.name.getText())
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return names
}

describe('the log lines', () => {
  it('have fields of one vocabulary, which docs/ARCHITECTURE.md names', () => {
    const known = vocabulary()
    expect(known).to.include('cluster')
    const files = globSync('src/**/*.ts', { cwd: ROOT }).filter(
      (path) => !path.startsWith('src/gen'),
    )
    const used = files.flatMap((path) => factsIn(path).map((name) => ({ path, name })))
    expect(used.length).to.be.greaterThan(60)
    expect(used.filter(({ name }) => !known.has(name))).to.deep.equal([])
  })
})
