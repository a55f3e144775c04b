import { expect } from 'chai'
import { errorOfCall } from '../../src/agent/enrolment/enrolment.ts'
import { refusalOf } from '../../src/agent/enrolment/refusals.ts'
import { PosternError } from '../../src/base/errors.ts'
import { RpcError } from '../../src/rpc/status.ts'

describe('what a gateway answers to who asks for a certificate', () => {
  it('is a refusal by its code, where asking again will not change it', () => {
    expect(refusalOf('CERT_SUPERSEDED: a newer one is in use\n')?.code).to.equal('CERT_SUPERSEDED')
    expect(refusalOf('CLUSTER_LOCKED: by whom: somebody')?.rawMessage).to.equal(
      'the gateway: by whom: somebody',
    )
  })

  it('is no refusal where it only sounds like one', () => {
    for (const text of ['', 'INTERNAL: oops', 'IDENTITY_REVOKED', 'it said IDENTITY_REVOKED: x'])
      expect(refusalOf(text), text).to.equal(undefined)
  })

  it('keeps the code of a call that failed, and calls our own bugs by none of theirs', () => {
    const lost = new RpcError('UNAVAILABLE', 'CONNECTION_LOST: gone', { code: 'CONNECTION_LOST' })
    expect(errorOfCall(lost).code).to.equal('CONNECTION_LOST')
    const refused = new RpcError('PERMISSION_DENIED', 'IDENTITY_REVOKED: it was stolen')
    expect(errorOfCall(refused).code).to.equal('IDENTITY_REVOKED')
    const ours = new PosternError('KEY_EXPOSED', 'mode')
    expect(errorOfCall(ours)).to.equal(ours)
  })
})
