import type Hls from 'hls.js';
import { Backoff } from '../backoff.ts';
import { requestToken } from '../api/rooms.ts';
import type { LatencyMode } from './clock.ts';
import { noStats, type Engine, type EngineEvents } from './engine.ts';
import type { GlassToGlass, PlaybackStats } from './messages.ts';
import { CounterMeter } from './meter.ts';
import type { Sound } from './sound.ts';
import { KeptToken } from './kept_token.ts';

/** The type of a multivariant playlist, by which a browser tells whether it plays HLS itself. */
const playlistType = 'application/vnd.apple.mpegurl';

/** No progress for so long, while playing, is a stall. */
const stallMs = 700;

/** Latency that each mode asks for, in seconds; undefined is what the playlist recommends (PART-HOLD-BACK). */
const modeSeconds: Record<LatencyMode, number | undefined> = { low: undefined, balanced: 3, smooth: 6 };

/** How this browser can play HLS: with its own player, with hls.js, or not at all. */
export function hlsSupport(): 'native' | 'script' | undefined {
  if (typeof MediaSource !== 'undefined' || 'ManagedMediaSource' in globalThis) return 'script';
  return document.createElement('video').canPlayType(playlistType) === '' ? undefined : 'native';
}

/** Whether a codec plays in HLS here. */
export function canPlayInHls(codec: string): boolean {
  if (hlsSupport() === 'native') return true;
  return typeof MediaSource !== 'undefined' && MediaSource.isTypeSupported(`video/mp4; codecs="${codec}"`);
}

/**
 * Plays a room's LL-HLS playlist: with hls.js where there are Media Source Extensions, which loads parts before they make
 * up a segment, else with the browser's own player.
 */
export class HlsEngine implements Engine {
  readonly transport = 'hls';
  readonly element = document.createElement('video');
  private readonly url: string;
  private readonly backoff = new Backoff({ firstMs: 500, maxMs: 5000, steadyMs: 10_000 });
  private hls: Hls | undefined;
  private paused = false;
  private closed = false;
  private codecs: { video: string | undefined; audio: string | undefined } = { video: undefined, audio: undefined };
  private mode: LatencyMode;
  private leaveSound: (() => void) | undefined;
  private meter: CounterMeter | undefined;
  private measuring = false;
  private readonly token: KeptToken;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly watch: ReturnType<typeof setInterval>;
  private progress = { time: 0, atMs: Date.now(), stalled: false };
  private playedOnce = false;
  private presented = 0;
  private presentedTimes: number[] = [];
  private readonly counts = { stalls: 0, reconnects: 0, bytes: 0 };

  constructor(
    private readonly options: {
      readonly room: string;
      /** The path under which rooms have their playlists. */
      readonly base: string;
      readonly mode: LatencyMode;
      readonly sound: Sound;
      readonly events: EngineEvents;
    },
  ) {
    this.url = `${options.base.replace(/\/$/, '')}/${encodeURIComponent(options.room)}/index.m3u8`;
    this.token = new KeptToken(() => requestToken(options.room));
    this.mode = options.mode;
    this.element.playsInline = true;
    this.element.autoplay = true;
    this.element.disableRemotePlayback = true;
    // Without a running audio context an element that sounds through it would stand still: it starts mute, on its own.
    this.element.muted = true;
    this.element.addEventListener('playing', () => this.playing());
    this.watch = setInterval(() => this.review(), 250);
    this.countFrames();
    this.options.events.status({ kind: 'connecting' });
    void this.start();
  }

  get stats(): PlaybackStats {
    const quality = this.element.getVideoPlaybackQuality();
    const now = Date.now();
    const recent = this.presentedTimes.filter((time) => now - time < 2000).length;
    const buffered = this.element.buffered;
    const end = buffered.length === 0 ? 0 : buffered.end(buffered.length - 1);
    const bufferMs = Math.max(0, end - this.element.currentTime) * 1000;
    return {
      ...noStats,
      videoCodec: this.codecs.video,
      audioCodec: this.codecs.audio,
      width: this.element.videoWidth,
      height: this.element.videoHeight,
      fps: recent / 2,
      latencyMs: this.latencyMs(now),
      videoBufferMs: bufferMs,
      audioBufferMs: bufferMs,
      paintedFrames: this.presented,
      droppedFrames: quality.droppedVideoFrames,
      stalls: this.counts.stalls,
      reconnects: this.counts.reconnects,
      bytesReceived: this.counts.bytes,
      glassToGlass: this.glassToGlass(),
    };
  }

  setMode(mode: LatencyMode): void {
    this.mode = mode;
    if (this.hls === undefined) return;
    const seconds = modeSeconds[mode];
    if (seconds === undefined) delete this.hls.config.liveSyncDuration;
    else this.hls.config.liveSyncDuration = seconds;
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    if (paused) {
      this.element.pause();
      return;
    }
    // Who comes back from a pause of a live picture wants what is live.
    const live = this.hls?.liveSyncPosition;
    if (live != null && live - this.element.currentTime > 1) this.element.currentTime = live;
    this.play();
  }

  soundChanged(): void {
    const { sound } = this.options;
    if (!sound.running) return;
    this.leaveSound ??= sound.adopt(this.element);
    this.element.muted = false;
  }

  counter(): number | null {
    this.meter ??= new CounterMeter();
    return this.meter.read(this.element, this.element.videoWidth);
  }

  measure(): void {
    this.measuring = true;
    this.meter ??= new CounterMeter();
  }

  glassToGlass(): GlassToGlass {
    return this.meter?.percentiles ?? noStats.glassToGlass;
  }

  close(): void {
    this.closed = true;
    clearInterval(this.watch);
    clearTimeout(this.retry);
    this.leaveSound?.();
    this.token.close();
    this.hls?.destroy();
    this.element.removeAttribute('src');
    this.element.load();
  }

  private async start(): Promise<void> {
    await this.token.ready();
    if (this.closed) return;
    if (hlsSupport() !== 'script') {
      this.element.src = this.token.value === undefined ? this.url : `${this.url}?jwt=${encodeURIComponent(this.token.value)}`;
      this.element.onerror = () => this.failed('the playlist cannot be played');
      this.play();
      return;
    }
    // hls.js is half a megabyte that a MoQ viewer never downloads.
    const { default: HlsClass } = await import('hls.js');
    if (this.closed) return;
    const seconds = modeSeconds[this.mode];
    const hls = new HlsClass({
      lowLatencyMode: true,
      backBufferLength: 10,
      xhrSetup: (xhr) => {
        if (this.token.value !== undefined) xhr.setRequestHeader('Authorization', `Bearer ${this.token.value}`);
      },
      // With less it never catches up with a live edge that it began behind of.
      maxLiveSyncPlaybackRate: 1.25,
      ...(seconds === undefined ? {} : { liveSyncDuration: seconds }),
    });
    this.hls = hls;
    hls.on(HlsClass.Events.LEVEL_SWITCHED, (_event, { level }) => {
      const details = hls.levels[level];
      this.codecs = { video: details?.videoCodec, audio: details?.audioCodec };
    });
    hls.on(HlsClass.Events.FRAG_LOADED, (_event, { frag, part }) => {
      this.counts.bytes += (part ?? frag).stats.loaded;
    });
    hls.on(HlsClass.Events.ERROR, (_event, error) => {
      if (!error.fatal) return;
      if (error.details === HlsClass.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
        this.options.events.undecodable(hls.levels.map((level) => level.videoCodec ?? '').filter((codec) => codec !== ''));
      }
      if (error.type === HlsClass.ErrorTypes.MEDIA_ERROR && this.playedOnce && this.counts.stalls < 100) {
        this.counts.stalls++;
        hls.recoverMediaError();
        return;
      }
      this.failed(error.details, error.response?.code);
    });
    hls.attachMedia(this.element);
    hls.loadSource(this.url);
    this.play();
  }

  private play(): void {
    if (this.paused) return;
    this.element.play().catch(() => {
      // Refused, or interrupted by a new source: the watch tries again.
    });
  }

  private playing(): void {
    this.playedOnce = true;
    this.backoff.works(Date.now());
    this.options.events.status({ kind: 'live' });
  }

  /** Starts over after a while: the broadcast has ended, or the server went away. */
  private failed(reason: string, httpStatus?: number): void {
    if (this.closed || this.retry !== undefined) return;
    this.hls?.destroy();
    this.hls = undefined;
    if (this.playedOnce) this.counts.reconnects++;
    this.options.events.status(
      httpStatus === 404 ? { kind: 'offline' } : { kind: this.playedOnce ? 'reconnecting' : 'connecting', reason },
    );
    this.retry = setTimeout(() => {
      this.retry = undefined;
      void this.start();
    }, this.backoff.next(Date.now()));
  }

  private review(): void {
    const now = Date.now();
    const time = this.element.currentTime;
    if (time !== this.progress.time || this.paused || !this.playedOnce) {
      if (this.progress.stalled) this.options.events.status({ kind: 'live' });
      this.progress = { time, atMs: now, stalled: false };
    } else if (!this.progress.stalled && now - this.progress.atMs > stallMs) {
      this.progress.stalled = true;
      this.counts.stalls++;
      this.options.events.status({ kind: 'reconnecting', reason: 'the playlist does not go on' });
    }
    if (!this.paused && this.element.paused && this.element.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.play();
  }

  /** Wall-clock age of what is shown, by EXT-X-PROGRAM-DATE-TIME. */
  private latencyMs(nowMs: number): number | null {
    const date = this.hls?.playingDate;
    if (date != null) return nowMs - date.getTime();
    const start = (this.element as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.().getTime();
    return start === undefined || Number.isNaN(start) ? null : nowMs - start - this.element.currentTime * 1000;
  }

  private countFrames(): void {
    if (!('requestVideoFrameCallback' in this.element)) return;
    const presented = (): void => {
      if (this.closed) return;
      const now = Date.now();
      this.presented++;
      this.presentedTimes.push(now);
      while ((this.presentedTimes[0] ?? now) < now - 2000) this.presentedTimes.shift();
      if (this.measuring) this.meter?.sample(this.element, this.element.videoWidth, now);
      this.element.requestVideoFrameCallback(presented);
    };
    this.element.requestVideoFrameCallback(presented);
  }
}
