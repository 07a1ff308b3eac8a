/**
 * The catalog of a broadcast (MOQT Streaming Format, draft-ietf-moq-msf, section 5): which Tracks there are and how to
 * decode them. The first Object of a Group is a whole catalog, the ones after it change it.
 */

/** What a player needs to know of a Track. */
export interface CatalogTrack {
  readonly name: string;
  readonly kind: 'video' | 'audio';
  /** RFC 6381 or WebCodecs codec string. */
  readonly codec: string;
  readonly live: boolean;
  readonly label: string | undefined;
  readonly renderGroup: number | undefined;
  readonly altGroup: number | undefined;
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly framerate: number | undefined;
  readonly sampleRate: number | undefined;
  readonly channels: number | undefined;
  /** Bits per second at most. */
  readonly bitrate: number | undefined;
  /** The decoder's configuration record, where the catalog carries it inline. */
  readonly description: Uint8Array | undefined;
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

/** A catalog lists tens of Tracks of a few hundred bytes each. */
const maxBytes = 256 * 1024;
const maxTracks = 128;

/** The releases whose fields this reader understands. */
const knownVersion = /^(1|draft-0\d)$/;

type Json = { readonly [field: string]: unknown };

/** Follows a catalog Track: holds the state that changes apply to. */
export class CatalogReader {
  private root: Json | undefined;

  /**
   * Takes the Objects of one Group in order and returns the catalog after each.
   * Throws {@link CatalogError}; the state is then as before.
   */
  read(objectId: number, payload: Uint8Array): Catalog {
    if (payload.length > maxBytes) throw new CatalogError(`the catalog has ${payload.length} bytes`);
    const json = parse(payload);
    if (Array.isArray(json['deltaUpdate'])) {
      if (objectId === 0) throw new CatalogError('a Group began with a change');
      if (this.root === undefined) throw new CatalogError('a change came before a catalog');
      return this.adopt(applyChanges(this.root, json['deltaUpdate'], json));
    }
    const version = json['version'];
    if (!knownVersion.test(String(version))) throw new CatalogError(`catalog version ${String(version)} is unknown`);
    return this.adopt(json);
  }

  private adopt(root: Json): Catalog {
    const catalog = interpret(root);
    this.root = root;
    return catalog;
  }
}

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

function parse(payload: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (error) {
    throw new CatalogError('the catalog is no JSON', { cause: error });
  }
  if (!isObject(value)) throw new CatalogError('the catalog is no JSON object');
  return value;
}

/** Applies the operations of a delta update in order. */
function applyChanges(root: Json, changes: readonly unknown[], update: Json): Json {
  let tracks = objects(root['tracks']);
  for (const change of changes) {
    if (!isObject(change)) throw new CatalogError('a change is no object');
    const subjects = objects(change['tracks']);
    const op = change['op'];
    for (const subject of subjects) {
      // Operations that build on a Track name it as the parent; an update that names it plainly means the same.
      const parent = subject['parentName'] ?? subject['name'];
      const found = tracks.find((track) => track['name'] === parent);
      switch (op) {
        case 'add':
          tracks = [...tracks, subject];
          break;
        case 'remove':
          tracks = tracks.filter((track) => track['name'] !== subject['name']);
          break;
        case 'clone':
          if (found === undefined) throw new CatalogError(`a clone of ${String(parent)}, which does not exist`);
          tracks = [...tracks, { ...found, ...withoutParent(subject) }];
          break;
        case 'update':
          if (found === undefined) throw new CatalogError(`an update of ${String(parent)}, which does not exist`);
          tracks = tracks.map((track) => (track === found ? { ...track, ...withoutParent(subject) } : track));
          break;
        default:
          throw new CatalogError(`unknown operation ${String(op)}`);
      }
      if (tracks.length > maxTracks) throw new CatalogError(`the catalog has ${tracks.length} tracks`);
    }
  }
  const initDataList = [...objects(root['initDataList']), ...objects(update['initDataList'])].slice(-maxTracks);
  return { ...root, tracks, initDataList, isComplete: root['isComplete'] === true || update['isComplete'] === true };
}

function withoutParent(track: Json): Json {
  const { parentName: _name, parentNamespace: _namespace, ...rest } = track;
  return rest;
}

function interpret(root: Json): Catalog {
  const tracks = objects(root['tracks']);
  if (tracks.length > maxTracks) throw new CatalogError(`the catalog has ${tracks.length} tracks`);
  const inline = new Map<string, string>();
  for (const entry of objects(root['initDataList'])) {
    const id = text(entry['id']);
    const data = text(entry['data']);
    if (entry['type'] === 'inline' && id !== undefined && data !== undefined) inline.set(id, data);
  }
  const playable: CatalogTrack[] = [];
  for (const track of tracks) {
    const name = text(track['name']);
    const codec = text(track['codec']);
    if (name === undefined || codec === undefined || track['packaging'] !== 'loc') continue;
    const kind = kindOf(track);
    if (kind === undefined) continue;
    const reference = text(track['initRef']);
    const data = reference === undefined ? undefined : inline.get(reference);
    playable.push({
      name,
      kind,
      codec,
      live: track['isLive'] !== false,
      label: text(track['label']),
      renderGroup: quantity(track['renderGroup']),
      altGroup: quantity(track['altGroup']),
      width: quantity(track['width']),
      height: quantity(track['height']),
      framerate: quantity(track['framerate']),
      sampleRate: quantity(track['samplerate']),
      channels: channelCount(track['channelConfig']),
      bitrate: quantity(track['bitrate']),
      description: data === undefined ? undefined : fromBase64(data),
    });
  }
  return { tracks: playable, complete: root['isComplete'] === true };
}

/** Whether a Track is a picture or sound to play: by its role, else by what only one of them has. */
function kindOf(track: Json): CatalogTrack['kind'] | undefined {
  const role = track['role'];
  if (role === 'video' || role === 'audio') return role;
  if (role !== undefined) return undefined;
  if (quantity(track['samplerate']) !== undefined) return 'audio';
  return quantity(track['width']) === undefined ? undefined : 'video';
}

/** The number of channels: MSF carries a string whose form it leaves open; a number and CICP's 5.1 are common. */
function channelCount(value: unknown): number | undefined {
  if (typeof value === 'number') return quantity(value);
  if (typeof value !== 'string') return undefined;
  if (value === 'mono') return 1;
  if (value === 'stereo') return 2;
  const digits = /^(\d+)(?:\.(\d+))?$/.exec(value);
  return digits === null ? undefined : quantity(Number(digits[1]) + Number(digits[2] ?? 0));
}

function objects(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}

function quantity(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function fromBase64(data: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
