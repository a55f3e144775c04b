import ts from 'typescript'

/** Types that appear in what a declaration file exports, and that it does not export: nobody could name them. */
export function unnamedTypes(path: string): string[] {
  const options: ts.CompilerOptions = {
    ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2024, skipLibCheck: true },
    types: ['node'],
  }
  const program = ts.createProgram([path], options)
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(path)
  const module = source && checker.getSymbolAtLocation(source)
  if (module === undefined) throw new Error(`${path} is no module`)
  const resolved = (symbol: ts.Symbol): ts.Symbol =>
    (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)
  const exported = new Set(checker.getExportsOfModule(module).map(resolved))
  const isOurs = (symbol: ts.Symbol): boolean =>
    symbol.declarations?.some(({ parent }) => {
      const file = parent.getSourceFile().fileName
      return ts.isSourceFile(parent) && !/node_modules|\/gen\//.test(file)
    }) === true
  const unnamed = new Set<string>()
  const visit = (node: ts.Node): void => {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : undefined
    const symbol = name && checker.getSymbolAtLocation(name)
    if (symbol !== undefined && isOurs(resolved(symbol)) && !exported.has(resolved(symbol)))
      unnamed.add(symbol.name)
    ts.forEachChild(node, visit)
  }
  for (const symbol of exported)
    for (const declaration of symbol.declarations ?? [])
      if (!declaration.getSourceFile().fileName.includes('/gen/')) visit(declaration)
  return [...unnamed].sort()
}
