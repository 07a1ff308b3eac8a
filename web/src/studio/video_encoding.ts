import { bytesOf, sameBytes } from '../media/bytes.ts';
import type { EncodedFrame, VideoFormat } from './broadcast.ts';
import { chooseEncoder, fitInto, type Choice } from './codecs.ts';
import type { MediaClock } from './media_clock.ts';
import type { StudioFailure, VideoSettings } from './messages.ts';

/** The longest time between key frames in microseconds: how long a viewer waits who cannot fetch the current Group. */
const KEY_INTERVAL_US = 2_000_000;
/** The shortest, however often viewers ask: a key frame costs several times as much as another. */
const MIN_KEY_INTERVAL_US = 500_000;
/** Frames that may wait in the encoder; more come too late to be worth encoding. */
const MAX_QUEUE = 2;

export interface VideoEncodingEvents {
  frame(frame: EncodedFrame<VideoFormat>): void;
  failed(failure: StudioFailure): void;
}

/** Encodes pictures in real time: it drops what the encoder has no time for, and never falls behind. */
export class VideoEncoding {
  readonly #settings: VideoSettings;
  readonly #events: VideoEncodingEvents;
  readonly #clock: Pick<MediaClock, 'observe' | 'map'>;
  #bitrate: number;
  #encoder: VideoEncoder | undefined;
  #choice: Choice | undefined;
  #source = { width: 0, height: 0 };
  #choosing = false;
  #format: VideoFormat | undefined;
  #lastKeyUs = -Infinity;
  #keyWanted = true;
  #closed = false;
  encoded = 0;
  dropped = 0;

  /** clock: maps the source's timestamps to the wall clock. */
  constructor(settings: VideoSettings, events: VideoEncodingEvents, clock: Pick<MediaClock, 'observe' | 'map'>) {
    this.#settings = settings;
    this.#clock = clock;
    this.#events = events;
    this.#bitrate = settings.bitrate;
  }

  /** The encoder in use, once there is one. */
  get config(): VideoEncoderConfig | undefined {
    return this.#choice?.config;
  }

  /** Asks for a key frame as soon as it is allowed. */
  wantKeyFrame(): void {
    this.#keyWanted = true;
  }

  /** Changes the target, in bits per second, without a break. */
  setBitrate(bitrate: number): void {
    this.#bitrate = bitrate;
    if (!this.#choice || this.#encoder?.state !== 'configured') return;
    this.#choice = { ...this.#choice, config: { ...this.#choice.config, bitrate } };
    this.#encoder.configure(this.#choice.config);
    // Configuring starts anew, with a key frame whether or not it is asked for.
    this.#keyWanted = true;
    this.#lastKeyUs = -Infinity;
  }

  /** Encodes a picture, or drops it. Takes the frame and closes it. */
  encode(frame: VideoFrame): void {
    try {
      if (this.#closed) return;
      if (!this.#clock.observe(frame.timestamp, Date.now() * 1000)) return;
      if (frame.displayWidth !== this.#source.width || frame.displayHeight !== this.#source.height) {
        this.#source = { width: frame.displayWidth, height: frame.displayHeight };
        void this.#choose();
      }
      const encoder = this.#encoder;
      if (this.#choosing || encoder?.state !== 'configured' || encoder.encodeQueueSize > MAX_QUEUE) {
        this.dropped++;
        return;
      }
      const age = frame.timestamp - this.#lastKeyUs;
      const keyFrame = age >= KEY_INTERVAL_US || (this.#keyWanted && age >= MIN_KEY_INTERVAL_US);
      if (keyFrame) {
        this.#lastKeyUs = frame.timestamp;
        this.#keyWanted = false;
      }
      encoder.encode(frame, { keyFrame });
    } catch (error) {
      this.#fail('other', error);
    } finally {
      frame.close();
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
  }

  async #choose(): Promise<void> {
    // A size that changes meanwhile is seen at the end.
    if (this.#choosing) return;
    this.#choosing = true;
    try {
      for (;;) {
        const source = this.#source;
        const choice = await chooseEncoder(this.#settings, fitInto(source, this.#settings), this.#bitrate);
        if (this.#closed) return;
        if (source !== this.#source) continue;
        if (!choice) {
          const wanted = this.#settings.codec === 'auto' ? 'any codec' : this.#settings.codec.toUpperCase();
          this.#events.failed({ kind: 'codec', message: `This browser cannot encode ${wanted} at this size.` });
          return;
        }
        this.#configure(choice);
        return;
      }
    } catch (error) {
      this.#fail('codec', error);
    } finally {
      this.#choosing = false;
    }
  }

  #configure(choice: Choice): void {
    this.#choice = choice;
    this.#keyWanted = true;
    this.#lastKeyUs = -Infinity;
    if (this.#encoder?.state !== 'configured') {
      this.#encoder = new VideoEncoder({
        output: (chunk, metadata) => this.#output(chunk, metadata),
        error: (error) => this.#fail('codec', error),
      });
    }
    this.#encoder.configure(choice.config);
  }

  #output(chunk: EncodedVideoChunk, metadata: EncodedVideoChunkMetadata | undefined): void {
    if (this.#closed) return;
    const decoder = metadata?.decoderConfig;
    if (decoder && this.#choice) {
      const format: VideoFormat = {
        codec: decoder.codec,
        description: decoder.description ? bytesOf(decoder.description) : undefined,
        width: decoder.codedWidth ?? this.#choice.config.width,
        height: decoder.codedHeight ?? this.#choice.config.height,
        framerate: this.#settings.framerate,
        bitrate: this.#settings.bitrate,
      };
      // Some encoders repeat it with each key frame; it is new only if it says something new.
      if (!this.#format || !sameFormat(format, this.#format)) this.#format = format;
    }
    if (!this.#format) return;
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    this.encoded++;
    this.#events.frame({
      data,
      key: chunk.type === 'key',
      timestampUs: this.#clock.map(chunk.timestamp),
      format: this.#format,
    });
  }

  #fail(kind: StudioFailure['kind'], error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.#events.failed({ kind, message: `Encoding pictures failed: ${error instanceof Error ? error.message : String(error)}` });
  }
}

function sameFormat(a: VideoFormat, b: VideoFormat): boolean {
  return (
    a.codec === b.codec && a.width === b.width && a.height === b.height && sameBytes(a.description, b.description)
  );
}
