/** Regenerates src/gen from proto/ with protoc (Debian: protobuf-compiler and libprotobuf-dev) and protoc-gen-es. */
import { execFileSync } from 'node:child_process'
import { globSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = process.argv[2] ?? `${root}src/gen`
const files = globSync('**/*.proto', { cwd: `${root}proto` }).sort()
rmSync(out, { recursive: true, force: true })
execFileSync('mkdir', ['-p', out])
execFileSync(
  'protoc',
  [
    '-I',
    'proto',
    `--plugin=protoc-gen-es=${root}node_modules/.bin/protoc-gen-es`,
    `--es_out=${out}`,
    '--es_opt=target=js+dts,import_extension=js',
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
)
