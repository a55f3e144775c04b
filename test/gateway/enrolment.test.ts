import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { EnrolmentHttp } from '../../src/gateway/enrolment/http.ts'
import type { NewEvent } from '../../src/store/records.ts'
import type { HttpRequest } from '../../src/transport/https-listen.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'

describe('the enrolment listeners', () => {
  function setUp(refuse?: PosternError) {
    const events: NewEvent[] = []
    const answer = { status: 200, headers: {}, body: '' }
    const http = new EnrolmentHttp({
      est: { handle: () => (refuse === undefined ? answer : Promise.reject(refuse)) } as never,
      proofs: { handle: () => answer } as never,
      crls: { get: (name: string) => (name === 'abc' ? Buffer.from('der') : undefined) } as never,
      authorities: { bundlesSince: () => Promise.resolve([Buffer.from('b')]) } as never,
      events: { note: (event: NewEvent) => events.push(event) } as never,
      clock: new FakeClock(),
      logger: new LogRecorder(),
    })
    const ask = async (path: string, method = 'GET', address = '192.0.2.1'): Promise<number> =>
      (await http.handle({ path, method, address } as HttpRequest)).status
    return { http, ask, events }
  }

  it('answer what they know, and nothing else', async () => {
    const { ask } = setUp()
    expect(await ask('/crl/abc.crl')).to.equal(200)
    expect(await ask('/crl/abd.crl')).to.equal(404)
    expect(await ask('/crl/abc.crl', 'POST')).to.equal(405)
    expect(await ask('/.well-known/postern/bundles/3')).to.equal(200)
    expect(await ask('/.well-known/postern/bundles/x')).to.equal(404)
    expect(await ask('/.well-known/postern/diagnose')).to.equal(405)
    expect(await ask('/anything')).to.equal(404)
  })

  it('tell a client no more than it may know, and the record why', async () => {
    const refused = setUp(new PosternError('TOKEN_REFUSED', 'it was revoked by bob'))
    const path = '/.well-known/est/simpleenroll'
    expect(await refused.ask(path, 'POST')).to.equal(401)
    expect(refused.events[0]).to.include({ kind: 'enrolment.refused', actor: 'unknown' })
    expect(refused.events[0]?.detail).to.include('bob')
    expect([...refused.http.answers]).to.deep.equal([['TOKEN_REFUSED', 1]])
    const broken = setUp(new PosternError('CSR_INVALID', 'no request'))
    expect(await broken.ask(path, 'POST')).to.equal(400)
  })

  it('bound what one network asks for, whatever becomes of it', async () => {
    const { ask } = setUp(new PosternError('TOKEN_REFUSED', 'no'))
    const statuses = new Set<number>()
    for (let i = 0; i < 200; i++) statuses.add(await ask('/.well-known/est/simpleenroll', 'POST'))
    expect([...statuses]).to.deep.equal([401, 429])
    expect(await ask('/.well-known/est/simpleenroll', 'POST', '198.51.100.9')).to.equal(401)
  })
})
