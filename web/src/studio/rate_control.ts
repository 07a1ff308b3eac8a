/** A frame that waits longer than this for the network means that the target is too high, in milliseconds. */
const LATE_MS = 400;
const DOWN = 0.7;
const UP = 1.1;
/** Seconds without lateness before more is tried. */
const STEADY_S = 8;
/** What even a bad connection should carry, in bits per second. */
const FLOOR = 150_000;

/** Chooses the encoder's bitrate from how long frames wait for the network: down at once, up slowly. */
export class RateControl {
  readonly #ceiling: number;
  #target: number;
  #steady = 0;

  /** ceiling: the bitrate that the streamer chose, in bits per second. */
  constructor(ceiling: number) {
    this.#ceiling = ceiling;
    this.#target = ceiling;
  }

  get target(): number {
    return this.#target;
  }

  /** Notes one second: how long the oldest unsent frame has waited. Returns whether the target changed. */
  tick(queueMs: number): boolean {
    const before = this.#target;
    if (queueMs > LATE_MS) {
      this.#steady = 0;
      this.#target = Math.max(Math.min(FLOOR, this.#ceiling), Math.round(this.#target * DOWN));
    } else if (++this.#steady >= STEADY_S) {
      this.#steady = 0;
      this.#target = Math.min(this.#ceiling, Math.round(this.#target * UP));
    }
    return this.#target !== before;
  }
}
