import type { AudioPosition } from './clock.ts';

/** How much decoded sound is kept at most. Playout delay is at most 4 s, so more is never needed. */
const capacitySeconds = 6;

/** Sound is played this much faster or slower at most: 1.5 % is a quarter of a semitone, which nobody hears. */
const maxRateChange = 0.015;

/** A lag of so many milliseconds is answered with the full change of rate, a smaller one in proportion. */
const fullRateAtMs = 60;

/** A lag this large is jumped over instead. */
const jumpMs = 180;

/** A lag this small is left alone: it is the size of the sound card's own bursts. */
const deadBandMs = 4;

/** Time constant of the smoothing of the lag, in milliseconds. */
const smoothingMs = 400;

/** Sound that ran dry within this time of beginning was still finding its delay: no starvation that counts. */
const settleMs = 1500;

/** Length of fades at the edges of silence, in milliseconds: too short to hear, long enough not to click. */
const fadeMs = 4;

/** Timestamps may wander this far from where the samples before them end before it counts as a gap. */
const wanderMs = 12;

/** A gap up to this long is filled with silence; after a longer one, or a step back, the buffer starts over. */
const maxGapMs = 1000;

/** A block of decoded sound: one array of samples per channel, all of the same length. */
export interface SoundBlock {
  readonly mediaMs: number;
  readonly sampleRate: number;
  readonly planes: readonly Float32Array[];
}

/** How playout of sound is going. */
export interface PlayoutReport extends AudioPosition {
  /** Milliseconds of sound decoded and not yet played. */
  readonly bufferedMs: number;
  /** How often playing sound ran dry. */
  readonly starvations: number;
}

/**
 * Plays blocks of sound at their time: a ring of samples that is read at a rate a little off one, so that what is heard
 * settles at the offset the clock asks for. It owns no clock and no thread; the audio worklet drives it.
 */
export class AudioPlayout {
  private readonly channels: number;
  private ring: Float32Array[] = [];
  private sourceRate = 0;
  /** Media time of ring frame 0, were the ring endless: frame n is at anchorMs + n / sourceRate. */
  private anchorMs = 0;
  /** Frames are numbered from the start of the anchor; the ring holds those in [readFrame, writeFrame). */
  private readFrame = 0;
  private writeFrame = 0;
  private offsetMs: number | undefined;
  private outputLatencyMs = 0;
  private playing = false;
  private lag = 0;
  private lastMs: number | undefined;
  private starved = 0;
  private fadeIn = 0;
  /** When sound first came out since the last flush. */
  private soundedMs = Infinity;

  constructor(
    private readonly outputRate: number,
    channels = 2,
  ) {
    this.channels = channels;
  }

  /** Sets the offset at which sound is to be heard, and how long it takes from here to the ear. */
  setOffset(offsetMs: number | undefined, outputLatencyMs: number): void {
    this.offsetMs = offsetMs;
    this.outputLatencyMs = outputLatencyMs;
  }

  /** Forgets all sound. */
  flush(): void {
    this.readFrame = this.writeFrame = 0;
    this.soundedMs = Infinity;
    this.playing = false;
    this.lag = 0;
  }

  /** Takes a block. Blocks come in order; one that overlaps what is there is cut, one too far off starts over. */
  push(block: SoundBlock): void {
    const length = block.planes[0]?.length ?? 0;
    if (length === 0 || block.sampleRate <= 0) return;
    if (block.sampleRate !== this.sourceRate) this.reset(block.sampleRate);
    if (this.writeFrame === this.readFrame && !this.playing) this.anchor(block.mediaMs);
    const wander = block.mediaMs - this.mediaAt(this.writeFrame);
    let skip = 0;
    if (Math.abs(wander) <= wanderMs) {
      // Timestamps are rounded, and stamped on arrival by some publishers: the samples are the better clock, and the
      // anchor only drifts after the timestamps.
      this.anchorMs += wander / 32;
    } else if (wander > 0 && wander <= maxGapMs) {
      this.write(undefined, 0, Math.round((wander * this.sourceRate) / 1000));
    } else if (wander < 0 && wander > -maxGapMs) {
      skip = Math.min(length, Math.round((-wander * this.sourceRate) / 1000));
    } else {
      this.flush();
      this.anchor(block.mediaMs);
    }
    this.write(block.planes, skip, length - skip);
  }

  /**
   * Fills out (one array per channel) with what is due when rendering at nowMs, or with silence.
   */
  render(out: readonly Float32Array[], nowMs: number): void {
    const length = out[0]?.length ?? 0;
    for (const plane of out) plane.fill(0);
    if (this.offsetMs === undefined || this.sourceRate === 0) return;
    const due = nowMs - this.offsetMs + this.outputLatencyMs;
    if (!this.playing && !this.begin(nowMs, due, (length * 1000) / this.outputRate)) return;
    const lag = due - this.mediaAt(this.readFrame);
    const elapsed = this.lastMs === undefined ? 0 : Math.max(0, nowMs - this.lastMs);
    this.lastMs = nowMs;
    this.lag += (lag - this.lag) * (1 - Math.exp(-elapsed / smoothingMs));
    const jump = Math.abs(this.lag) > jumpMs;
    const step = (this.sourceRate / this.outputRate) * this.rate();
    const wanted = length * step;
    const available = this.writeFrame - this.readFrame;
    // Interpolation looks two frames ahead.
    const playable = available - 2 >= wanted ? length : Math.max(0, Math.floor((available - 2) / step));
    this.copy(out, playable, step);
    if (jump || playable < length) {
      this.fadeOut(out, playable);
      this.playing = false;
      this.lag = 0;
      if (!jump && nowMs - this.soundedMs > settleMs) this.starved++;
    }
  }

  /** How it is going as of nowMs. */
  report(nowMs: number): PlayoutReport {
    return {
      lagMs: this.lag,
      atMs: nowMs,
      playing: this.playing,
      bufferedMs: this.sourceRate === 0 ? 0 : Math.max(0, ((this.writeFrame - this.readFrame) * 1000) / this.sourceRate),
      starvations: this.starved,
    };
  }

  private reset(sampleRate: number): void {
    this.flush();
    this.sourceRate = sampleRate;
    const capacity = Math.ceil(sampleRate * capacitySeconds);
    this.ring = Array.from({ length: this.channels }, () => new Float32Array(capacity));
  }

  private anchor(mediaMs: number): void {
    this.readFrame = this.writeFrame = 0;
    this.anchorMs = mediaMs;
  }

  private mediaAt(frame: number): number {
    return this.anchorMs + (frame * 1000) / this.sourceRate;
  }

  /** Starts at what is due, dropping what is late; false when that has not come yet or all of it is late. */
  private begin(nowMs: number, dueMs: number, quantumMs: number): boolean {
    const dueFrame = ((dueMs - this.anchorMs) * this.sourceRate) / 1000;
    if (dueFrame > this.readFrame) this.readFrame = Math.min(this.writeFrame, Math.floor(dueFrame));
    const enough = (2 * quantumMs * this.sourceRate) / 1000;
    if (this.writeFrame - this.readFrame < enough) return false;
    if (this.mediaAt(this.readFrame) > dueMs + quantumMs) return false;
    this.playing = true;
    this.soundedMs = Math.min(this.soundedMs, nowMs);
    this.lag = 0;
    this.lastMs = undefined;
    this.fadeIn = 0;
    return true;
  }

  private rate(): number {
    if (Math.abs(this.lag) < deadBandMs) return 1;
    return 1 + maxRateChange * Math.min(1, Math.max(-1, this.lag / fullRateAtMs));
  }

  /** Appends frames, silence when planes is undefined. The oldest make room. */
  private write(planes: readonly Float32Array[] | undefined, from: number, count: number): void {
    const capacity = this.ring[0]?.length ?? 0;
    for (let channel = 0; channel < this.channels; channel++) {
      const ring = this.ring[channel];
      // Mono is played on both sides.
      const plane = planes?.[Math.min(channel, planes.length - 1)];
      if (ring === undefined) continue;
      for (let i = 0; i < count; i++) ring[(this.writeFrame + i) % capacity] = plane?.[from + i] ?? 0;
    }
    this.writeFrame += count;
    if (this.writeFrame - this.readFrame > capacity) this.readFrame = this.writeFrame - capacity;
  }

  /** Reads count frames, step source frames apart, by cubic interpolation between the four around each place. */
  private copy(out: readonly Float32Array[], count: number, step: number): void {
    const fadeFrames = (fadeMs * this.outputRate) / 1000;
    for (let channel = 0; channel < out.length; channel++) {
      const ring = this.ring[Math.min(channel, this.channels - 1)];
      const plane = out[channel];
      if (ring === undefined || plane === undefined) continue;
      const capacity = ring.length;
      for (let i = 0; i < count; i++) {
        const place = this.readFrame + i * step;
        const whole = Math.floor(place);
        const part = place - whole;
        const b = ring[whole % capacity] ?? 0;
        let sample = b;
        if (part > 1e-9) {
          const a = ring[Math.max(0, whole - 1) % capacity] ?? 0;
          const c = ring[(whole + 1) % capacity] ?? 0;
          const d = ring[(whole + 2) % capacity] ?? 0;
          sample = hermite(a, b, c, d, part);
        }
        const fade = (this.fadeIn + i) / fadeFrames;
        plane[i] = fade < 1 ? sample * fade : sample;
      }
    }
    this.fadeIn += count;
    this.readFrame += count * step;
  }

  private fadeOut(out: readonly Float32Array[], end: number): void {
    const length = Math.min(end, Math.round((fadeMs * this.outputRate) / 1000));
    for (const plane of out) {
      for (let i = 0; i < length; i++) plane[end - 1 - i] = (plane[end - 1 - i] ?? 0) * (i / length);
    }
  }
}

/** The cubic through b (at 0) and c (at 1) with the slopes that a and d suggest (Catmull–Rom). */
function hermite(a: number, b: number, c: number, d: number, part: number): number {
  const slopeB = (c - a) / 2;
  const slopeC = (d - b) / 2;
  const curve = b - c;
  return ((slopeB + slopeC + 2 * curve) * part - (2 * slopeB + slopeC + 3 * curve)) * part * part + slopeB * part + b;
}
