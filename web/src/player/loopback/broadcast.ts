import { sleep } from '../../backoff.ts';
import { bytesOf } from '../../media/bytes.ts';
import { CATALOG_TRACK, type CatalogTrack } from '../../media/catalog.ts';
import { writeLoc } from '../../media/loc.ts';
import { writeMsf } from '../../media/msf.ts';
import { PublishedTrack, type GroupWriter } from '../../moq/index.ts';
import { drawCounter } from '../counter.ts';

/** How a loopback broadcast is made. */
export interface BroadcastOptions {
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly framerate: number;
  /** Pictures from one key frame to the next. */
  readonly groupLength: number;
  readonly toneHz: number;
  /** Milliseconds by which each Object may be held back at random. */
  readonly jitterMs: number;
}

/** A plain broadcast that suits every browser with WebCodecs. */
export const plainBroadcast: BroadcastOptions = {
  codec: 'avc1.42e01e',
  width: 640,
  height: 360,
  framerate: 30,
  groupLength: 60,
  toneHz: 1000,
  jitterMs: 0,
};

const sampleRate = 48_000;
const packetMs = 20;
const packetsPerGroup = 50;

/** A live broadcast made by this browser itself: a picture with the clock burned in, and a tone. */
export class LoopbackBroadcast {
  private readonly tracks = new Map<string, PublishedTrack>();
  private readonly timers: ReturnType<typeof setInterval>[] = [];
  private readonly video: VideoEncoder;
  private readonly audio: AudioEncoder;
  private readonly canvas: OffscreenCanvas;
  private readonly context: OffscreenCanvasRenderingContext2D;
  private description: Uint8Array | undefined;
  private closed = false;
  private pictures = 0;
  private packets = 0;
  private readonly startMs = Date.now();
  /** For each Track, when the Objects before the next have left. */
  private readonly lines = new Map<string, Promise<void>>();
  private readonly groups = new Map<string, { writer: GroupWriter | undefined; objects: number }>();

  constructor(private readonly options: BroadcastOptions) {
    for (const name of [CATALOG_TRACK.msf, 'video0', 'audio0']) this.tracks.set(name, new PublishedTrack());
    this.canvas = new OffscreenCanvas(options.width, options.height);
    const context = this.canvas.getContext('2d', { alpha: false });
    if (context === null) throw new Error('no 2D context');
    this.context = context;
    this.writeCatalog();
    this.video = this.encodeVideo();
    this.audio = this.encodeAudio();
    this.timers.push(setInterval(() => this.draw(), 1000 / options.framerate));
    this.timers.push(setInterval(() => this.play(), packetMs / 2));
  }

  find(name: string): PublishedTrack | undefined {
    return this.tracks.get(name);
  }

  /** Ends the broadcast as a publisher does that goes away. */
  close(): void {
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    this.video.close();
    this.audio.close();
    for (const track of this.tracks.values()) track.close();
  }

  private writeCatalog(): void {
    const { codec, width, height, framerate } = this.options;
    const common = { live: true, renderGroup: 1 };
    const tracks: CatalogTrack[] = [
      { name: 'video0', kind: 'video', codec, width, height, framerate, bitrate: 1_500_000, ...common },
      { name: 'audio0', kind: 'audio', codec: 'opus', sampleRate, channels: 2, bitrate: 64_000, ...common },
    ];
    this.tracks.get(CATALOG_TRACK.msf)?.newGroup().writeObject(writeMsf({ tracks, complete: false }, Date.now()));
  }

  private encodeVideo(): VideoEncoder {
    const { codec, width, height, framerate } = this.options;
    const encoder = new VideoEncoder({
      output: (chunk, metadata) => {
        const payload = new Uint8Array(chunk.byteLength);
        chunk.copyTo(payload);
        // The encoder tells its configuration once; every Group carries it, for those who join there.
        const description = metadata?.decoderConfig?.description;
        if (description !== undefined) this.description = bytesOf(description);
        this.write('video0', chunk.type === 'key', chunk.timestamp, payload, this.description);
      },
      error: (error) => console.error('loopback video:', error),
    });
    encoder.configure({
      codec,
      width,
      height,
      framerate,
      bitrate: 1_500_000,
      latencyMode: 'realtime',
      ...(codec.startsWith('avc1') ? { avc: { format: 'avc' as const } } : {}),
    });
    return encoder;
  }

  private encodeAudio(): AudioEncoder {
    const encoder = new AudioEncoder({
      output: (chunk) => {
        const payload = new Uint8Array(chunk.byteLength);
        chunk.copyTo(payload);
        const first = (this.groups.get('audio0')?.objects ?? packetsPerGroup) >= packetsPerGroup;
        this.write('audio0', first, chunk.timestamp, payload);
      },
      error: (error) => console.error('loopback audio:', error),
    });
    encoder.configure({ codec: 'opus', sampleRate, numberOfChannels: 2, bitrate: 64_000 });
    return encoder;
  }

  private draw(): void {
    const { width, height, groupLength } = this.options;
    const now = Date.now();
    const hue = (now / 40) % 360;
    const sky = this.context.createLinearGradient(0, 0, width, height);
    sky.addColorStop(0, `hsl(${hue} 45% 22%)`);
    sky.addColorStop(1, `hsl(${(hue + 70) % 360} 55% 45%)`);
    this.context.fillStyle = sky;
    this.context.fillRect(0, 0, width, height);
    this.context.fillStyle = '#fff';
    const radius = height / 12;
    const angle = (now / 1000) * Math.PI;
    this.context.beginPath();
    this.context.arc(width / 2 + Math.cos(angle) * width * 0.3, height * 0.6, radius, 0, 2 * Math.PI);
    this.context.fill();
    this.context.font = `${Math.round(height / 14)}px sans-serif`;
    this.context.fillText(new Date(now).toISOString().slice(11, 23), width * 0.1, height * 0.92);
    drawCounter(this.context, now, width);
    const frame = new VideoFrame(this.canvas, { timestamp: now * 1000 });
    this.video.encode(frame, { keyFrame: this.pictures++ % groupLength === 0 });
    frame.close();
  }

  private play(): void {
    while (this.startMs + (this.packets + 1) * packetMs <= Date.now()) {
      const frames = (sampleRate * packetMs) / 1000;
      const samples = new Float32Array(frames * 2);
      for (let i = 0; i < frames; i++) {
        const phase = 2 * Math.PI * this.options.toneHz * ((this.packets * frames + i) / sampleRate);
        samples[i] = samples[frames + i] = 0.25 * Math.sin(phase);
      }
      const data = new AudioData({
        format: 'f32-planar',
        sampleRate,
        numberOfFrames: frames,
        numberOfChannels: 2,
        timestamp: (this.startMs + this.packets * packetMs) * 1000,
        data: samples,
      });
      this.audio.encode(data);
      data.close();
      this.packets++;
    }
  }

  /** Writes an Object, in a new Group when it is the first of one, after a random part of the jitter. */
  private write(
    name: string,
    first: boolean,
    timestampUs: number,
    payload: Uint8Array,
    config?: Uint8Array,
  ): void {
    const properties = writeLoc({ timestampUs, videoConfig: first ? config : undefined });
    const group = this.groups.get(name) ?? { writer: undefined, objects: 0 };
    this.groups.set(name, group);
    group.objects = first ? 1 : group.objects + 1;
    const send = (): void => {
      if (this.closed) return;
      if (first) group.writer = this.tracks.get(name)?.newGroup();
      group.writer?.writeObject(payload, properties);
    };
    // A later Object of a Track never overtakes an earlier one.
    const line = this.lines.get(name) ?? Promise.resolve();
    const wait = this.options.jitterMs === 0 ? Promise.resolve() : sleep(Math.random() * this.options.jitterMs);
    this.lines.set(name, Promise.all([line, wait]).then(send));
  }
}
