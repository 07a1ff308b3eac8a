import type { CatalogTrack } from './catalog.ts';

/** Writes the catalog of hang (draft-lcurley-moq-hang). */
export function writeHang(tracks: readonly CatalogTrack[]): Uint8Array {
  const video: Record<string, unknown> = {};
  const audio: Record<string, unknown> = {};
  let display: { width: number; height: number } | undefined;
  for (const { kind, name, codec, description, bitrate, width, height, framerate, sampleRate, channels } of tracks) {
    const common = {
      codec,
      container: { kind: 'loc' },
      description: description && toHex(description),
      bitrate,
    };
    if (kind === 'audio') {
      audio[name] = { ...common, sampleRate, numberOfChannels: channels };
      continue;
    }
    video[name] = { ...common, codedWidth: width, codedHeight: height, framerate };
    if (width !== undefined && height !== undefined && (display?.width ?? 0) < width) display = { width, height };
  }
  // JSON leaves out what is undefined.
  return new TextEncoder().encode(
    JSON.stringify({
      video: Object.keys(video).length > 0 ? { renditions: video, display } : undefined,
      audio: Object.keys(audio).length > 0 ? { renditions: audio } : undefined,
    }),
  );
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
