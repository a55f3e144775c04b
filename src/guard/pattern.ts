/** What a rule says of callers: a name or the beginning of one, and by which way it must be known. */
export interface CallerPattern {
  /** As it was written. */
  readonly text: string
  /** The name, or its beginning. */
  readonly name: string
  readonly isPrefix: boolean
  /**
   * `first-hand`: the agent has seen the caller's certificate; `gateway`: on the gateway's word; undefined: either, and a
   * certificate in any case. `token`: on the gateway's word, who was shown a token.
   */
  readonly known: 'first-hand' | 'gateway' | 'token' | undefined
  /** Of a token: who must have signed it; undefined: any issuer that the gateway takes. */
  readonly issuer: string | undefined
}

/** Who calls, as patterns see it. */
export interface KnownCaller {
  readonly name: string
  readonly known: 'first-hand' | 'gateway' | 'token'
  /** Who signed its token; undefined: it has shown a certificate. */
  readonly issuer?: string | undefined
  /** In its certificate; undefined: it has none. */
  readonly region?: string | undefined
}

const CALLER = /^(?<name>[a-z0-9][a-z0-9-]{0,62})?(?<star>\*)?(?:@(?<known>first-hand|gateway))?$/
/** Subjects of tokens are of many forms: a star that is not the last of them has no meaning. */
const TOKEN_CALLER =
  /^(?<name>[\x21-\x29\x2b-\x7e]{1,255})?(?<star>\*)?@(?<known>token)(?:=(?<issuer>https:\/\/[\x21-\x7e]{1,247}))?$/
const METHOD = /^(\*|[A-Za-z_][\w.]{0,254}\/(\*|[A-Za-z_]\w{0,254}))$/
const PATH = /^\/[\x21-\x7e]{0,511}$/
const SEGMENTS_MAX = 64

/** Reads `console`, `dba-*`, `*`, each with `@first-hand`, `@gateway`, `@token` or `@token=https://issuer` behind it; undefined for anything else. */
export function readCallerPattern(text: string): CallerPattern | undefined {
  const groups = (TOKEN_CALLER.exec(text) ?? CALLER.exec(text))?.groups
  if (groups === undefined) return undefined
  const { name = '', star, known, issuer } = groups
  if (name === '' && star === undefined) return undefined
  const isPrefix = star !== undefined
  return { text, name, isPrefix, known: known as CallerPattern['known'], issuer }
}

/** Whether a caller is one of those that a pattern names. */
export function matchesCaller(pattern: CallerPattern, caller: KnownCaller): boolean {
  // What names no way means certificates: a token's subject may be any text, the name of one of them too.
  if (pattern.known === undefined ? caller.known === 'token' : pattern.known !== caller.known)
    return false
  if (pattern.issuer !== undefined && pattern.issuer !== caller.issuer) return false
  return pattern.isPrefix ? caller.name.startsWith(pattern.name) : caller.name === pattern.name
}

/** Whether every caller that `inner` names is named by `outer`. */
export function coversCaller(outer: CallerPattern, inner: CallerPattern): boolean {
  if (outer.known === undefined ? inner.known === 'token' : outer.known !== inner.known)
    return false
  if (outer.issuer !== undefined && outer.issuer !== inner.issuer) return false
  return outer.isPrefix
    ? inner.name.startsWith(outer.name)
    : !inner.isPrefix && inner.name === outer.name
}

/** Whether a text is "package.Service/Method", "package.Service/*" or "*". */
export function isMethodPattern(text: string): boolean {
  return METHOD.test(text)
}

/** Whether a method is one of those that a pattern names. */
export function matchesMethod(pattern: string, name: string): boolean {
  if (pattern === '*' || pattern === name) return true
  return pattern.endsWith('/*') && name.startsWith(pattern.slice(0, -1))
}

/** Whether a service is one of those that a pattern names. */
export function matchesService(pattern: string, name: string): boolean {
  return pattern === '*' || pattern === name
}

/** What a rule says of the requests of an HTTP service: a method, or any, and the segments of a path. */
export interface PathPattern {
  readonly text: string
  /** Such as GET; undefined: any. */
  readonly method: string | undefined
  /** `*` stands for one segment, `**` as the last for any number. */
  readonly segments: readonly string[]
}

/** Reads "GET /v1/*", "/v1/**"; undefined for anything else. */
export function readPathPattern(text: string): PathPattern | undefined {
  const [, method, path = ''] = /^(?:([A-Z]{3,16}) )?(\/.*)$/.exec(text) ?? []
  const segments = segmentsOf(path)
  if (!PATH.test(path) || segments === undefined) return undefined
  const stars = segments.slice(0, -1)
  if (stars.includes('**')) return undefined
  return { text, method, segments }
}

/** Splits a normalised path at its slashes; undefined where it has more segments than are looked at. */
export function segmentsOf(path: string): readonly string[] | undefined {
  const segments = path.slice(1).split('/')
  return segments.length > SEGMENTS_MAX ? undefined : segments
}

/** Whether a request is one of those that a pattern names. It takes one step for each segment. */
export function matchesPath(
  pattern: PathPattern,
  method: string,
  segments: readonly string[],
): boolean {
  if (pattern.method !== undefined && pattern.method !== method) return false
  const isOpen = pattern.segments.at(-1) === '**'
  const fixed = isOpen ? pattern.segments.slice(0, -1) : pattern.segments
  if (isOpen ? segments.length < fixed.length : segments.length !== fixed.length) return false
  return fixed.every((wanted, index) => wanted === '*' || wanted === segments[index])
}
