/** Prefix and checksum let secret scanners find a token that was left lying about. */
const FORM = /^postern_([0-9a-f]{12})_([A-Za-z0-9_-]{43})_([0-9a-f]{8})$/
const WORKLOAD = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** The text of a join token: its id, in hex, and a secret in base64url. */
export function joinToken(id: string, secret: Buffer): string {
  const body = `postern_${id}_${secret.toString('base64url')}`
  return `${body}_${checksum(body)}`
}

/** The id of a join token; undefined where it is damaged, cut off or something else. */
export function joinTokenId(token: string): string | undefined {
  const [, id, , sum] = FORM.exec(token) ?? []
  return sum !== undefined && checksum(token.slice(0, -1 - sum.length)) === sum ? id : undefined
}

/** Whether a text may be a token that a platform signs (JWT, RFC 7519 section 3). */
export function isWorkloadToken(text: string): boolean {
  return WORKLOAD.test(text)
}

/** What is wrong with the form of a token, which no gateway needs to be asked for; undefined: nothing. */
export function joinTokenFault(token: string): string | undefined {
  if (joinTokenId(token) !== undefined || isWorkloadToken(token)) return undefined
  if (!token.startsWith('postern_'))
    return 'it is no join token, which begins with postern_, and no workload token (a JWT)'
  return FORM.test(token)
    ? 'its checksum is wrong: a character was changed on its way'
    : 'it is cut off, or has something after it'
}

function checksum(body: string): string {
  // Compression has streams of its own, which nobody needs for this.
  const { crc32 } = process.getBuiltinModule('node:zlib')
  return crc32(body).toString(16).padStart(8, '0')
}
