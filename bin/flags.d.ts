export function flagsOf(name: string): readonly string[]
