import { builtinModules } from 'node:module'
import type { Plugin } from 'esbuild'

const NAMES = builtinModules.filter((name) => !name.startsWith('_'))
const BUILTIN = new RegExp(`^(?:node:)?(?:${NAMES.join('|').replaceAll('/', '\\/')})$`)

/**
 * Takes Node's own modules by `process.getBuiltinModule`. As ES modules each of their exports is read when they are linked, and some
 * exports stand for much: `node:http` has a WebSocket, and so loads an HTTP client, its streams and a Web crypto that nobody uses.
 */
export const builtinModulesLazily: Plugin = {
  name: 'builtin modules, lazily',
  setup(build) {
    build.onResolve({ filter: BUILTIN }, ({ path, kind }) =>
      kind === 'dynamic-import' ? undefined : { path, namespace: 'builtin' },
    )
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      loader: 'js',
    }))
  },
}
