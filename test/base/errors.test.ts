import { expect } from 'chai'
import { asPosternError, PosternError } from '../../src/base/errors.ts'
import { RpcError, rpcErrorOfCode } from '../../src/rpc/status.ts'

describe('an error as one of ours', () => {
  it('keeps the code and the recovery that an error of another class carries', () => {
    const { code, recovery, rawMessage } = asPosternError(rpcErrorOfCode('IDENTITY_REVOKED', 'no'))
    expect({ code, recovery }).to.deep.equal({ code: 'IDENTITY_REVOKED', recovery: 'give-up' })
    expect(rawMessage).to.include('no')
    const own = new PosternError('FLOOD', 'too much')
    expect(asPosternError(own)).to.equal(own)
  })

  it('takes no code from what only looks like one of ours', () => {
    for (const error of [
      Object.assign(new Error('x'), { code: 'ENOENT', rawMessage: 'x' }),
      Object.assign(new Error('x'), { code: 'toString', rawMessage: 'x' }),
      Object.assign(new Error('x'), { code: 'FLOOD' }),
      { code: 'FLOOD', rawMessage: 'x' },
      new RpcError('UNAVAILABLE', 'gone'),
      'text',
      undefined,
    ])
      expect(asPosternError(error).code).to.equal('INTERNAL')
    expect(asPosternError(new Error('bad'), 'CONFIG_INVALID').code).to.equal('CONFIG_INVALID')
  })
})
