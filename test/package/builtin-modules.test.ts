import { expect } from 'chai'
import { takeBuiltinModules } from '../../scripts/builtin-modules.ts'

/** Runs a file of a bundle as Node would, and returns its default export. */
async function valueOf(text: string): Promise<unknown> {
  const taken = takeBuiltinModules(text)
  expect(taken).to.not.match(/(?:^|;)import/)
  const url = `data:text/javascript,${encodeURIComponent(taken)}`
  return ((await import(url)) as { default: unknown }).default
}

describe("Node's own modules in a bundle", () => {
  it('are taken from the process, however they were imported', async () => {
    expect(
      await valueOf('import{join as a,sep}from"node:path";export default a("x",sep)'),
    ).to.equal('x/')
    expect(await valueOf('import path from"path";export default path.join("x")')).to.equal('x')
    expect(await valueOf('import*as p from"node:path";export default p.join("x")')).to.equal('x')
    expect(await valueOf('import p,{sep}from"node:path";export default p.join("x",sep)')).to.equal(
      'x/',
    )
    expect(await valueOf('import"node:fs";export default 1')).to.equal(1)
    // The name of the global one is taken by that of the import.
    expect(await valueOf('import*as process from"process";export default process.pid')).to.equal(
      process.pid,
    )
  })

  it('are there before anything of the file runs, as imports are', async () => {
    expect(await valueOf('var x=sep;import{sep}from"node:path";export default x')).to.equal('/')
  })

  it('stay what they are within a text, and other modules are imported', () => {
    const text = 'import{x}from"./other.js";var y=\';import{sep}from"node:path";\';'
    expect(takeBuiltinModules(text)).to.equal(text)
  })

  it('are what packages in CommonJS may require, and nothing else', async () => {
    const shim = 'var r=(x=>typeof require<"u"?require:0)();'
    expect(await valueOf(`${shim}export default r("path").sep`)).to.equal('/')
    const code = `${shim}var c;try{r("pg-native")}catch(e){c=e.code}export default c`
    expect(await valueOf(code)).to.equal('MODULE_NOT_FOUND')
  })
})
