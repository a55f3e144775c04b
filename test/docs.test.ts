import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { generatedDocuments } from '../scripts/docs.ts'

describe('the documents', () => {
  for (const [path, text] of generatedDocuments()) {
    it(`have in ${path} what the code says (npm run docs)`, () => {
      expect(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).to.equal(text)
    })
  }
})
