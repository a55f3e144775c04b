import { expect } from 'chai'
import { Turnstile } from '../../src/gateway/turnstile.ts'

describe('the admission of agents', () => {
  it('lets a burst in, and gives the rest places evenly apart', () => {
    const turnstile = new Turnstile(10, 3)
    const answers = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => turnstile.admit(name, 0))
    expect(answers).to.deep.equal([0, 0, 0, 100, 200, 300])
    expect(turnstile.refused).to.equal(3)
  })

  it('keeps a promise, also while others come', () => {
    const turnstile = new Turnstile(10, 1)
    turnstile.admit('a', 0)
    expect(turnstile.admit('b', 0)).to.equal(100)
    for (let i = 0; i < 50; i++) turnstile.admit(`x-${String(i)}`, 50)
    expect(turnstile.admit('b', 100)).to.equal(0)
    expect(turnstile.admit('b', 100)).to.be.greaterThan(5000)
  })

  it('tells who comes early what is left, and gives no second place', () => {
    const turnstile = new Turnstile(1, 1)
    turnstile.admit('a', 0)
    expect(turnstile.admit('b', 0)).to.equal(1000)
    expect(turnstile.admit('b', 300)).to.equal(700)
    expect(turnstile.admit('c', 300)).to.equal(1700)
    expect(turnstile.admit('b', 960)).to.equal(0)
  })

  it('lets a burst in again once it has been quiet, and forgets who does not come', () => {
    const turnstile = new Turnstile(10, 2)
    for (const name of ['a', 'b', 'c']) turnstile.admit(name, 0)
    expect(turnstile.admit('c', 100_000)).to.equal(0)
    expect(turnstile.admit('d', 100_000)).to.equal(0)
    expect(turnstile.admit('e', 100_000)).to.equal(100)
  })
})
