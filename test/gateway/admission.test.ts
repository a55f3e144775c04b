import { expect } from 'chai'
import { Admission } from '../../src/gateway/agents/admission.ts'

describe('the admission of agents', () => {
  it('lets a burst in, and gives the rest places evenly apart', () => {
    const admission = new Admission(10, 3)
    const answers = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => admission.admit(name, 0))
    expect(answers).to.deep.equal([0, 0, 0, 100, 200, 300])
    expect(admission.refused).to.equal(3)
  })

  it('keeps a promise, also while others come', () => {
    const admission = new Admission(10, 1)
    admission.admit('a', 0)
    expect(admission.admit('b', 0)).to.equal(100)
    for (let i = 0; i < 50; i++) admission.admit(`x-${String(i)}`, 50)
    expect(admission.admit('b', 100)).to.equal(0)
    expect(admission.admit('b', 100)).to.be.greaterThan(5000)
  })

  it('tells who comes early what is left, and gives no second place', () => {
    const admission = new Admission(1, 1)
    admission.admit('a', 0)
    expect(admission.admit('b', 0)).to.equal(1000)
    expect(admission.admit('b', 300)).to.equal(700)
    expect(admission.admit('c', 300)).to.equal(1700)
    expect(admission.admit('b', 960)).to.equal(0)
  })

  it('lets a burst in again once it has been quiet, and forgets who does not come', () => {
    const admission = new Admission(10, 2)
    for (const name of ['a', 'b', 'c']) admission.admit(name, 0)
    expect(admission.admit('c', 100_000)).to.equal(0)
    expect(admission.admit('d', 100_000)).to.equal(0)
    expect(admission.admit('e', 100_000)).to.equal(100)
  })
})
