/**
 * Something with a deadline. The wheel owns the links. `onDeadline` runs at most once, and may run
 * for an entry that was removed by another that fired in the same tick.
 */
export interface Deadlined {
  deadlineAtMs: number
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  onDeadline(): void
}

const SLOT_MS = 4
const SLOTS = 1024

/**
 * Deadlines of very many calls at the cost of two pointer writes each: a ring of slots of 4 ms.
 * An entry beyond one turn of the ring stays in its slot until its time has come. A deadline fires
 * up to 4 ms late, never early.
 */
export class DeadlineWheel {
  readonly #slots: (Deadlined | undefined)[] = new Array<undefined>(SLOTS).fill(undefined)
  #count = 0
  /** Every slot before this one has been looked at. */
  #tick = 0

  get size(): number {
    return this.#count
  }

  add(entry: Deadlined, nowMs: number): void {
    const nowTick = Math.floor(nowMs / SLOT_MS)
    if (this.#count === 0) this.#tick = nowTick
    const slot = Math.max(this.#tick, Math.ceil(entry.deadlineAtMs / SLOT_MS)) % SLOTS
    const head = this.#slots[slot]
    entry.wheelPrevious = undefined
    entry.wheelNext = head
    if (head !== undefined) head.wheelPrevious = entry
    this.#slots[slot] = entry
    this.#count++
  }

  remove(entry: Deadlined): void {
    const { wheelPrevious: previous, wheelNext: next } = entry
    if (previous !== undefined) previous.wheelNext = next
    else {
      const slot = this.#slotOf(entry)
      if (slot === -1) return
      this.#slots[slot] = next
    }
    if (next !== undefined) next.wheelPrevious = previous
    entry.wheelPrevious = undefined
    entry.wheelNext = undefined
    this.#count--
  }

  /** Fires what is due. Cheap when nothing is. */
  advance(nowMs: number): void {
    const end = Math.floor(nowMs / SLOT_MS)
    const from = Math.max(this.#tick, end - SLOTS + 1)
    for (let tick = from; tick <= end && this.#count > 0; tick++)
      this.#fireSlot(tick % SLOTS, nowMs)
    this.#tick = Math.max(this.#tick, end)
  }

  /** Unlinks all that is due before firing any, for what fires may remove its neighbours. */
  #fireSlot(slot: number, nowMs: number): void {
    const due: Deadlined[] = []
    for (let entry = this.#slots[slot]; entry !== undefined; entry = entry.wheelNext) {
      if (entry.deadlineAtMs <= nowMs) due.push(entry)
    }
    for (const entry of due) this.remove(entry)
    for (const entry of due) entry.onDeadline()
  }

  /** The slot whose first entry this is; an entry that is in no slot is in none. */
  #slotOf(entry: Deadlined): number {
    const slot = Math.ceil(entry.deadlineAtMs / SLOT_MS) % SLOTS
    if (this.#slots[slot] === entry) return slot
    return this.#slots.indexOf(entry)
  }
}
