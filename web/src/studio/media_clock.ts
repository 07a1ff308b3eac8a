/** A source whose times differ from the wall clock by more than this has slept or was reset. */
const JUMP_US = 500_000;
/** How fast the mapping may follow the source's drift, as a part of the time that passes. */
const SLEW = 0.001;
/** How long a source is only watched: its first frames are late, for it is still starting. */
const SETTLE_US = 400_000;

/**
 * Maps a capture source's timestamps, whose zero is arbitrary, to the wall clock: microseconds since the Unix epoch.
 * The mapped times advance with the source's own clock, so that the distance between frames stays exact; the offset
 * only creeps after the wall clock. Frames that were quickest to arrive tell it best.
 */
export class MediaClock {
  #offset: number | undefined;
  #first = 0;
  #last = 0;

  /**
   * Notes a frame: its timestamp and the wall clock when it arrived, both in microseconds. Returns whether the mapping
   * is good yet; frames before that are to be left out.
   */
  observe(timestampUs: number, nowUs: number): boolean {
    const offset = nowUs - timestampUs;
    if (this.#offset === undefined || Math.abs(offset - this.#offset) > JUMP_US) {
      this.#offset = offset;
      this.#first = timestampUs;
    } else if (!this.#settled) {
      this.#offset = Math.min(this.#offset, offset);
    } else {
      const elapsed = Math.max(0, timestampUs - this.#last);
      // Later is mostly jitter, so the mapping follows upward ten times slower than downward.
      const most = offset < this.#offset ? elapsed * SLEW : elapsed * SLEW * 0.1;
      this.#offset += Math.max(-most, Math.min(most, offset - this.#offset));
    }
    this.#last = timestampUs;
    return this.#settled;
  }

  /** The wall clock of a timestamp. Throws before the first observe(). */
  map(timestampUs: number): number {
    if (this.#offset === undefined) throw new Error('the clock has seen no frame');
    return Math.round(timestampUs + this.#offset);
  }

  get #settled(): boolean {
    return this.#last - this.#first >= SETTLE_US;
  }
}

/** The clock of a source whose timestamps are the wall clock already. */
export const wallClock: Pick<MediaClock, 'observe' | 'map'> = {
  observe: () => true,
  map: (timestampUs) => timestampUs,
};
