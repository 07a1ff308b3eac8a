/**
 * Hands values from producers to one consumer that iterates. It does not bound itself: who pushes decides what to do when
 * the consumer lags.
 */
export class AsyncQueue<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;

  get length(): number {
    return this.#items.length;
  }

  get ended(): boolean {
    return this.#ended;
  }

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Removes the oldest value that nobody took yet. */
  shift(): T | undefined {
    return this.#items.shift();
  }

  /** Ends the queue after the values in it; with an error, the consumer then gets that. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  clear(): void {
    this.#items.length = 0;
  }

  /** The next value, or undefined after the last. */
  async next(): Promise<T | undefined> {
    while (this.#items.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    if (this.#items.length > 0) return this.#items.shift();
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      throw error;
    }
    return undefined;
  }
}
