import { rpcErrorOfCode, type RpcError } from '../../rpc/status.ts'

const SEGMENT = /^[a-z0-9](?:-?[a-z0-9])*$/
const SEGMENT_MAX = 63

/** Whom a secret is for, from the widest to the narrowest: one to three names. */
export type Scope = readonly string[]

/** What `readScope` reads. */
export interface ScopeMessage {
  readonly organisation: string
  readonly domain: string
  readonly project: string
}

/** A secret: whom it is for, and its name. */
export interface SecretPath {
  readonly scope: Scope
  readonly name: string
}

/** A secret that is there, as a backend tells of it. */
export interface SecretEntry extends SecretPath {
  /** In wall-clock ms; undefined: it does not say. */
  readonly createdMs: number | undefined
  readonly version: string
}

/** Reads a scope. @throws RpcError SECRET_NAME_REFUSED */
export function readScope(message: ScopeMessage | undefined): Scope {
  const { organisation = '', domain = '', project = '' } = message ?? {}
  const levels = [organisation, domain, project]
  const count = levels.findIndex((one) => one === '')
  const scope = count === -1 ? levels : levels.slice(0, count)
  if (scope.length === 0) throw nameRefused('a scope names its organisation')
  if (levels.slice(scope.length).some((one) => one !== ''))
    throw nameRefused('each level of a scope goes with those above it')
  if (!scope.every((one) => SEGMENT.test(one) && one.length <= SEGMENT_MAX))
    throw nameRefused('a level of a scope is 1 to 63 of a-z, 0-9 and single hyphens')
  return scope
}

/** The message of a scope. */
export function scopeMessage([organisation = '', domain = '', project = '']: Scope): ScopeMessage {
  return { organisation, domain, project }
}

/** Reads a path that was joined with a separator that stands in none of its parts; undefined: it is none of ours. */
export function splitPath(text: string, separator: string): SecretPath | undefined {
  const parts = text.split(separator)
  const name = parts.pop()
  const isOurs = parts.length >= 1 && parts.length <= 3 && parts.every((one) => SEGMENT.test(one))
  return name === undefined || name === '' || !isOurs ? undefined : { scope: parts, name }
}

/** Joins scope and name. */
export function joinPath({ scope, name }: SecretPath, separator: string): string {
  return [...scope, name].join(separator)
}

/** Whether a path lies in a scope, or in one within it. */
export function isWithin({ scope }: SecretPath, wanted: Scope): boolean {
  return wanted.every((one, i) => scope[i] === one)
}

/** Makes the error for a name or scope that is not taken. */
export function nameRefused(why: string): RpcError {
  return rpcErrorOfCode('SECRET_NAME_REFUSED', why)
}
