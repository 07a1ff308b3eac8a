import type { VideoSettings } from './messages.ts';

/** What the streamer shows. */
export type SourceKind = 'camera' | 'screen' | 'pattern';

/** What a browser can capture for the encoder. */
export function canCapture(): boolean {
  return typeof MediaStreamTrackProcessor !== 'undefined' && !!navigator.mediaDevices;
}

/** Why this browser cannot publish at all, or undefined when it can. */
export function missingForPublishing(): string | undefined {
  const missing = [
    typeof WebTransport === 'undefined' ? 'WebTransport' : undefined,
    typeof VideoEncoder === 'undefined' || typeof AudioEncoder === 'undefined' ? 'WebCodecs encoders' : undefined,
    'transferControlToOffscreen' in HTMLCanvasElement.prototype ? undefined : 'canvases for workers',
  ].filter((name) => name !== undefined);
  if (missing.length === 0) return undefined;
  const where = window.isSecureContext ? '' : ' They are only there on pages loaded over HTTPS or from this machine.';
  return `Going live from this browser needs ${missing.join(' and ')}, which it does not have.${where}`;
}

// Chromium's processor hands a track's frames to a stream; the DOM's types do not have it.
declare const MediaStreamTrackProcessor: {
  new (init: { track: MediaStreamTrack; maxBufferSize?: number }): { readonly readable: ReadableStream };
};

/** A running capture. */
export interface Capture {
  /** For the preview. */
  readonly stream: MediaStream;
  readonly video: ReadableStream<VideoFrame> | undefined;
  readonly audio: ReadableStream<AudioData> | undefined;
  /** Lets the devices go. */
  stop(): void;
}

/** Asks for camera and microphone, or for the screen with its sound. Rejects with an Error that a person can read. */
export async function openCapture(kind: 'camera' | 'screen', settings: VideoSettings): Promise<Capture> {
  const video = {
    width: { ideal: settings.width },
    height: { ideal: settings.height },
    frameRate: { ideal: settings.framerate, max: settings.framerate },
  };
  let stream: MediaStream;
  try {
    stream =
      kind === 'camera'
        ? await navigator.mediaDevices.getUserMedia({ video, audio: true })
        : await navigator.mediaDevices.getDisplayMedia({ video, audio: true });
  } catch (error) {
    throw new Error(captureFailure(kind, error), { cause: error });
  }
  return {
    stream,
    video: processed<VideoFrame>(stream.getVideoTracks()[0], 3),
    audio: processed<AudioData>(stream.getAudioTracks()[0], 50),
    stop: () => {
      for (const track of stream.getTracks()) track.stop();
    },
  };
}

/** maxBuffer: frames that wait for the worker; then the oldest are dropped. */
function processed<T>(track: MediaStreamTrack | undefined, maxBuffer: number): ReadableStream<T> | undefined {
  if (!track) return undefined;
  return new MediaStreamTrackProcessor({ track, maxBufferSize: maxBuffer }).readable as ReadableStream<T>;
}

function captureFailure(kind: 'camera' | 'screen', error: unknown): string {
  const what = kind === 'camera' ? 'camera and microphone' : 'screen';
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
      return `You, or this browser's settings, did not allow the ${what}.`;
    case 'NotFoundError':
      return kind === 'camera' ? 'No camera and microphone were found.' : 'Nothing to share was found.';
    case 'NotReadableError':
      return `The ${what} cannot be read. Another program may be using it.`;
    default:
      return `The ${what} cannot be used: ${error instanceof Error ? error.message : String(error)}`;
  }
}
