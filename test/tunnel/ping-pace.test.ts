import { expect } from 'chai'
import { PingPace } from '../../src/tunnel/ping-pace.ts'

describe('the pace of pings', () => {
  it('doubles with each tunnel that is cut after a while, down to 2 s', () => {
    const pace = new PingPace(10_000)
    const seen = [60_000, 60_000, 60_000, 60_000].map((upMs) => {
      pace.fell('CONNECTION_LOST', upMs)
      return pace.intervalMs
    })
    expect(seen).to.deep.equal([5000, 2500, 2000, 2000])
  })

  it('stays for what no idle limit explains', () => {
    const pace = new PingPace(10_000)
    pace.fell('CONNECTION_LOST', 500)
    pace.fell('GOING_AWAY', 60_000)
    pace.fell('CERT_EXPIRED', 60_000)
    expect(pace.intervalMs).to.equal(10_000)
  })

  it('is that of the settings again once a tunnel has lasted', () => {
    const pace = new PingPace(10_000)
    pace.fell('PEER_SILENT', 60_000)
    pace.fell('CONNECTION_LOST', 3_600_000)
    expect(pace.intervalMs).to.equal(10_000)
  })

  it('is never slower than the settings say, however short that is', () => {
    const pace = new PingPace(500)
    pace.fell('CONNECTION_LOST', 60_000)
    expect(pace.intervalMs).to.equal(500)
  })
})
