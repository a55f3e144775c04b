import { createHash, timingSafeEqual } from 'node:crypto'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { joinToken, joinTokenId } from '../../identity/join-token.ts'
import type { Database, Records } from '../../store/records.ts'
import type { TokenRow } from '../../store/schema.ts'

const SECRET_BYTES = 32
const ID_BYTES = 6

/** The cluster, uses and life of a join token, and who makes it. */
export interface TokenRequest {
  readonly cluster: string
  readonly agent: string | undefined
  readonly uses: number
  readonly ttlMs: number
  readonly actor: string
}

/** Join tokens: shown once, kept as a hash, and used up by issuing. */
export class Tokens {
  readonly #records: Records
  readonly #random: Random

  constructor(records: Records, random: Random) {
    this.#records = records
    this.#random = random
  }

  /** Makes a token; the text returned is kept nowhere. */
  async create(request: TokenRequest, nowMs: number): Promise<{ id: string; token: string }> {
    const { cluster, agent = null, uses, ttlMs, actor } = request
    const id = this.#random.hex(ID_BYTES)
    const token = joinToken(id, Buffer.from(this.#random.hex(SECRET_BYTES), 'hex'))
    const { database } = this.#records
    const detail = `${String(uses)} use(s), ${String(Math.round(ttlMs / 1000))} s`
    const identity = agent === null ? cluster : `${cluster}/${agent}`
    const event = { at: nowMs, kind: 'token.created', actor, identity, detail: `${id}: ${detail}` }
    await database.transaction().execute(async (within) => {
      await within
        .insertInto('tokens')
        .values({
          id,
          hash: hashOf(token).toString('hex'),
          cluster,
          agent,
          uses_left: uses,
          created_at: nowMs,
          expires_at: nowMs + ttlMs,
          revoked_at: null,
        })
        .execute()
      await this.#records.note(event, within)
    })
    return { id, token }
  }

  async list(): Promise<TokenRow[]> {
    return await this.#records.database
      .selectFrom('tokens')
      .selectAll()
      .orderBy('created_at')
      .execute()
  }

  /** Takes a token back: it lets nobody in any more. @throws NOT_KNOWN */
  async revoke(id: string, actor: string, nowMs: number): Promise<void> {
    await this.#records.database.transaction().execute(async (within) => {
      const { numUpdatedRows } = await within
        .updateTable('tokens')
        .set({ revoked_at: nowMs })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .executeTakeFirst()
      if (numUpdatedRows === 0n)
        throw new PosternError('NOT_KNOWN', `no token ${id} is there to be revoked`)
      await this.#records.note({ at: nowMs, kind: 'token.revoked', actor, detail: id }, within)
    })
  }

  /**
   * The row that a token belongs to, used up or not. Its refusals differ in the text alone, which is
   * for our log: what the client is told is the same for all.
   * @throws TOKEN_REFUSED
   */
  async find(token: string): Promise<TokenRow> {
    const id = joinTokenId(token)
    if (id === undefined) throw refused('it is malformed')
    const row = await this.#records.database
      .selectFrom('tokens')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst()
    const expected = Buffer.from(row?.hash ?? '0'.repeat(64), 'hex')
    // Compared also where there is no row, so that time tells nothing.
    if (!timingSafeEqual(expected, hashOf(token)) || row === undefined)
      throw refused(`no such token (${id})`)
    return row
  }

  /** Takes one use, in one statement. @throws TOKEN_REFUSED */
  async use(row: TokenRow, nowMs: number, within: Database): Promise<void> {
    const { numUpdatedRows } = await within
      .updateTable('tokens')
      .set((expression) => ({ uses_left: expression('uses_left', '-', 1) }))
      .where('id', '=', row.id)
      .where('uses_left', '>', 0)
      .where('expires_at', '>', nowMs)
      .where('revoked_at', 'is', null)
      .executeTakeFirst()
    if (numUpdatedRows === 0n) throw refused(whyNot(row, nowMs))
  }
}

function whyNot(row: TokenRow, nowMs: number): string {
  if (row.revoked_at !== null) return `token ${row.id} was revoked`
  return row.expires_at <= nowMs ? `token ${row.id} has expired` : `token ${row.id} is used up`
}

function refused(text: string): PosternError {
  return new PosternError('TOKEN_REFUSED', text)
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
