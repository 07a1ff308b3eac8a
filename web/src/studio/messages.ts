/** What the studio's page and its worker say to each other. */

export type CodecChoice = 'auto' | 'av1' | 'hevc' | 'h264' | 'vp9' | 'vp8';

/** How pictures are encoded. */
export interface VideoSettings {
  readonly codec: CodecChoice;
  /** The largest size; a source of another shape is fitted into it. */
  readonly width: number;
  readonly height: number;
  readonly framerate: number;
  /** Bits per second. */
  readonly bitrate: number;
}

/** How sound is encoded. */
export interface AudioSettings {
  /** Bits per second. */
  readonly bitrate: number;
}

/** Where pictures and sound come from: streams from the page's capture, or the worker's own test pattern. */
export type WorkerSource =
  | {
      readonly kind: 'capture';
      readonly video: ReadableStream<VideoFrame> | undefined;
      readonly audio: ReadableStream<AudioData> | undefined;
    }
  | {
      readonly kind: 'pattern';
      /** The preview, on which the pattern is drawn. */
      readonly canvas: OffscreenCanvas;
    };

export type ToWorker =
  | {
      readonly type: 'start';
      readonly room: string;
      readonly streamKey: string;
      readonly takeover: boolean;
      readonly video: VideoSettings;
      readonly audio: AudioSettings;
      readonly source: WorkerSource;
    }
  | { readonly type: 'stop' };

/** How the broadcast stands. */
export type StudioState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live'; readonly since: number }
  /** The connection was lost; the next attempt is at retryAt (Unix time in milliseconds). */
  | { readonly kind: 'reconnecting'; readonly reason: string; readonly retryAt: number }
  /** It is over and will not come back by itself. */
  | { readonly kind: 'ended'; readonly failure: StudioFailure | undefined };

/** Why a broadcast failed. `busy`: somebody else is live in the room, and may be taken over. */
export interface StudioFailure {
  readonly kind: 'key' | 'busy' | 'codec' | 'source' | 'other';
  readonly message: string;
}

/** Numbers for the streamer, over the last second. */
export interface StudioStats {
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly framesPerSecond: number;
  /** Frames that were not encoded because the encoder lagged, in all. */
  readonly framesDropped: number;
  /** Groups given up because the network lagged, in all. */
  readonly groupsDropped: number;
  /** Bits per second that left. */
  readonly bitrate: number;
  /** Bits per second that the encoder aims at now. */
  readonly targetBitrate: number;
  /** Milliseconds that the oldest unsent frame has waited. */
  readonly queueMs: number;
}

export type FromWorker =
  | { readonly type: 'state'; readonly state: StudioState }
  | { readonly type: 'stats'; readonly stats: StudioStats };
