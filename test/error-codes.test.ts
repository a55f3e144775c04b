import { expect } from 'chai'
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ERROR_CODES } from '../src/base/error-codes.ts'

const HERE = fileURLToPath(import.meta.url)
const TEST = fileURLToPath(new URL('.', import.meta.url))

describe('the table of errors', () => {
  it('has no code that no test provokes', () => {
    const files = globSync('**/*.test.ts', { cwd: TEST }).map((name) => `${TEST}${name}`)
    const text = files
      .filter((path) => path !== HERE)
      .map((path) => readFileSync(path, 'utf8'))
      .join('\n')
    const unprovoked = Object.keys(ERROR_CODES).filter(
      (code) => !new RegExp(`['(\\[ ]${code}\\b`).test(text),
    )
    expect(unprovoked).to.deep.equal([])
  })
})
