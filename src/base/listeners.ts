/** Those who hear of one kind of event, in the order in which they were added. */
export class Listeners<T = void> {
  readonly #all: ((event: T) => void)[] = []

  add(listener: (event: T) => void): void {
    this.#all.push(listener)
  }

  /** Calls all of them. Whoever tells has finished its own change first: a listener may call it back. */
  tell(event: T): void {
    for (const listener of this.#all) listener(event)
  }
}
