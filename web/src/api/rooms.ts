import { objects, quantity, text, texts, type Json } from '../json.ts';
import { ApiError, request } from './http.ts';

/** A room that is open to all. */
export interface Room {
  readonly room: string;
  readonly title: string;
  readonly live: boolean;
  /** When the broadcast began; undefined when there is none. */
  readonly startedAt: Date | undefined;
  /** Undefined where the server does not know. */
  readonly viewers: number | undefined;
  readonly codecs: readonly string[];
}

/** What admits somebody to a room's broadcast. */
export interface Token {
  /** Overrides the server's list of MoQ addresses. */
  readonly url: string | undefined;
  readonly token: string;
  /** When it can no longer be used, in ms since the epoch; NaN when the server does not say. */
  readonly expiresMs: number;
}

/** Lists the rooms by name, or only those that are live. Throws ApiError. */
export async function fetchRooms(which: 'all' | 'live', signal?: AbortSignal): Promise<Room[]> {
  const json = await request(which === 'live' ? '/v1/rooms?live=1' : '/v1/rooms', {}, signal);
  return objects(json['rooms']).map(readRoom).filter((room) => room !== undefined);
}

/** Looks one room up. Throws ApiError: 404 when there is none of that name that is open to all. */
export async function fetchRoom(room: string, signal?: AbortSignal): Promise<Room> {
  const found = readRoom(await request(`/v1/rooms/${encodeURIComponent(room)}`, {}, signal));
  if (found === undefined) throw new ApiError(0, 'The answer is no room.');
  return found;
}

/**
 * Asks for a token to watch a room, or with its stream key to publish in it as well. Throws ApiError: 404 when there is
 * no such room, 401 when the key is wrong.
 */
export async function requestToken(
  room: string,
  options: { readonly streamKey?: string; readonly signal?: AbortSignal } = {},
): Promise<Token> {
  const { streamKey, signal } = options;
  const json = await request(
    `/v1/rooms/${encodeURIComponent(room)}/tokens`,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ stream_key: streamKey }),
    },
    signal,
  );
  const token = text(json['token']);
  if (token === undefined) throw new ApiError(0, 'The answer holds no token.');
  return { token, url: text(json['url']), expiresMs: Date.parse(text(json['expires']) ?? '') };
}

function readRoom(json: Json): Room | undefined {
  const room = text(json['room']);
  if (room === undefined) return undefined;
  const live = json['live'] === true;
  const startedAt = new Date(text(json['started_at']) ?? NaN);
  return {
    room,
    title: text(json['title']) ?? room,
    live,
    // A room that is offline has the zero time.
    startedAt: !live || Number.isNaN(startedAt.getTime()) ? undefined : startedAt,
    viewers: quantity(json['viewers']),
    codecs: texts(json['codecs']),
  };
}
