import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly [field: string]: unknown
}

/**
 * What is wrong with objects, by the types of the API that kubernetes-models holds, and no server. A
 * literal of a type may have its fields and no others, so unknown ones are found as well.
 */
export function faultsOf(objects: readonly KubernetesObject[]): string[] {
  const lines = objects.map(
    (one, index) =>
      `export const o${String(index)}: import('kubernetes-models/${one.apiVersion}').I${one.kind} = ${JSON.stringify(one)}`,
  )
  const name = join(ROOT, 'test/kubernetes/objects.virtual.ts')
  const text = lines.join('\n')
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ESNext,
  }
  const disk = ts.createCompilerHost(options)
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (path) => path === name || disk.fileExists(path),
    readFile: (path) => (path === name ? text : disk.readFile(path)),
    getSourceFile: (path, ...more) =>
      path === name
        ? ts.createSourceFile(path, text, ts.ScriptTarget.ESNext)
        : disk.getSourceFile(path, ...more),
  }
  const program = ts.createProgram([name], options, host)
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
}
