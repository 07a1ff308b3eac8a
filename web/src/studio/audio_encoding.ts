import { bytesOf } from '../media/bytes.ts';
import type { AudioFormat, EncodedFrame } from './broadcast.ts';
import type { MediaClock } from './media_clock.ts';
import type { AudioSettings, StudioFailure } from './messages.ts';

/** Pieces that may wait in the encoder: 20 ms each. */
const MAX_QUEUE = 25;

export interface AudioEncodingEvents {
  frame(frame: EncodedFrame<AudioFormat>): void;
  failed(failure: StudioFailure): void;
}

/** Encodes sound as Opus, mono or stereo. */
export class AudioEncoding {
  readonly #settings: AudioSettings;
  readonly #events: AudioEncodingEvents;
  readonly #clock: Pick<MediaClock, 'observe' | 'map'>;
  #encoder: AudioEncoder | undefined;
  #input = { sampleRate: 0, channels: 0 };
  #format: AudioFormat | undefined;
  #closed = false;

  /** clock: maps the source's timestamps to the wall clock. */
  constructor(settings: AudioSettings, events: AudioEncodingEvents, clock: Pick<MediaClock, 'observe' | 'map'>) {
    this.#settings = settings;
    this.#clock = clock;
    this.#events = events;
  }

  /** Encodes a piece of sound. Takes the data and closes it. */
  encode(data: AudioData): void {
    try {
      if (this.#closed) return;
      // A piece is complete only when its last sample has been captured.
      if (!this.#clock.observe(data.timestamp, Date.now() * 1000 - data.duration)) return;
      const channels = Math.min(2, data.numberOfChannels);
      if (data.sampleRate !== this.#input.sampleRate || channels !== this.#input.channels) {
        this.#input = { sampleRate: data.sampleRate, channels };
        this.#configure();
      }
      if (this.#encoder?.state === 'configured' && this.#encoder.encodeQueueSize < MAX_QUEUE) this.#encoder.encode(data);
    } catch (error) {
      this.#fail(error);
    } finally {
      data.close();
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
  }

  #configure(): void {
    if (this.#encoder?.state !== 'configured') {
      this.#encoder = new AudioEncoder({
        output: (chunk, metadata) => this.#output(chunk, metadata),
        error: (error) => this.#fail(error),
      });
    }
    this.#encoder.configure({
      codec: 'opus',
      sampleRate: this.#input.sampleRate,
      numberOfChannels: this.#input.channels,
      bitrate: this.#settings.bitrate,
    });
  }

  #output(chunk: EncodedAudioChunk, metadata: EncodedAudioChunkMetadata | undefined): void {
    if (this.#closed) return;
    const decoder = metadata?.decoderConfig;
    if (decoder) {
      this.#format = {
        codec: decoder.codec,
        description: decoder.description ? bytesOf(decoder.description) : undefined,
        sampleRate: decoder.sampleRate,
        channels: decoder.numberOfChannels,
        bitrate: this.#settings.bitrate,
      };
    }
    if (!this.#format) return;
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    this.#events.frame({ data, key: true, timestampUs: this.#clock.map(chunk.timestamp), format: this.#format });
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.close();
    const reason = error instanceof Error ? error.message : String(error);
    this.#events.failed({ kind: 'codec', message: `Encoding sound failed: ${reason}` });
  }
}
