/**
 * What a catalog says of a broadcast, in whichever form it is written: that of the MOQT Streaming Format (msf.ts) on the
 * Track `catalog`, that of hang (hang.ts) on `catalog.json`.
 */

/** Names of the catalog Tracks. */
export const CATALOG_TRACK = { msf: 'catalog', hang: 'catalog.json' } as const;

/** What a player needs to know of a Track in LOC packaging. */
export interface CatalogTrack {
  readonly name: string;
  readonly kind: 'video' | 'audio';
  /** RFC 6381 or WebCodecs codec string. */
  readonly codec: string;
  readonly live: boolean;
  readonly label?: string | undefined;
  /** Tracks of one group are meant to be played together. */
  readonly renderGroup?: number | undefined;
  /** Tracks of one group are alternatives. */
  readonly altGroup?: number | undefined;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly framerate?: number | undefined;
  readonly sampleRate?: number | undefined;
  readonly channels?: number | undefined;
  /** Bits per second at most. */
  readonly bitrate?: number | undefined;
  /** The decoder's configuration record, if the codec has one outside its frames and the catalog carries it. */
  readonly description?: Uint8Array | undefined;
}

/** The Tracks of a broadcast that can be played, in the publisher's order. */
export interface Catalog {
  readonly tracks: readonly CatalogTrack[];
  /** The broadcast is over and nothing will be added. */
  readonly complete: boolean;
}

/** A catalog that cannot be used. */
export class CatalogError extends Error {
  override readonly name = 'CatalogError';
}
