import { sameBytes } from '../media/bytes.ts';
import type { CatalogTrack } from '../media/catalog.ts';
import type { PlayoutClock } from './clock.ts';
import type { Released } from './sequencer.ts';
import type { MediaObject } from './track_feed.ts';

/** Pictures decoded ahead of their time. Hardware decoders stall when more than a few are kept from them. */
const maxAhead = 6;

/** Coded pictures kept at most: those of a long Group that was joined at its start. */
const maxQueued = 1800;
const maxQueuedBytes = 96 << 20;

/** A picture is shown up to this much before its time: half the interval of a 60 Hz screen. */
const earlyMs = 8;

/** No new picture for so long, while some should come, is a stall that a viewer notices. */
const stallMs = 500;

/** A picture shown within this time of when it was due is in time: the backlog of joining is over. */
const inTimeMs = 120;

/** So many decoder errors in a row, with no picture between them, mean that it will not get better. */
const maxErrors = 5;

/** Puts a picture before the viewer. */
export interface Painter {
  paint(frame: VideoFrame, wallClock: boolean): void;
}

/** Counts since the pipeline began. */
export interface VideoCounts {
  painted: number;
  dropped: number;
  stalls: number;
  decodeErrors: number;
}

interface Coded {
  readonly object: MediaObject;
  readonly key: boolean;
}

interface Decoded {
  readonly frame: VideoFrame;
  readonly mediaMs: number;
}

/**
 * Decodes pictures and paints each at its time. Pictures wait for their time as coded, and only the next few are
 * decoded ahead. When it falls behind, it goes on with the newest key frame that is due; after a gap or a decoder's
 * error, with the next key frame.
 */
export class VideoPipeline {
  readonly counts: VideoCounts = { painted: 0, dropped: 0, stalls: 0, decodeErrors: 0 };
  private track: CatalogTrack | undefined;
  private decoder: VideoDecoder | undefined;
  /** The configuration the decoder has, and the latest that the Track carried: a key frame without one keeps it. */
  private config: Uint8Array | undefined;
  private latestConfig: Uint8Array | undefined;
  private configured = false;
  private queue: Coded[] = [];
  private queuedBytes = 0;
  private ahead: Decoded[] = [];
  private needsKey = true;
  private wallClock = true;
  private inTime = false;
  private paintedAtMs: number | undefined;
  private stalled = false;
  private errorsInRow = 0;
  private readonly decodeStarted = new Map<number, number>();
  private decodeTimeMs = 8;

  constructor(
    private readonly clock: PlayoutClock,
    private readonly painter: Painter,
    private readonly failed: (codec: string, error: unknown) => void,
  ) {}

  /** Prepares for a Track; what was queued of another is forgotten. The picture on show stays. */
  begin(track: CatalogTrack): void {
    this.end();
    this.track = track;
    this.latestConfig = track.description;
    this.errorsInRow = 0;
  }

  /** Stops decoding. The picture on show stays. */
  end(): void {
    this.closeDecoder();
    this.queue = [];
    this.queuedBytes = 0;
    this.needsKey = true;
    this.inTime = false;
    this.paintedAtMs = undefined;
    this.stalled = false;
    this.track = undefined;
  }

  /** Takes coded pictures in decode order. */
  receive(objects: readonly Released<MediaObject>[]): void {
    for (const { item, afterGap } of objects) {
      const key = item.objectId === 0;
      if (key) this.needsKey = false;
      else if (afterGap) this.needsKey = true;
      if (this.needsKey) {
        this.counts.dropped++;
        continue;
      }
      this.queue.push({ object: item, key });
      this.queuedBytes += item.payload.length;
    }
    if (this.queue.length > maxQueued || this.queuedBytes > maxQueuedBytes) this.dropQueue(this.queue.length);
    this.feed();
  }

  /** Paints what is due at nowMs; called for every refresh of the screen. */
  tick(nowMs: number): void {
    const position = this.clock.position(nowMs);
    // Before arrivals are live the newest picture is the best there is: a viewer sees something at once.
    let due = position === undefined ? this.ahead.length - 1 : -1;
    if (position !== undefined) {
      for (let i = 0; i < this.ahead.length; i++) if ((this.ahead[i]?.mediaMs ?? Infinity) <= position + earlyMs) due = i;
    }
    if (due >= 0) {
      const passed = this.ahead.splice(0, due + 1);
      const shown = passed.pop();
      for (const { frame } of passed) frame.close();
      if (this.inTime) this.counts.dropped += passed.length;
      if (shown !== undefined) {
        if (position !== undefined && position - shown.mediaMs < inTimeMs) this.inTime = true;
        this.painter.paint(shown.frame, this.wallClock);
        shown.frame.close();
        this.counts.painted++;
        this.paintedAtMs = nowMs;
        this.stalled = false;
      }
    } else if (this.inTime && !this.stalled && this.paintedAtMs !== undefined && nowMs - this.paintedAtMs > stallMs) {
      this.stalled = true;
      this.counts.stalls++;
    }
    this.feed();
  }

  /** Whether pictures that should come do not. */
  get isStalled(): boolean {
    return this.stalled;
  }

  /** Milliseconds from handing a picture to the decoder to having it, smoothed. */
  get decodeMs(): number {
    return this.decodeTimeMs;
  }

  /** Milliseconds of pictures that wait for their time. */
  get bufferedMs(): number {
    const newest = this.queue[this.queue.length - 1]?.object.mediaMs ?? this.ahead[this.ahead.length - 1]?.mediaMs;
    const oldest = this.ahead[0]?.mediaMs ?? this.queue[0]?.object.mediaMs;
    return newest === undefined || oldest === undefined ? 0 : Math.max(0, newest - oldest);
  }

  /** Hands coded pictures to the decoder, as many as may be ahead. */
  private feed(): void {
    if (this.track === undefined) return;
    this.dropLate();
    while (this.queue.length > 0 && this.ahead.length + (this.decoder?.decodeQueueSize ?? 0) < maxAhead) {
      const coded = this.queue.shift();
      if (coded === undefined) return;
      this.queuedBytes -= coded.object.payload.length;
      if (!this.prepare(coded)) {
        this.counts.dropped++;
        continue;
      }
      this.wallClock = coded.object.wallClock;
      this.decodeStarted.set(coded.object.timestampUs, performance.now());
      try {
        this.decoder?.decode(
          new EncodedVideoChunk({
            type: coded.key ? 'key' : 'delta',
            timestamp: coded.object.timestampUs,
            data: coded.object.payload,
          }),
        );
      } catch (error) {
        this.decoderFailed(error);
      }
    }
  }

  /** Goes on with the newest key frame whose time has come, when older pictures still wait to be decoded. */
  private dropLate(): void {
    const position = this.clock.position(Date.now());
    if (position === undefined) return;
    let newestDueKey = -1;
    for (let i = 1; i < this.queue.length; i++) {
      const coded = this.queue[i];
      if (coded?.key === true && coded.object.mediaMs <= position) newestDueKey = i;
    }
    if (newestDueKey > 0) {
      const count = newestDueKey;
      const dropped = this.queue.splice(0, count);
      for (const { object } of dropped) this.queuedBytes -= object.payload.length;
      if (this.inTime) this.counts.dropped += count;
    }
  }

  /** Makes the decoder ready for a picture; false when that has to be a key frame and is not. */
  private prepare(coded: Coded): boolean {
    const decoder = (this.decoder ??= this.open());
    if (!coded.key) return this.configured;
    const config = (this.latestConfig = coded.object.config ?? this.latestConfig);
    if (this.configured && sameBytes(config, this.config)) return true;
    const track = this.track;
    if (track === undefined) return false;
    try {
      decoder.configure({
        codec: track.codec,
        optimizeForLatency: true,
        ...(config === undefined ? {} : { description: config }),
      });
    } catch (error) {
      this.decoderFailed(error);
      return false;
    }
    this.config = config;
    this.configured = true;
    return true;
  }

  private open(): VideoDecoder {
    const decoder: VideoDecoder = new VideoDecoder({
      output: (frame) => {
        if (decoder === this.decoder) this.decoded(frame);
        else frame.close();
      },
      error: (error) => {
        if (decoder === this.decoder) this.decoderFailed(error);
      },
    });
    decoder.addEventListener('dequeue', () => {
      if (decoder === this.decoder) this.feed();
    });
    this.configured = false;
    return decoder;
  }

  private decoded(frame: VideoFrame): void {
    const started = this.decodeStarted.get(frame.timestamp);
    if (started !== undefined) {
      this.decodeTimeMs += (performance.now() - started - this.decodeTimeMs) / 16;
      this.decodeStarted.delete(frame.timestamp);
    }
    this.errorsInRow = 0;
    const decoded = { frame, mediaMs: frame.timestamp / 1000 };
    const last = this.ahead[this.ahead.length - 1];
    this.ahead.push(decoded);
    if (last !== undefined && last.mediaMs > decoded.mediaMs) this.ahead.sort((a, b) => a.mediaMs - b.mediaMs);
    // While the backlog of joining is read, pictures whose time has passed only keep the decoder waiting.
    const position = this.clock.position(Date.now());
    while (!this.inTime && this.ahead.length > 1) {
      const second = this.ahead[1];
      if (second === undefined || (position !== undefined && second.mediaMs > position)) break;
      this.ahead.shift()?.frame.close();
    }
    this.feed();
  }

  private decoderFailed(error: unknown): void {
    const codec = this.track?.codec ?? '';
    this.counts.decodeErrors++;
    this.errorsInRow++;
    this.closeDecoder();
    // What waits continues the picture that failed, up to the next key frame.
    const key = this.queue.findIndex((coded) => coded.key);
    this.dropQueue(key < 0 ? this.queue.length : key);
    if (this.errorsInRow >= maxErrors) this.failed(codec, error);
  }

  private dropQueue(count: number): void {
    const dropped = this.queue.splice(0, count);
    for (const { object } of dropped) this.queuedBytes -= object.payload.length;
    this.counts.dropped += dropped.length;
    if (this.queue.length === 0) this.needsKey = true;
  }

  private closeDecoder(): void {
    const decoder = this.decoder;
    this.decoder = undefined;
    this.configured = false;
    this.config = undefined;
    for (const { frame } of this.ahead) frame.close();
    this.ahead = [];
    this.decodeStarted.clear();
    if (decoder !== undefined && decoder.state !== 'closed') decoder.close();
  }
}

/** Whether this browser decodes a Track's pictures. */
export async function canDecodeVideo(track: CatalogTrack): Promise<boolean> {
  if (typeof VideoDecoder === 'undefined') return false;
  try {
    const support = await VideoDecoder.isConfigSupported({
      codec: track.codec,
      ...(track.width !== undefined && track.height !== undefined
        ? { codedWidth: track.width, codedHeight: track.height }
        : {}),
    });
    return support.supported === true;
  } catch {
    return false;
  }
}
