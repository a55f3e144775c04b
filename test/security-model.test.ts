import { expect } from 'chai'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { AGENT_COMMANDS } from '../src/cli/agent/commands.ts'
import { GATEWAY_COMMANDS } from '../src/cli/gateway/commands.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

interface Row {
  readonly promise: string
  readonly files: readonly string[]
  readonly proof: string
  readonly commands: readonly string[]
}

describe('docs/SECURITY-MODEL.md', () => {
  const rows = readFileSync(`${ROOT}docs/SECURITY-MODEL.md`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| promise'))
    .map((line): Row => {
      const [promise = '', by = '', proof = '', commands = ''] = line.slice(2).split(' | ')
      const quoted = (text: string): string[] =>
        [...text.matchAll(/`([^`]+)`/g)].map(([, one = '']) => one)
      return { promise, files: quoted(by), proof, commands: quoted(commands) }
    })

  it('names files that enforce, and tests that exist, for every promise', () => {
    expect(rows.length).to.be.above(25)
    for (const { promise, files, proof } of rows) {
      expect(files.length, promise).to.be.above(0)
      for (const file of files)
        expect(existsSync(`${ROOT}${file}`), `${promise}: ${file}`).to.equal(true)
      const [, path = '', title = ''] = /^`([^`]+)`: (.*)$/.exec(proof) ?? []
      expect(existsSync(`${ROOT}${path}`), `${promise}: ${path}`).to.equal(true)
      expect(readFileSync(`${ROOT}${path}`, 'utf8'), promise).to.include(`it('${title}'`)
    }
  })

  it('names commands that exist', () => {
    const paths = (program: string, commands: typeof AGENT_COMMANDS): string[] =>
      commands.flatMap((one) =>
        'commands' in one
          ? one.commands.map(({ path }) => `${program} ${one.path} ${path.split(' ')[0] ?? ''}`)
          : [`${program} ${one.path.split(' ')[0] ?? ''}`],
      )
    const known = [...paths('agent', AGENT_COMMANDS), ...paths('gateway', GATEWAY_COMMANDS)]
    for (const { promise, commands } of rows)
      for (const command of commands) {
        if (!/^(agent|gateway) /.test(command)) continue
        expect(known, `${promise}: ${command}`).to.include(command)
      }
  })
})
