import type { GlassToGlass } from './messages.ts';
import type { Player } from './player.ts';

/** What of a player can be read from outside, by `window.freshet`. */
export interface Diagnostics {
  state(): PlayerState;
  /** The counter in the pixels on show; null when there is none. */
  counter(): number | null;
  /**
   * Milliseconds from drawing to painting, for pictures whose counter holds the clock. The first call, or `?measure` in
   * the page's address, begins the measurement.
   */
  glassToGlass(): GlassToGlass;
}

/** A player's numbers as of now. */
export interface PlayerState {
  readonly status: string;
  readonly transport: 'moq' | 'hls';
  /** Codec of the picture, as in the catalog. */
  readonly codec: string | null;
  readonly audioCodec: string | null;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** Wall-clock age of the picture on show by its timestamp. */
  readonly latencyMs: number | null;
  readonly paintedFrames: number;
  readonly droppedFrames: number;
  /** Root mean square of what was played in the last 200 ms, 1 being full scale. */
  readonly audioLevel: number;
  readonly audioFrequencyHz: number;
  /** How far what is heard lags behind what is due; null in silence. */
  readonly audioLagMs: number | null;
  readonly audioBufferMs: number;
  readonly videoBufferMs: number;
  readonly jitterMs: number;
  readonly decodeErrors: number;
  readonly stalls: number;
  readonly reconnects: number;
  readonly skippedGroups: number;
  readonly bytesReceived: number;
  readonly soundBlocked: boolean;
}

declare global {
  interface Window {
    freshet?: Diagnostics;
  }
}

/** Makes a player readable as `window.freshet` until the returned function is called. */
export function installDiagnostics(player: Player): () => void {
  const diagnostics: Diagnostics = {
    state: () => {
      const { status, transport, stats, soundBlocked } = player.view;
      const { level, frequencyHz } = player.measureSound();
      return {
        status: status.kind,
        transport,
        codec: stats.videoCodec ?? null,
        audioCodec: stats.audioCodec ?? null,
        width: stats.width,
        height: stats.height,
        fps: stats.fps,
        latencyMs: stats.latencyMs,
        paintedFrames: stats.paintedFrames,
        droppedFrames: stats.droppedFrames,
        audioLevel: level,
        audioFrequencyHz: frequencyHz,
        audioLagMs: stats.audioLagMs,
        audioBufferMs: stats.audioBufferMs,
        videoBufferMs: stats.videoBufferMs,
        jitterMs: stats.jitterMs,
        decodeErrors: stats.decodeErrors,
        stalls: stats.stalls,
        reconnects: stats.reconnects,
        skippedGroups: stats.skippedGroups,
        bytesReceived: stats.bytesReceived,
        soundBlocked,
      };
    },
    counter: () => player.counter(),
    glassToGlass: () => player.glassToGlass(),
  };
  window.freshet = diagnostics;
  return () => {
    if (window.freshet === diagnostics) delete window.freshet;
  };
}
