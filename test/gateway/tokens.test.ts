import { expect } from 'chai'
import { Records } from '../../src/store/records.ts'
import { Tokens } from '../../src/gateway/ca/tokens.ts'
import { rejection } from '../support/code-of.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const NOW = Date.UTC(2026, 10, 23)
const HOUR_MS = 3_600_000

describe('join tokens', () => {
  let records: Records
  let tokens: Tokens
  beforeEach(async () => {
    records = await Records.open(':memory:')
    tokens = new Tokens(records, new SeededRandom(7))
  })
  afterEach(async () => {
    await records.close()
  })

  const create = (uses = 1) =>
    tokens.create({ cluster: 'c-1', agent: undefined, uses, ttlMs: HOUR_MS, actor: 'test' }, NOW)
  const use = async (token: string, nowMs = NOW) => {
    await tokens.use(await tokens.find(token), nowMs, records.database)
  }

  it('hold 256 bits, name themselves to secret scanners, and are kept as a hash alone', async () => {
    const { id, token } = await create()
    const [, , secret = ''] = token.split('_', 3)
    expect(token).to.match(/^postern_[0-9a-f]{12}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}$/)
    expect(Buffer.from(token.slice(21, 64), 'base64url')).to.have.lengthOf(32)
    const kept = JSON.stringify([
      await tokens.list(),
      await records.database.selectFrom('events').selectAll().execute(),
    ])
    expect(kept).to.include(id).and.not.include(secret)
  })

  it('are good once, or as often as they say', async () => {
    const { token: once } = await create()
    await use(once)
    expect((await rejection(use(once), 'TOKEN_REFUSED')).rawMessage).to.include('used up')
    const { token: twice } = await create(2)
    await use(twice)
    await use(twice)
    await rejection(use(twice), 'TOKEN_REFUSED')
  })

  it('are used once by the many who try at once', async () => {
    const { token } = await create()
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => use(token)))
    expect(tries.filter(({ status }) => status === 'fulfilled')).to.have.lengthOf(1)
  })

  it('are refused when wrong in a single character, expired, revoked or unknown', async () => {
    const { id, token } = await create()
    const other = (await create()).token
    for (const wrong of [
      '',
      token.slice(0, -1),
      token.replace(/_[0-9a-f]{8}$/, '_00000000'),
      `${token.slice(0, 20)}${other.slice(20)}`,
      `${token}x`,
    ])
      await rejection(tokens.find(wrong), 'TOKEN_REFUSED')
    const late = await rejection(use(token, NOW + HOUR_MS), 'TOKEN_REFUSED')
    expect(late.rawMessage).to.include('expired')
    await tokens.revoke(id, 'test', NOW)
    expect((await rejection(use(token), 'TOKEN_REFUSED')).rawMessage).to.include('revoked')
    await rejection(tokens.revoke(id, 'test', NOW), 'NOT_KNOWN')
  })
})

describe('the store', () => {
  it('that cannot be opened says so', async () => {
    await rejection(Records.open('/nowhere/at/all/records.db'), 'RECORDS_UNUSABLE')
  })
})
