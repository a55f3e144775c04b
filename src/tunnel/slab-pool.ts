/** One batch of output. Eight whole TLS records: enough to keep the cost of a write out of sight. */
export const SLAB_BYTES = 128 * 1024
const SLABS_KEPT = 32

/** Output buffers of a process, shared by its connections so that idle ones hold none. */
export class SlabPool {
  readonly #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES)
  }

  give(slab: Buffer): void {
    if (this.#free.length < SLABS_KEPT) this.#free.push(slab)
  }
}
