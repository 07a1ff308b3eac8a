import type { LatencyMode } from './clock.ts';
import type { GlassToGlass, PlaybackStats, WatchStatus } from './messages.ts';

/** How media reaches this page. */
export type Transport = 'moq' | 'hls';

/** What an engine tells its player. */
export interface EngineEvents {
  status(status: WatchStatus): void;
  /** None of these codecs can be decoded by this engine; empty when what was said before no longer holds. */
  undecodable(codecs: readonly string[]): void;
}

/** One way of playing a room. The player shows its element and closes it when another takes over. */
export interface Engine {
  readonly transport: Transport;
  /** The canvas or video that shows the picture. */
  readonly element: HTMLElement;
  readonly stats: PlaybackStats;
  /** Asks for more or less delay. */
  setMode(mode: LatencyMode): void;
  setPaused(paused: boolean): void;
  /** Called when the audio context starts or stops, and when the volume changes. */
  soundChanged(): void;
  /** The counter in the picture on show. */
  counter(): number | null;
  /** Reads the counter of every picture from now on. */
  measure(): void;
  glassToGlass(): GlassToGlass;
  close(): void;
}

/** The numbers of an engine that has not played yet. */
export const noStats: PlaybackStats = {
  videoCodec: undefined,
  audioCodec: undefined,
  width: 0,
  height: 0,
  fps: 0,
  latencyMs: null,
  jitterMs: 0,
  videoBufferMs: 0,
  audioBufferMs: 0,
  audioLagMs: null,
  decodeMs: 0,
  paintedFrames: 0,
  droppedFrames: 0,
  decodeErrors: 0,
  stalls: 0,
  reconnects: 0,
  skippedGroups: 0,
  bytesReceived: 0,
  glassToGlass: { p50: NaN, p90: NaN, n: 0 },
};
