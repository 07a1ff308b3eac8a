/**
 * When a picture or a sound is due.
 *
 * Media time is the publisher's clock, wall time is ours; both in milliseconds. What joins them is an offset: media of
 * time m is due at wall time m + offset. The smallest offset with which nothing comes too late is learnt from arrivals:
 * each Object's arrival minus its timestamp is its own offset, the least of them is the path at its best, and what
 * exceeds the least is jitter. All Tracks share one offset, that of the slowest, which keeps them in sync.
 */

/** How much delay a viewer accepts in exchange for smoothness, in milliseconds beyond the path at its best. */
export interface DelayBounds {
  /** Used until enough has arrived to know better. */
  readonly startMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** The choices a viewer has. */
export const latencyModes = {
  /** As close to now as the network lets us. */
  low: { startMs: 100, minMs: 50, maxMs: 1000 },
  /** A little more, so that a short hiccup passes unseen. */
  balanced: { startMs: 300, minMs: 250, maxMs: 2000 },
  /** For bad networks. */
  smooth: { startMs: 1000, minMs: 800, maxMs: 4000 },
} as const satisfies Record<string, DelayBounds>;

/** The name of a latency mode. */
export type LatencyMode = keyof typeof latencyModes;

/**
 * Arrivals older than this say nothing about the network as it is now. Two GOPs and five audio Groups are enough to see
 * what the path does regularly; longer, and one hiccup of a busy machine would cost its delay for as long.
 */
const windowMs = 5_000;

/** More arrivals than 5 s of 60 pictures a second, or of Opus packets of 20 ms. */
const windowCapacity = 1024;

/**
 * The part of arrivals that has to be in time. A picture that is late now and then is not worth delaying all others for;
 * a sound that is late is heard as a gap.
 */
export const punctuality = { picture: 0.99, sound: 1 } as const;

/** With fewer arrivals than this the start value stands: a quantile of ten says nothing. */
const enoughArrivals = 40;

/** For so long after the first arrival a much better offset means that what came before was backlog, not jitter. */
const backlogMs = 5000;
const backlogStepMs = 20;

/** Media this much older than what has come already is backlog as well: a joining FETCH may come after what is live. */
const reorderMs = 250;

/** The backlog is over when the best offset has not improved for so long. */
const settleMs = 50;

/** So many arrivals in a row beyond all bounds mean that the publisher's clock was set anew. */
const strangers = 25;

/** What has arrived on one Track lately. */
export class ArrivalWindow {
  private readonly offsets = new Float64Array(windowCapacity);
  private readonly times = new Float64Array(windowCapacity);
  private head = 0;
  private size = 0;
  private firstMs: number | undefined;
  private improvedMs = 0;
  private best = Infinity;
  private strangerCount = 0;
  private latestMs = -Infinity;
  private newestMediaMs = -Infinity;

  constructor(private readonly maxJitterMs: () => number) {}

  /** Records that media of time mediaMs arrived at nowMs. */
  observe(mediaMs: number, nowMs: number): void {
    const offset = nowMs - mediaMs;
    if (this.firstMs === undefined) this.firstMs = this.improvedMs = nowMs;
    this.latestMs = nowMs;
    if (nowMs - this.firstMs < backlogMs && mediaMs < this.newestMediaMs - reorderMs) return;
    this.newestMediaMs = Math.max(this.newestMediaMs, mediaMs);
    if (Math.abs(offset - this.best) > this.maxJitterMs() + backlogMs && this.size > 0) {
      if (++this.strangerCount < strangers) return;
      this.clear();
      this.firstMs = this.improvedMs = nowMs;
      this.newestMediaMs = mediaMs;
    }
    this.strangerCount = 0;
    if (offset < this.best) {
      this.best = offset;
      if (nowMs - this.firstMs < backlogMs) this.dropBacklog(nowMs);
    }
    const at = (this.head + this.size) % windowCapacity;
    this.offsets[at] = offset;
    this.times[at] = nowMs;
    if (this.size < windowCapacity) this.size++;
    else this.head = (this.head + 1) % windowCapacity;
  }

  /** Whether the backlog has been read and arrivals are live. */
  settled(nowMs: number): boolean {
    return this.size > 0 && nowMs - this.improvedMs >= settleMs;
  }

  /** When something last arrived, -Infinity when nothing has. */
  get lastMs(): number {
    return this.latestMs;
  }

  /** The best offset and the one with which all but a few arrivals are in time; undefined when nothing arrived. */
  summary(nowMs: number, part: number): { readonly best: number; readonly high: number; readonly count: number } | undefined {
    while (this.size > 1 && nowMs - (this.times[this.head] ?? 0) > windowMs) {
      this.head = (this.head + 1) % windowCapacity;
      this.size--;
    }
    if (this.size === 0) return undefined;
    const sorted = new Float64Array(this.size);
    for (let i = 0; i < this.size; i++) sorted[i] = this.offsets[(this.head + i) % windowCapacity] ?? 0;
    sorted.sort();
    this.best = sorted[0] ?? 0;
    const high = sorted[Math.min(this.size - 1, Math.floor(part * this.size))] ?? this.best;
    return { best: this.best, high, count: this.size };
  }

  /** A Group is joined at its first Object, so what comes first was published up to a Group ago. */
  private dropBacklog(nowMs: number): void {
    while (this.size > 0 && (this.offsets[this.head] ?? 0) > this.best + backlogStepMs) {
      this.head = (this.head + 1) % windowCapacity;
      this.size--;
      this.improvedMs = nowMs;
    }
  }

  private clear(): void {
    this.size = 0;
    this.head = 0;
    this.best = Infinity;
    this.strangerCount = 0;
  }
}

interface TrackNeeds {
  readonly window: ArrivalWindow;
  marginMs: number;
  part: number;
}

/** A Track that has been silent for so long no longer holds the others back. */
const silenceMs = 3000;

/** The offset is worked out anew this often. */
const reviewMs = 100;

/** What audio tells about how it plays. */
export interface AudioPosition {
  /** Milliseconds by which what is heard lags behind what is due; negative when it leads. Smoothed. */
  readonly lagMs: number;
  /** When that was so, by the wall clock. */
  readonly atMs: number;
  /** Whether sound comes out: false while starved, muted by the browser or not begun. */
  readonly playing: boolean;
}

/** Without audio, pictures may run this much faster or slower to reach the offset that is wanted. */
const slewRate = 0.04;

/** A difference beyond this is jumped over. */
const jumpMs = 400;

/** Reports of the audio older than this are no guide. */
const audioFreshMs = 500;

/**
 * Decides what media time is due now. Audio, which cannot be hurried unnoticed, is the master: it follows the offset
 * in its own time and reports how far it is from it, and pictures follow the audio. Without audio, pictures glide to the
 * offset themselves.
 */
export class PlayoutClock {
  private readonly tracks = new Map<string, TrackNeeds>();
  private bounds: DelayBounds;
  private target: number | undefined;
  private jitter = 0;
  private reviewedMs = -Infinity;
  private offset: number | undefined;
  private offsetAtMs = 0;
  private audio: AudioPosition | undefined;

  constructor(mode: LatencyMode = 'low') {
    this.bounds = latencyModes[mode];
  }

  /** Changes the bounds; what is playing moves to them gradually. */
  setMode(mode: LatencyMode): void {
    this.bounds = latencyModes[mode];
    this.reviewedMs = -Infinity;
  }

  /** Records an arrival on a Track. */
  observe(track: string, mediaMs: number, nowMs: number): void {
    this.track(track).window.observe(mediaMs, nowMs);
  }

  /**
   * Sets how long after its arrival a Track's media can be shown (decoding takes time, the sound card has a delay of its
   * own), and what part of it has to be in time.
   */
  setNeeds(track: string, marginMs: number, part: number): void {
    const needs = this.track(track);
    needs.marginMs = marginMs;
    needs.part = part;
  }

  /** Forgets a Track that is no longer received. */
  forget(track: string): void {
    this.tracks.delete(track);
    this.reviewedMs = -Infinity;
  }

  /** Takes a report of the audio, or undefined when audio is no longer played. */
  followAudio(position: AudioPosition | undefined): void {
    this.audio = position;
  }

  /** The offset that playout should have, in milliseconds; undefined until arrivals are live. */
  targetOffset(nowMs: number): number | undefined {
    if (nowMs - this.reviewedMs < reviewMs) return this.target;
    this.reviewedMs = nowMs;
    let wanted: number | undefined;
    let jitter = 0;
    for (const { window, marginMs, part } of this.tracks.values()) {
      if (!window.settled(nowMs) || nowMs - window.lastMs > silenceMs) continue;
      const summary = window.summary(nowMs, part);
      if (summary === undefined) continue;
      const { startMs, minMs, maxMs } = this.bounds;
      const spread = summary.high - summary.best;
      const delay = Math.max(spread + marginMs, summary.count < enoughArrivals ? startMs : 0);
      const offset = summary.best + Math.min(maxMs, Math.max(minMs, delay));
      if (wanted === undefined || offset > wanted) wanted = offset;
      jitter = Math.max(jitter, spread);
    }
    // When everything has fallen silent, the old offset is as good as any.
    if (wanted !== undefined) {
      this.target = wanted;
      this.jitter = jitter;
    }
    return this.target;
  }

  /** The spread of arrivals on the worst Track, in milliseconds, as of the last review. */
  get jitterMs(): number {
    return this.jitter;
  }

  /** The media time that is due now, in milliseconds; undefined until arrivals are live. */
  position(nowMs: number): number | undefined {
    const target = this.targetOffset(nowMs);
    if (target === undefined) return undefined;
    const audio = this.audio;
    if (audio !== undefined && audio.playing && nowMs - audio.atMs < audioFreshMs) {
      this.offset = target + audio.lagMs;
    } else if (this.offset === undefined || Math.abs(target - this.offset) > jumpMs) {
      this.offset = target;
    } else {
      const step = Math.max(0, nowMs - this.offsetAtMs) * slewRate;
      this.offset += Math.min(step, Math.max(-step, target - this.offset));
    }
    this.offsetAtMs = nowMs;
    return nowMs - this.offset;
  }

  private track(name: string): TrackNeeds {
    let track = this.tracks.get(name);
    if (track === undefined) {
      track = { window: new ArrivalWindow(() => this.bounds.maxMs), marginMs: 0, part: punctuality.picture };
      this.tracks.set(name, track);
    }
    return track;
  }
}
