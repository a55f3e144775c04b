/** What no part of a path may be made of: some server behind would read it as another path. */
const AMBIGUOUS = /%(?:2f|5c|2e|25)|[\\;]|\/\/|\/\.{1,2}(?:\/|$)/i
const PLAIN = /^\/[\x21-\x7e]*$/
const CONTROL = /\p{Cc}/u

/**
 * Returns the path of a request target in origin form (RFC 9112, section 3.2.1), without its query; undefined where servers could
 * read it in different ways: encoded slashes, dots or percent signs, backslashes, empty and dot segments, matrix parameters,
 * control characters, or a target of another form.
 */
export function normalPath(target: string): string | undefined {
  const [path = ''] = target.split(/[?#]/, 1)
  if (!PLAIN.test(path) || AMBIGUOUS.test(path)) return undefined
  try {
    // What is encoded without need stands for itself: it is judged as what it stands for.
    const plain = decodeURIComponent(path)
    return CONTROL.test(plain) ? undefined : plain
  } catch {
    // It is not UTF-8.
    return undefined
  }
}
