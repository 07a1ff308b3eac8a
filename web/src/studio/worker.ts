/** The studio's worker: encodes, packages and publishes, away from the page's own work. */

import { AudioEncoding } from './audio_encoding.ts';
import { StudioBroadcast, type MediaKind } from './broadcast.ts';
import { MediaClock, wallClock } from './media_clock.ts';
import type { FromWorker, StudioFailure, ToWorker, WorkerSource } from './messages.ts';
import { drawPattern } from './pattern.ts';
import { Publisher } from './publisher.ts';
import { RateControl } from './rate_control.ts';
import { TONE_SAMPLE_RATE, toneSamples } from './tone.ts';
import { VideoEncoding } from './video_encoding.ts';

/** How long the first Track waits for the other before viewers are let in, in milliseconds. */
const PATIENCE_MS = 1500;
/** 20 ms of test tone at a time. */
const TONE_PIECE = 960;

// The DOM's own types know `self` as a window.
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
};

type Start = Extract<ToWorker, { type: 'start' }>;

function post(message: FromWorker): void {
  scope.postMessage(message);
}

/** One broadcast from start to stop. */
class Studio {
  readonly #start: Start;
  readonly #broadcast: StudioBroadcast;
  readonly #video: VideoEncoding;
  readonly #audio: AudioEncoding;
  readonly #rate: RateControl;
  readonly #publisher: Publisher;
  readonly #readers: ReadableStreamDefaultReader<VideoFrame | AudioData>[] = [];
  readonly #timers = new Set<ReturnType<typeof setInterval>>();
  /** Resolves when there is something to watch, or the studio stops. */
  readonly #begun: Promise<void>;
  #begin!: () => void;
  #patience: ReturnType<typeof setTimeout> | undefined;
  #stopping = false;

  constructor(start: Start) {
    this.#start = start;
    this.#begun = new Promise((resolve) => (this.#begin = resolve));
    this.#rate = new RateControl(start.video.bitrate);
    this.#broadcast = new StudioBroadcast(Date.now(), kindsOf(start.source), () => this.#video.wantKeyFrame());
    const failed = (failure: StudioFailure): void => void this.stop(failure);
    const clock = (): Pick<MediaClock, 'observe' | 'map'> =>
      start.source.kind === 'pattern' ? wallClock : new MediaClock();
    this.#video = new VideoEncoding(
      start.video,
      {
        frame: (frame) => {
          this.#broadcast.writeVideo(frame);
          this.#written();
        },
        failed,
      },
      clock(),
    );
    this.#audio = new AudioEncoding(
      start.audio,
      {
        frame: (frame) => {
          this.#broadcast.writeAudio(frame);
          this.#written();
        },
        failed,
      },
      clock(),
    );
    this.#publisher = new Publisher({
      room: start.room,
      streamKey: start.streamKey,
      takeover: start.takeover,
      broadcast: this.#broadcast,
      onState: (state) => {
        if (!this.#stopping) post({ type: 'state', state });
      },
    });
  }

  async run(): Promise<void> {
    post({ type: 'state', state: { kind: 'connecting' } });
    this.#open(this.#start.source);
    this.#reportEverySecond();
    // A Namespace is announced only once there is something to watch in it.
    await this.#begun;
    const failure = await this.#publisher.run();
    await this.stop(failure);
  }

  /** Ends everything and says so. Idempotent. */
  async stop(failure?: StudioFailure): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const reader of this.#readers) reader.cancel().catch(() => undefined);
    this.#video.close();
    this.#audio.close();
    await this.#publisher.stop();
    this.#begin();
    post({ type: 'state', state: { kind: 'ended', failure } });
  }

  /** Lets the broadcast be announced: when all its Tracks are known, or one has kept the others waiting. */
  #written(): void {
    if (this.#broadcast.complete) this.#begin();
    else this.#patience ??= setTimeout(() => this.#begin(), PATIENCE_MS);
  }

  #open(source: WorkerSource): void {
    if (source.kind === 'pattern') {
      this.#openPattern(source.canvas);
      return;
    }
    if (source.video) void this.#read(source.video, (frame) => this.#video.encode(frame));
    if (source.audio) void this.#read(source.audio, (data) => this.#audio.encode(data));
  }

  async #read<T extends VideoFrame | AudioData>(stream: ReadableStream<T>, take: (value: T) => void): Promise<void> {
    const reader = stream.getReader();
    this.#readers.push(reader as ReadableStreamDefaultReader<VideoFrame | AudioData>);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        take(value);
      }
    } catch {
      // It ends like a source that was stopped: by a cable pulled, or a browser that lost the device.
    }
    await this.stop({ kind: 'source', message: 'The camera, microphone or screen stopped.' });
  }

  /** Draws and sounds the test pattern by the wall clock. A worker's timers go on when the page is in the background. */
  #openPattern(canvas: OffscreenCanvas): void {
    const { width, height, framerate } = this.#start.video;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext('2d', { alpha: false });
    if (!context) {
      void this.stop({ kind: 'source', message: 'This browser gives a worker no canvas to draw on.' });
      return;
    }
    const label = `freshet · ${this.#start.room}`;
    let drawn = -1;
    this.#every(4, () => {
      const now = Date.now();
      const frame = Math.floor((now * framerate) / 1000);
      if (frame === drawn) return;
      drawn = frame;
      drawPattern(context, width, height, now, label);
      this.#video.encode(new VideoFrame(canvas, { timestamp: now * 1000, duration: Math.round(1e6 / framerate) }));
    });
    let sample = Math.floor((Date.now() * TONE_SAMPLE_RATE) / 1000);
    this.#every(10, () => {
      const due = Math.floor((Date.now() * TONE_SAMPLE_RATE) / 1000);
      // After the machine slept, the tone goes on from now instead of catching up.
      if (due - sample > TONE_SAMPLE_RATE) sample = due - TONE_PIECE;
      while (due - sample >= TONE_PIECE) {
        this.#audio.encode(
          new AudioData({
            format: 'f32-planar',
            sampleRate: TONE_SAMPLE_RATE,
            numberOfFrames: TONE_PIECE,
            numberOfChannels: 1,
            timestamp: Math.round((sample * 1e6) / TONE_SAMPLE_RATE),
            data: toneSamples(sample, TONE_PIECE),
          }),
        );
        sample += TONE_PIECE;
      }
    });
  }

  #reportEverySecond(): void {
    let encoded = 0;
    let bytes = 0;
    let at = performance.now();
    this.#every(1000, () => {
      const now = performance.now();
      const seconds = (now - at) / 1000;
      at = now;
      const { ageMs, groupsDropped } = this.#broadcast.backlog;
      if (this.#rate.tick(ageMs)) this.#video.setBitrate(this.#rate.target);
      // A new session counts from zero.
      const sent = this.#publisher.bytesSent;
      const gained = sent >= bytes ? sent - bytes : sent;
      bytes = sent;
      const config = this.#video.config;
      post({
        type: 'stats',
        stats: {
          codec: config?.codec ?? '',
          width: config?.width ?? 0,
          height: config?.height ?? 0,
          framesPerSecond: (this.#video.encoded - encoded) / seconds,
          framesDropped: this.#video.dropped,
          groupsDropped,
          bitrate: (gained * 8) / seconds,
          targetBitrate: this.#rate.target,
          queueMs: ageMs,
        },
      });
      encoded = this.#video.encoded;
    });
  }

  #every(ms: number, work: () => void): void {
    this.#timers.add(setInterval(work, ms));
  }
}

function kindsOf(source: WorkerSource): ReadonlySet<MediaKind> {
  const kinds = new Set<MediaKind>();
  if (source.kind === 'pattern' || source.video) kinds.add('video');
  if (source.kind === 'pattern' || source.audio) kinds.add('audio');
  return kinds;
}

let studio: Studio | undefined;

scope.onmessage = (event) => {
  const message = event.data;
  if (message.type === 'start') {
    // A page starts one worker for each broadcast.
    if (studio) return;
    studio = new Studio(message);
    studio.run().catch((error: unknown) => {
      void studio?.stop({ kind: 'other', message: error instanceof Error ? error.message : String(error) });
    });
  } else {
    void studio?.stop();
  }
};
