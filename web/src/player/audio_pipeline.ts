import { sameBytes } from '../media/bytes.ts';
import type { CatalogTrack } from '../media/catalog.ts';
import type { SoundBlock } from './audio_playout.ts';
import type { Released } from './sequencer.ts';
import type { MediaObject } from './track_feed.ts';

/** Packets waiting in the decoder at most: 5 s of Opus. Decoding sound is so cheap that more means it is stuck. */
const maxQueue = 250;

/** So many errors in a row, with no sound between them, mean that it will not get better. */
const maxErrors = 20;

/** Decodes sound and hands it on as blocks of two channels. */
export class AudioPipeline {
  decodeErrors = 0;
  private track: CatalogTrack | undefined;
  private decoder: AudioDecoder | undefined;
  /** The configuration the decoder has, and the latest that the Track carried: only the first packet of a Group has one. */
  private config: Uint8Array | undefined;
  private latestConfig: Uint8Array | undefined;
  private errorsInRow = 0;
  private enabled = false;

  constructor(
    private readonly deliver: (block: SoundBlock) => void,
    private readonly failed: (codec: string, error: unknown) => void,
  ) {}

  /** Whether sound can be heard; packets are not decoded for nobody. */
  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    if (!enabled) this.closeDecoder();
  }

  /** Prepares for a Track. */
  begin(track: CatalogTrack): void {
    this.end();
    this.track = track;
    this.latestConfig = track.description;
    this.errorsInRow = 0;
  }

  /** Stops decoding. */
  end(): void {
    this.closeDecoder();
    this.track = undefined;
  }

  /** Takes packets in order. Each can be decoded for itself, so a gap needs no care. */
  receive(objects: readonly Released<MediaObject>[]): void {
    for (const { item } of objects) {
      this.latestConfig = item.config ?? this.latestConfig;
      if (this.enabled) this.decode(item);
    }
  }

  private decode(object: MediaObject): void {
    const decoder = this.ready();
    if (decoder === undefined || decoder.decodeQueueSize >= maxQueue) return;
    try {
      decoder.decode(
        new EncodedAudioChunk({ type: 'key', timestamp: object.timestampUs, data: object.payload }),
      );
    } catch (error) {
      this.decoderFailed(error);
    }
  }

  private ready(): AudioDecoder | undefined {
    const track = this.track;
    if (track === undefined) return undefined;
    const config = this.latestConfig;
    if (this.decoder !== undefined && sameBytes(config, this.config)) return this.decoder;
    this.closeDecoder();
    const decoder: AudioDecoder = new AudioDecoder({
      output: (data) => {
        this.errorsInRow = 0;
        if (decoder === this.decoder) this.deliver(toBlock(data));
        data.close();
      },
      error: (error) => {
        if (decoder === this.decoder) this.decoderFailed(error);
      },
    });
    this.decoder = decoder;
    this.config = config;
    try {
      decoder.configure(audioConfig(track, config));
    } catch (error) {
      this.decoderFailed(error);
      return undefined;
    }
    return decoder;
  }

  private decoderFailed(error: unknown): void {
    const codec = this.track?.codec ?? '';
    this.decodeErrors++;
    this.errorsInRow++;
    this.closeDecoder();
    if (this.errorsInRow === maxErrors) this.failed(codec, error);
  }

  private closeDecoder(): void {
    const decoder = this.decoder;
    this.decoder = undefined;
    this.config = undefined;
    if (decoder !== undefined && decoder.state !== 'closed') decoder.close();
  }
}

/** Whether this browser decodes a Track's sound. */
export async function canDecodeAudio(track: CatalogTrack): Promise<boolean> {
  if (typeof AudioDecoder === 'undefined') return false;
  try {
    return (await AudioDecoder.isConfigSupported(audioConfig(track, track.description))).supported === true;
  } catch {
    return false;
  }
}

function audioConfig(track: CatalogTrack, description: Uint8Array | undefined): AudioDecoderConfig {
  return {
    codec: track.codec,
    sampleRate: track.sampleRate ?? 48_000,
    numberOfChannels: track.channels ?? 2,
    ...(description === undefined ? {} : { description }),
  };
}

/** The samples as one or two planes. More channels than two are mixed down. */
function toBlock(data: AudioData): SoundBlock {
  const planes: Float32Array[] = [];
  for (let channel = 0; channel < data.numberOfChannels; channel++) {
    const plane = new Float32Array(data.numberOfFrames);
    data.copyTo(plane, { planeIndex: channel, format: 'f32-planar' });
    planes.push(plane);
  }
  return {
    mediaMs: data.timestamp / 1000,
    sampleRate: data.sampleRate,
    planes: planes.length > 2 ? mixDown(planes) : planes,
  };
}

/**
 * Two channels from more, in the order of WAVE (left, right, centre, low frequencies, then surrounds in pairs), with the
 * weights of ITU-R BS.775; low frequencies are left out as it allows. Scaled so that nothing clips.
 */
export function mixDown(planes: readonly Float32Array[]): Float32Array[] {
  const length = planes[0]?.length ?? 0;
  const sides = [new Float32Array(length), new Float32Array(length)];
  for (const [side, out] of sides.entries()) {
    let weights = 0;
    const add = (plane: Float32Array | undefined, weight: number): void => {
      if (plane === undefined) return;
      weights += weight;
      for (let i = 0; i < length; i++) out[i] = (out[i] ?? 0) + weight * (plane[i] ?? 0);
    };
    add(planes[side], 1);
    // Four channels are two in front and two behind; three, five and more have a centre.
    const centre = planes.length === 4 ? undefined : planes[2];
    add(centre, Math.SQRT1_2);
    const firstSurround = planes.length === 4 ? 2 : planes.length === 5 ? 3 : 4;
    for (let channel = firstSurround + side; channel < planes.length; channel += 2) add(planes[channel], Math.SQRT1_2);
    for (let i = 0; i < length; i++) out[i] = (out[i] ?? 0) / weights;
  }
  return sides;
}
