/** The regions that control planes of the data-protection document are hosted in, as certificates name them. */
const KNOWN = {
  'us-west': 'US West',
  'us-east': 'US East',
  'eu-west-1': 'EU West-1 (Ireland)',
  'eu-west-2': 'EU West-2 (London)',
  'eu-central': 'EU Central',
} as const

/** Names for several regions at once. `eu` is the European Union: London is not in it. */
export const REGION_GROUPS: Readonly<Record<string, readonly string[]>> = {
  eu: ['eu-west-1', 'eu-central'],
  us: ['us-west', 'us-east'],
}

const REGION = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Whether a text can be the name of a region. Others than the known ones are allowed. */
export function isRegionName(text: string): boolean {
  return REGION.test(text)
}

/** Returns a region's name for people: "EU West-1 (Ireland)"; others are their own. */
export function regionTitle(region: string): string {
  return Object.hasOwn(KNOWN, region) ? KNOWN[region as keyof typeof KNOWN] : region
}

/** The names of the known regions. */
export const KNOWN_REGIONS = Object.keys(KNOWN)

/** Writes out groups: the regions that a list of regions and groups holds. */
export function expandRegions(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.flatMap((name) => REGION_GROUPS[name] ?? [name]))
}

/** Whether a region is one of those that a list allows. An empty list allows every region; no region is in no list. */
export function isRegionAllowed(names: readonly string[], region: string): boolean {
  return names.length === 0 || (region !== '' && expandRegions(names).has(region))
}
