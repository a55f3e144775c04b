import { PosternError } from '../base/errors.ts'
import type { CallData } from '../contract/data-type.ts'
import { CATALOG, mayCross, neverText } from './catalog.ts'

/** Judges what a method or service declares. @throws CONFIG_INVALID for a type that never crosses */
export function judgeOffer(name: string, { carries, request, response }: CallData): void {
  const wrong = [carries, request, response].find((type) => !mayCross(type))
  if (wrong !== undefined) throw new PosternError('CONFIG_INVALID', `${name}: ${neverText(wrong)}`)
  // What nobody can classify is named as a service: a method says what it carries.
  if (name.includes('/') && CATALOG[carries].isNamedOnly === true)
    throw new PosternError('CONFIG_INVALID', `${name}: no method carries ${carries}`)
}
