/**
 * The catalog of the MOQT Streaming Format (draft-ietf-moq-msf, section 5): which Tracks a broadcast has and how to
 * decode them. The first Object of a Group is a whole catalog, the ones after it change it.
 */

import { isObject, objects, quantity, text, type Json } from '../json.ts';
import { CatalogError, type Catalog, type CatalogTrack } from './catalog.ts';

/** The release that is written. */
const writtenVersion = 'draft-01';

/**
 * Writes a whole catalog. generatedAtMs: Unix time in milliseconds. One that is complete has no Tracks left: it is
 * "isComplete as TRUE and [...] an empty Tracks field" that ends a broadcast for good.
 */
export function writeMsf(catalog: Catalog, generatedAtMs: number): Uint8Array {
  const initDataList: { id: string; type: 'inline'; data: string }[] = [];
  const tracks = catalog.tracks.map((track) => {
    let initRef: string | undefined;
    if (track.description) {
      initRef = `init${initDataList.length}`;
      initDataList.push({ id: initRef, type: 'inline', data: btoa(String.fromCharCode(...track.description)) });
    }
    return {
      name: track.name,
      packaging: 'loc',
      isLive: track.live,
      role: track.kind,
      label: track.label,
      renderGroup: track.renderGroup,
      altGroup: track.altGroup,
      initRef,
      codec: track.codec,
      bitrate: track.bitrate,
      width: track.width,
      height: track.height,
      framerate: track.framerate,
      samplerate: track.sampleRate,
      channelConfig: track.channels?.toString(),
    };
  });
  // JSON leaves out what is undefined. "The Initialization Data List, if present, MUST be located after the tracks
  // array".
  return new TextEncoder().encode(
    JSON.stringify({
      version: writtenVersion,
      generatedAt: generatedAtMs,
      isComplete: catalog.complete ? true : undefined,
      tracks: catalog.complete ? [] : tracks,
      initDataList: catalog.complete || initDataList.length === 0 ? undefined : initDataList,
    }),
  );
}

/** A catalog lists tens of Tracks of a few hundred bytes each. */
const maxBytes = 256 * 1024;
const maxTracks = 128;

/** The releases whose fields this reader understands. */
const knownVersion = /^(1|draft-0\d)$/;

/** Follows a catalog Track: holds the state that changes apply to. */
export class MsfReader {
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

function fromBase64(data: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
