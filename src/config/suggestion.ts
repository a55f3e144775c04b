const plain = (text: string): string => text.toLowerCase().replace(/[^a-z]/g, '')

/** Returns " (did you mean X?)" for a word that is nearly one of those that are known; else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const last = word.split('.').at(-1) ?? ''
  const near =
    known.find(
      (one) => plain(one) === plain(word) || plain(one.split('.').at(-1) ?? '') === plain(last),
    ) ?? known.find((one) => isNear(plain(one), plain(word)))
  return near === undefined ? '' : ` (did you mean ${near}?)`
}

/** Whether one letter more, less or other makes a word of the other. */
function isNear(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1 || Math.min(a.length, b.length) < 3) return false
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  const rests = [
    [a.slice(start + 1), b.slice(start)],
    [a.slice(start), b.slice(start + 1)],
    [a.slice(start + 1), b.slice(start + 1)],
  ]
  return rests.some(([one, other]) => one === other)
}
