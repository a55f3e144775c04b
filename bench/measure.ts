/** What a run of many calls came to. */
export interface CallRun {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Keeps `inFlight` calls going for `seconds`. */
export async function measureCalls(
  call: () => Promise<unknown>,
  inFlight: number,
  seconds: number,
): Promise<CallRun> {
  const latencies: number[] = []
  const startMs = performance.now()
  const endMs = startMs + seconds * 1000
  const worker = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < endMs;) {
      await call()
      const doneMs = performance.now()
      latencies.push(doneMs - nowMs)
      nowMs = doneMs
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  const elapsedMs = performance.now() - startMs
  latencies.sort((a, b) => a - b)
  const at = (fraction: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * fraction))] ?? 0
  return { perSecond: (latencies.length / elapsedMs) * 1000, p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** Bytes per second, in MB (10^6). `read` calls back with each piece, and resolves at the end. */
export async function measureBytes(
  read: (took: (bytes: number) => void) => Promise<void>,
): Promise<number> {
  let total = 0
  const startMs = performance.now()
  await read((bytes) => {
    total += bytes
  })
  return total / 1000 / (performance.now() - startMs)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}
