/**
 * Builds the package: `node scripts/build.ts [FOLDER]`, dist by default. The programs are bundled,
 * each into one file: that halves their start, and saves the agent 7 MB.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { takeBuiltinModules } from './builtin-modules.ts'
import { inlineVersion } from './inline-version.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = resolve(process.argv[2] ?? join(ROOT, 'dist'))

rmSync(OUT, { recursive: true, force: true })
execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', OUT], {
  cwd: ROOT,
  stdio: 'inherit',
})
cpSync(join(ROOT, 'src/gen'), join(OUT, 'gen'), { recursive: true })
for (const name of ['agent', 'gateway']) {
  const { outputFiles } = await build({
    write: false,
    entryPoints: [join(OUT, 'cli', `${name}.js`)],
    outdir: join(OUT, 'cli'),
    allowOverwrite: true,
    bundle: true,
    // What only a rare command needs is read when that runs.
    splitting: true,
    chunkNames: `chunks/${name}-[name]-[hash]`,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'linked',
    logLevel: 'warning',
    plugins: [inlineVersion],
  })
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, path.endsWith('.js') ? takeBuiltinModules(text) : text)
  }
}
