import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose'
import { PosternError } from '../base/errors.ts'
import { fileMarks } from '../base/file-marks.ts'
import { getHttps } from '../transport/https-get.ts'

const OK = 200

/** Who signs tokens, and where its keys are. */
export interface Issuer {
  /** As it stands in the token, and where its keys are found by discovery. */
  readonly issuer: string
  readonly audience: string
  /** Where the issuer's keys are, in place of discovery. */
  readonly jwksUrl: string | undefined
  readonly jwksFile: string | undefined
  /** Roots to trust for that, in PEM; undefined: those of the system. */
  readonly caFile: string | undefined
}

/** How often a file of keys is looked at, and how long an issuer that could not be asked is left alone. */
const LOOK_MS = 1000
const PAUSE_MS = 30_000

/**
 * The keys of one issuer. Those of an address are kept for ten minutes, and asked for anew where a token names one that is not among
 * them, every thirty seconds at most; those of a file are those that it holds now. An issuer that fails is left alone for thirty seconds.
 */
export class IssuerKeys {
  readonly #row: Issuer
  #remote: Promise<JWTVerifyGetKey> | undefined
  #local: JWTVerifyGetKey | undefined
  #marks = ''
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #failure: unknown
  #failedAtMs = Number.NEGATIVE_INFINITY
  #nowMs = 0

  constructor(row: Issuer) {
    this.#row = row
  }

  /** What tells one state of a file of keys from another; empty for an address. */
  marks(nowMs: number): string {
    const { jwksFile } = this.#row
    if (jwksFile === undefined || Math.abs(nowMs - this.#lookedAtMs) < LOOK_MS) return this.#marks
    this.#lookedAtMs = nowMs
    const marks = fileMarks(jwksFile)
    if (marks !== this.#marks) this.#local = undefined
    this.#marks = marks
    return marks
  }

  /** @throws TOKEN_REFUSED, and what asking or reading throws */
  async get(nowMs: number): Promise<JWTVerifyGetKey> {
    this.#nowMs = nowMs
    const { jwksFile } = this.#row
    if (jwksFile !== undefined) {
      this.marks(nowMs)
      const read = (): JSONWebKeySet => JSON.parse(readFileSync(jwksFile, 'utf8')) as JSONWebKeySet
      return (this.#local ??= createLocalJWKSet(read()))
    }
    const remote = (this.#remote ??= this.#ask(() => this.#find()))
    // Whoever could not be reached is asked again, after a pause.
    remote.catch(() => (this.#remote = undefined))
    return await remote
  }

  async #find(): Promise<JWTVerifyGetKey> {
    const { caFile, jwksUrl, issuer } = this.#row
    const caPem = caFile === undefined ? undefined : readFileSync(caFile, 'utf8')
    const url = jwksUrl ?? (await discovered(issuer, caPem))
    return createRemoteJWKSet(new URL(url), {
      [customFetch]: (address: string) =>
        this.#ask(async () => {
          const { status, body } = await getHttps(new URL(address), caPem)
          if (status !== OK)
            throw new PosternError('TOKEN_REFUSED', `its issuer answered ${String(status)}`)
          return new Response(body, { headers: { 'content-type': 'application/json' } })
        }),
    })
  }

  /** Whoever can send tokens could make us ask for each of them. */
  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    if (Math.abs(this.#nowMs - this.#failedAtMs) < PAUSE_MS) throw this.#failure
    try {
      return await ask()
    } catch (error) {
      this.#failure = error
      this.#failedAtMs = this.#nowMs
      throw error
    }
  }
}

/** Where an issuer keeps its keys (OpenID Connect Discovery 1.0, section 4). */
async function discovered(issuer: string, caPem: string | undefined): Promise<string> {
  const base = issuer.endsWith('/') ? issuer : `${issuer}/`
  const { status, body } = await getHttps(new URL('.well-known/openid-configuration', base), caPem)
  const document = status === OK ? (JSON.parse(body) as Record<string, unknown>) : {}
  const { issuer: named, jwks_uri: keys } = document
  if (named === issuer && typeof keys === 'string' && keys.startsWith('https://')) return keys
  throw new PosternError('TOKEN_REFUSED', 'its issuer cannot be asked for its keys')
}
