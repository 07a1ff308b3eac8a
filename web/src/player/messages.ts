import type { SoundBlock, PlayoutReport } from './audio_playout.ts';
import type { LatencyMode } from './clock.ts';

/** What the page, the player's worker and the audio worklet tell one another. */

/** How watching goes. */
export type WatchStatus =
  /** No session yet. */
  | { readonly kind: 'connecting' }
  /** The room exists and nobody is live in it. */
  | { readonly kind: 'offline' }
  /** Media is coming. */
  | { readonly kind: 'live' }
  /** Media came and has stopped; it is being tried again. */
  | { readonly kind: 'reconnecting'; readonly reason: string }
  /** There is no such room. */
  | { readonly kind: 'notFound' }
  /** The server lets no stranger watch this room. */
  | { readonly kind: 'denied' }
  /** MoQ does not work from here. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Latencies from drawing to painting, in milliseconds. */
export interface GlassToGlass {
  readonly p50: number;
  readonly p90: number;
  readonly n: number;
}

/** Numbers about playback, as of the last report. */
export interface PlaybackStats {
  readonly videoCodec: string | undefined;
  readonly audioCodec: string | undefined;
  readonly width: number;
  readonly height: number;
  /** Pictures painted per second, lately. */
  readonly fps: number;
  /** Wall-clock age of the picture painted last, or null when its timestamps are no wall clock. */
  readonly latencyMs: number | null;
  /** How much arrivals scatter beyond the best of them. */
  readonly jitterMs: number;
  readonly videoBufferMs: number;
  readonly audioBufferMs: number;
  /** How far what is heard lags behind what is due, negative when it leads; null while nothing is heard. */
  readonly audioLagMs: number | null;
  /** From a coded picture to a decoded one. */
  readonly decodeMs: number;
  readonly paintedFrames: number;
  readonly droppedFrames: number;
  readonly decodeErrors: number;
  readonly stalls: number;
  readonly reconnects: number;
  readonly skippedGroups: number;
  readonly bytesReceived: number;
  readonly glassToGlass: GlassToGlass;
}

/** From the page to the worker. */
export type WorkerRequest =
  | {
      readonly type: 'start';
      readonly room: string;
      readonly canvas: OffscreenCanvas;
      /** Straight to the audio worklet, so that a busy page delays no sound. */
      readonly sound: MessagePort;
      readonly mode: LatencyMode;
    }
  | { readonly type: 'mode'; readonly mode: LatencyMode }
  /** Whether pictures can be seen, and whether anything is wanted at all. */
  | { readonly type: 'attention'; readonly visible: boolean; readonly paused: boolean }
  /** Whether the audio context runs, and how long it takes from the worklet to the ear. */
  | { readonly type: 'audible'; readonly running: boolean; readonly outputLatencyMs: number }
  /** Read the counter of every painted picture from now on. */
  | { readonly type: 'measure' }
  | { readonly type: 'stop' };

/** From the worker to the page. */
export type WorkerReport =
  | { readonly type: 'status'; readonly status: WatchStatus }
  | { readonly type: 'stats'; readonly stats: PlaybackStats }
  /** None of these codecs can be decoded here; empty when what was said before no longer holds. */
  | { readonly type: 'undecodable'; readonly codecs: readonly string[] };

/** From the worker to the audio worklet. */
export type SoundRequest =
  | { readonly type: 'block'; readonly block: SoundBlock }
  | { readonly type: 'offset'; readonly offsetMs: number | undefined; readonly outputLatencyMs: number }
  | { readonly type: 'flush' };

/** From the audio worklet to the worker. */
export type SoundReport = PlayoutReport;

/** The name under which the audio worklet registers its processor. */
export const processorName = 'freshet-playout';
