import { PosternError } from '../../base/errors.ts'

/** Asks for fewer entries, and fewer again, where so many are more than one answer may hold. @throws what asking for one throws */
export async function smallerPage<T>(
  most: number,
  ask: (limit: number) => Promise<T>,
): Promise<{ readonly found: T; readonly limit: number }> {
  for (let limit = most; ; limit = Math.floor(limit / 4)) {
    try {
      return { found: await ask(Math.max(1, limit)), limit: Math.max(1, limit) }
    } catch (error) {
      const isTooLong = error instanceof PosternError && error.facts.isTooLong === true
      if (!isTooLong || limit <= 1) throw error
    }
  }
}
