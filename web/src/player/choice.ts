import type { Catalog, CatalogTrack } from '../media/catalog.ts';

/**
 * The Tracks to play: of each kind the best that can be decoded, where best is the most pixels, then the most bits.
 * `undecodable` are the codecs of kinds of which none can be decoded.
 */
export async function chooseTracks(
  catalog: Catalog,
  decodable: (track: CatalogTrack) => Promise<boolean>,
): Promise<{ video: CatalogTrack | undefined; audio: CatalogTrack | undefined; undecodable: string[] }> {
  const undecodable: string[] = [];
  const choose = async (kind: CatalogTrack['kind']): Promise<CatalogTrack | undefined> => {
    const candidates = catalog.tracks.filter((track) => track.kind === kind && track.live);
    // Audio alternatives are rather languages than qualities: the publisher's first is meant.
    if (kind === 'video') candidates.sort((a, b) => pixels(b) - pixels(a) || (b.bitrate ?? 0) - (a.bitrate ?? 0));
    for (const candidate of candidates) if (await decodable(candidate)) return candidate;
    undecodable.push(...new Set(candidates.map((track) => track.codec)));
    return undefined;
  };
  return { video: await choose('video'), audio: await choose('audio'), undecodable };
}

/** Whether two catalog entries describe the same encoding, so that what is playing can go on. */
export function sameEncoding(a: CatalogTrack | undefined, b: CatalogTrack | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.name === b.name && a.codec === b.codec && a.sampleRate === b.sampleRate && a.channels === b.channels
  );
}

function pixels(track: CatalogTrack): number {
  return (track.width ?? 0) * (track.height ?? 0);
}
