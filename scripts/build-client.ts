/** Builds the package `@postern/client` of the same sources: `node scripts/build-client.ts`, into packages/client/dist. */
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { inlineVersion } from './inline-version.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = join(ROOT, 'packages/client/dist')

rmSync(OUT, { recursive: true, force: true })
const types = join(OUT, 'types')
execFileSync(
  join(ROOT, 'node_modules/.bin/tsc'),
  ['-p', 'tsconfig.client.json', '--outDir', types],
  { cwd: ROOT, stdio: 'inherit' },
)
await build({
  entryPoints: [join(ROOT, 'src/client.ts')],
  outdir: OUT,
  bundle: true,
  // What makes certificates for sealed calls is read with the first of them.
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  platform: 'node',
  format: 'esm',
  target: 'node24',
  packages: 'external',
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
  plugins: [inlineVersion],
})
cpSync(join(ROOT, 'src/gen'), join(types, 'gen'), {
  recursive: true,
  filter: (path) => !path.endsWith('.js'),
})
