import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose'
import { PosternError } from '../base/errors.ts'
import { getHttps } from '../transport/https-get.ts'

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

/**
 * Finds the keys of an issuer. Those of an address are kept for ten minutes, and asked for anew where a token names one that is not
 * among them, every thirty seconds at most.
 * @throws TOKEN_REFUSED, and what asking throws
 */
export async function issuerKeys(row: Issuer): Promise<JWTVerifyGetKey> {
  if (row.jwksFile !== undefined)
    return createLocalJWKSet(JSON.parse(readFileSync(row.jwksFile, 'utf8')) as JSONWebKeySet)
  const caPem = row.caFile === undefined ? undefined : readFileSync(row.caFile, 'utf8')
  const url = row.jwksUrl ?? (await discovered(row.issuer, caPem))
  return createRemoteJWKSet(new URL(url), {
    [customFetch]: async (address: string) => {
      const { status, body } = await getHttps(new URL(address), caPem)
      return new Response(body, { status, headers: { 'content-type': 'application/json' } })
    },
  })
}

/** Where an issuer keeps its keys (OpenID Connect Discovery 1.0, section 4). */
async function discovered(issuer: string, caPem: string | undefined): Promise<string> {
  const base = issuer.endsWith('/') ? issuer : `${issuer}/`
  const { status, body } = await getHttps(new URL('.well-known/openid-configuration', base), caPem)
  const document = status === 200 ? (JSON.parse(body) as Record<string, unknown>) : {}
  const { issuer: named, jwks_uri: keys } = document
  if (named === issuer && typeof keys === 'string' && keys.startsWith('https://')) return keys
  throw new PosternError('TOKEN_REFUSED', 'its issuer cannot be asked for its keys')
}
