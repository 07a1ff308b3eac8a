/**
 * Catalogs that describe a broadcast's Tracks: that of the MOQT Streaming Format (draft-ietf-moq-msf, section 5) on the
 * Track `catalog`, and that of hang (draft-lcurley-moq-hang) on `catalog.json`.
 */

/** Names of the catalog Tracks. */
export const CATALOG_TRACK = { msf: 'catalog', hang: 'catalog.json' } as const;

/** The release of MSF that is written. */
const MSF_VERSION = 'draft-01';

interface TrackFields {
  readonly name: string;
  /** RFC 6381, as WebCodecs names it. */
  readonly codec: string;
  /** The decoder's configuration record, if the codec has one outside its frames. */
  readonly description: Uint8Array | undefined;
  /** Bits per second at most. */
  readonly bitrate: number;
}

export interface VideoTrackFields extends TrackFields {
  readonly kind: 'video';
  readonly width: number;
  readonly height: number;
  readonly framerate: number;
}

export interface AudioTrackFields extends TrackFields {
  readonly kind: 'audio';
  readonly sampleRate: number;
  readonly channels: number;
}

/** A live Track in LOC packaging. */
export type CatalogEntry = VideoTrackFields | AudioTrackFields;

/** The MSF catalog of a live broadcast. generatedAtMs: Unix time in milliseconds. */
export function msfCatalog(entries: readonly CatalogEntry[], generatedAtMs: number): Uint8Array {
  const initDataList: { id: string; type: 'inline'; data: string }[] = [];
  const tracks = entries.map((entry) => {
    let initRef: string | undefined;
    if (entry.description) {
      initRef = `init${initDataList.length}`;
      initDataList.push({ id: initRef, type: 'inline', data: toBase64(entry.description) });
    }
    return {
      name: entry.name,
      packaging: 'loc',
      isLive: true,
      role: entry.kind,
      renderGroup: 1,
      ...(initRef ? { initRef } : {}),
      codec: entry.codec,
      bitrate: entry.bitrate,
      ...(entry.kind === 'video'
        ? { width: entry.width, height: entry.height, framerate: entry.framerate }
        : { samplerate: entry.sampleRate, channelConfig: String(entry.channels) }),
    };
  });
  // "The Initialization Data List, if present, MUST be located after the tracks array".
  return json({
    version: MSF_VERSION,
    generatedAt: generatedAtMs,
    tracks,
    ...(initDataList.length > 0 ? { initDataList } : {}),
  });
}

/** The MSF catalog that ends a broadcast for good: "isComplete as TRUE and [...] an empty Tracks field". */
export function msfCompleteCatalog(generatedAtMs: number): Uint8Array {
  return json({ version: MSF_VERSION, generatedAt: generatedAtMs, isComplete: true, tracks: [] });
}

/** The hang catalog. */
export function hangCatalog(entries: readonly CatalogEntry[]): Uint8Array {
  const video: Record<string, unknown> = {};
  const audio: Record<string, unknown> = {};
  let display: { width: number; height: number } | undefined;
  for (const entry of entries) {
    const common = {
      codec: entry.codec,
      container: { kind: 'loc' },
      ...(entry.description ? { description: toHex(entry.description) } : {}),
      bitrate: entry.bitrate,
    };
    if (entry.kind === 'video') {
      const { width, height, framerate } = entry;
      video[entry.name] = { ...common, codedWidth: width, codedHeight: height, framerate };
      if (!display || display.width < width) display = { width, height };
    } else {
      audio[entry.name] = { ...common, sampleRate: entry.sampleRate, numberOfChannels: entry.channels };
    }
  }
  return json({
    ...(display ? { video: { renditions: video, display } } : {}),
    ...(Object.keys(audio).length > 0 ? { audio: { renditions: audio } } : {}),
  });
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
