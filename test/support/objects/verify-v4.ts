import { createHash, createHmac, createVerify, type KeyObject } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** A request as a store sees it. */
export interface Seen {
  readonly method: string
  /** Path and query, as they came. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** What is wrong with a request, by the code that the store answers with; undefined: nothing. */
export type Fault = { readonly status: number; readonly code: string } | undefined

const fault = (status: number, code: string): Fault => ({ status, code })
const hash = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

/** Names and values of a query, each still encoded, in the order of names. */
function queryOf(target: string, without: string): [string, string][] {
  const [, query = ''] = target.split('?')
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const [name = '', value = ''] = pair.split('=')
      return [name, value]
    })
    .filter(([name]) => name !== without)
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The canonical request (AWS and GCS have the same). */
function canonical(
  { method, target, headers }: Seen,
  query: [string, string][],
  signed: string[],
  payload: string,
): string {
  const lines = signed.map((name) => {
    const value = headers[name]
    const text = Array.isArray(value) ? value.join(',') : (value ?? '')
    return `${name}:${text.trim().replaceAll(/ +/g, ' ')}\n`
  })
  const [path = ''] = target.split('?')
  const pairs = query.map(([name, value]) => `${name}=${value}`).join('&')
  return [method, path, pairs, lines.join(''), signed.join(';'), payload].join('\n')
}

/** `20260101T000000Z` in ms. */
function timeOf(text: string): number {
  const [, y, mo, d, h, mi, s] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)?.map(Number) ?? []
  return Date.UTC(y ?? 0, (mo ?? 1) - 1, d, h, mi, s)
}

/** Secret access keys by id, and the session token that goes with each. */
export type AwsKeys = Readonly<Record<string, { readonly secret: string; readonly token?: string }>>

/** Verifies what Signature Version 4 demands of a request to S3, in its query or its headers. */
export function verifyAws(seen: Seen, keys: AwsKeys, region: string, nowMs: number): Fault {
  return seen.target.includes('X-Amz-Signature=')
    ? verifyAwsQuery(seen, keys, region, nowMs)
    : verifyAwsHeader(seen, keys, region, nowMs)
}

function verifyAwsQuery(seen: Seen, keys: AwsKeys, region: string, nowMs: number): Fault {
  const query = new URLSearchParams(seen.target.split('?')[1])
  const get = (name: string): string => query.get(name) ?? ''
  if (get('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256')
    return fault(400, 'AuthorizationQueryParametersError')
  const seconds = Number(get('X-Amz-Expires'))
  if (!(seconds >= 1 && seconds <= 604_800)) return fault(400, 'AuthorizationQueryParametersError')
  if (nowMs > timeOf(get('X-Amz-Date')) + seconds * 1000) return fault(403, 'AccessDenied')
  return verifyAwsSignature(seen, keys, region, {
    credential: get('X-Amz-Credential'),
    date: get('X-Amz-Date'),
    signed: get('X-Amz-SignedHeaders').split(';'),
    signature: get('X-Amz-Signature'),
    token: query.get('X-Amz-Security-Token') ?? undefined,
    payload: 'UNSIGNED-PAYLOAD',
    without: 'X-Amz-Signature',
  })
}

function verifyAwsHeader(seen: Seen, keys: AwsKeys, region: string, nowMs: number): Fault {
  const { authorization = '' } = seen.headers
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)$/
  const [, credential = '', signed = '', signature = ''] = form.exec(authorization) ?? []
  if (credential === '') return fault(403, 'AccessDenied')
  const date = String(seen.headers['x-amz-date'])
  if (Math.abs(nowMs - timeOf(date)) > 900_000) return fault(403, 'RequestTimeTooSkewed')
  const payload = String(seen.headers['x-amz-content-sha256'])
  if (payload !== hash(seen.body)) return fault(400, 'XAmzContentSHA256Mismatch')
  const token = seen.headers['x-amz-security-token'] as string | undefined
  return verifyAwsSignature(seen, keys, region, {
    ...{ credential, date, signed: signed.split(';'), signature, token, payload, without: '' },
  })
}

interface Parts {
  readonly credential: string
  readonly date: string
  readonly signed: string[]
  readonly signature: string
  readonly token: string | undefined
  readonly payload: string
  readonly without: string
}

function verifyAwsSignature(seen: Seen, keys: AwsKeys, region: string, parts: Parts): Fault {
  const { credential, date, signed, signature, token, payload, without } = parts
  const [id = '', day = '', ...scope] = credential.split('/')
  const key = keys[id]
  if (key === undefined) return fault(403, 'InvalidAccessKeyId')
  if (key.token !== token) return fault(400, 'InvalidToken')
  if (scope.join('/') !== `${region}/s3/aws4_request`)
    return fault(400, 'AuthorizationHeaderMalformed')
  if (day !== date.slice(0, 8) || !signed.includes('host')) return fault(403, 'AccessDenied')
  // S3 takes no header of its own that is not signed.
  const unsigned = Object.keys(seen.headers).find(
    (name) => name.startsWith('x-amz-') && !signed.includes(name),
  )
  if (unsigned !== undefined) return fault(403, 'AccessDenied')
  const request = canonical(seen, queryOf(seen.target, without), signed, payload)
  const text = ['AWS4-HMAC-SHA256', date, `${day}/${scope.join('/')}`, hash(request)].join('\n')
  const mac = (under: string | Buffer, what: string): Buffer =>
    createHmac('sha256', under).update(what).digest()
  const dayKey = mac(`AWS4${key.secret}`, day)
  const signing = mac(mac(mac(dayKey, region), 's3'), 'aws4_request')
  if (mac(signing, text).toString('hex') !== signature) return fault(403, 'SignatureDoesNotMatch')
  return undefined
}

/** Verifies a V4 signed URL of GCS, of one service account. */
export function verifyGcs(
  seen: Seen,
  account: { readonly email: string; readonly key: KeyObject },
  nowMs: number,
): Fault {
  const query = new URLSearchParams(seen.target.split('?')[1])
  const get = (name: string): string => query.get(name) ?? ''
  if (get('X-Goog-Algorithm') !== 'GOOG4-RSA-SHA256')
    return fault(400, 'InvalidQueryParameterValue')
  const date = get('X-Goog-Date')
  const day = date.slice(0, 8)
  const scope = `${day}/auto/storage/goog4_request`
  if (get('X-Goog-Credential') !== `${account.email}/${scope}`) return fault(403, 'AccessDenied')
  const seconds = Number(get('X-Goog-Expires'))
  if (!(seconds >= 1 && seconds <= 604_800)) return fault(400, 'InvalidQueryParameterValue')
  if (nowMs > timeOf(date) + seconds * 1000) return fault(400, 'ExpiredToken')
  const signed = get('X-Goog-SignedHeaders').split(';')
  const unsigned = Object.keys(seen.headers).find(
    (name) => name.startsWith('x-goog-') && !signed.includes(name),
  )
  if (unsigned !== undefined || !signed.includes('host'))
    return fault(400, 'MalformedSecurityHeader')
  // Whoever may read may also ask for the head alone.
  const signature = Buffer.from(get('X-Goog-Signature'), 'hex')
  const methods = seen.method === 'HEAD' ? ['HEAD', 'GET'] : [seen.method]
  const isGood = methods.some((method) => {
    const request = canonical(
      { ...seen, method },
      queryOf(seen.target, 'X-Goog-Signature'),
      signed,
      'UNSIGNED-PAYLOAD',
    )
    const text = ['GOOG4-RSA-SHA256', date, scope, hash(request)].join('\n')
    return createVerify('sha256').update(text).verify(account.key, signature)
  })
  return isGood ? undefined : fault(403, 'SignatureDoesNotMatch')
}
