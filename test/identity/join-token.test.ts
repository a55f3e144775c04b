import { expect } from 'chai'
import { joinToken, joinTokenFault, joinTokenId } from '../../src/identity/join-token.ts'

describe('a join token', () => {
  const token = joinToken('0123456789ab', Buffer.alloc(32, 7))

  it('tells its id, and is without fault, as is a workload token', () => {
    expect(joinTokenId(token)).to.equal('0123456789ab')
    expect(joinTokenFault(token)).to.equal(undefined)
    expect(joinTokenFault('eyJh.eyJp.c2ln')).to.equal(undefined)
  })

  it('that is damaged is told by how, and never quoted', () => {
    const swapped = token.replace(/BwcH/, 'BwcI')
    for (const [bad, said] of [
      [swapped, 'a character was changed'],
      [token.slice(0, -3), 'cut off'],
      [`${token}\nx`, 'something after it'],
      ['hunter2', 'no join token'],
      ['', 'no join token'],
    ] as const) {
      const fault = joinTokenFault(bad) ?? ''
      expect(fault).to.include(said)
      if (bad !== '') expect(fault).not.to.include(bad)
      expect(joinTokenId(bad)).to.equal(undefined)
    }
  })
})
