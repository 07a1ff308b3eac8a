/** The HTTP side of watching: what the server offers, who is live, and the token that admits a viewer. */

/** /config.json: what a page needs to know of its server. */
export interface ServerConfig {
  /** Where MoQ sessions are accepted, best first. */
  readonly moq: readonly string[];
  /** SHA-256 in hex of a certificate that no authority signed. */
  readonly certificateHash: string | undefined;
  /** The path under which each room has its LL-HLS playlist, or undefined when there is none. */
  readonly hls: string | undefined;
}

/** What admits a viewer to a room's broadcast. */
export interface ViewerToken {
  /** Overrides the server's list of MoQ addresses. */
  readonly url: string | undefined;
  readonly token: string;
  /** When it can no longer be used, in ms since the epoch; NaN when the server does not say. */
  readonly expiresMs: number;
}

/** A room that is live, as the lobby shows it. */
export interface LiveRoom {
  readonly room: string;
  readonly title: string;
  readonly startedAt: Date | undefined;
  /** Undefined where the server does not know. */
  readonly viewers: number | undefined;
  readonly codecs: readonly string[];
}

/** An answer of the API that is no success. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** HTTP status, or 0 when there was no answer. */
    readonly status: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** An answer should come within this time; a page that waits longer shows nothing. */
const timeoutMs = 8000;

/** Reads /config.json. Throws {@link ApiError}. */
export async function fetchConfig(signal?: AbortSignal): Promise<ServerConfig> {
  const json = await request('/config.json', {}, signal);
  return {
    moq: list(json['moq']).filter((url) => typeof url === 'string'),
    certificateHash: text(json['certificate_sha256']),
    hls: text(json['hls']),
  };
}

/** Asks for a token to watch a room. Throws {@link ApiError}: 404 when there is no such room. */
export async function requestToken(room: string, signal?: AbortSignal): Promise<ViewerToken> {
  const json = await request(
    `/v1/rooms/${encodeURIComponent(room)}/tokens`,
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' },
    signal,
  );
  const token = text(json['token']);
  if (token === undefined) throw new ApiError(0, 'the answer holds no token');
  return { token, url: text(json['url']), expiresMs: Date.parse(text(json['expires']) ?? '') };
}

/** Lists the rooms that are live. Throws {@link ApiError}. */
export async function fetchLiveRooms(signal?: AbortSignal): Promise<LiveRoom[]> {
  const json = await request('/v1/rooms?live=1', {}, signal);
  const rooms: LiveRoom[] = [];
  for (const entry of list(json['rooms'])) {
    if (!isObject(entry)) continue;
    const room = text(entry['room']);
    if (room === undefined || entry['live'] === false) continue;
    const startedAt = new Date(text(entry['started_at']) ?? NaN);
    rooms.push({
      room,
      title: text(entry['title']) ?? room,
      startedAt: Number.isNaN(startedAt.getTime()) ? undefined : startedAt,
      viewers: typeof entry['viewers'] === 'number' ? entry['viewers'] : undefined,
      codecs: list(entry['codecs']).filter((codec) => typeof codec === 'string'),
    });
  }
  return rooms;
}

async function request(path: string, init: RequestInit, signal?: AbortSignal): Promise<Record<string, unknown>> {
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let json: unknown;
  try {
    response = await fetch(path, {
      ...init,
      cache: 'no-store',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    json = response.ok ? await response.json() : undefined;
  } catch (error) {
    throw new ApiError(0, 'the server cannot be reached', { cause: error });
  }
  if (!response.ok) throw new ApiError(response.status, `${path} answered ${response.status}`);
  if (!isObject(json)) throw new ApiError(0, `${path} answered no JSON object`);
  return json;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}
