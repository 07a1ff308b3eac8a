/** What the dashboard shows, gathered from the API. */

export interface RoomState {
  readonly room: string;
  readonly title: string;
  readonly live: boolean;
  readonly startedAt: Date | undefined;
  readonly viewers: number;
  readonly codecs: readonly string[];
}

export interface Dashboard {
  /** Live rooms first, each part by name. */
  readonly rooms: readonly RoomState[];
  /** What the node serves, as names and values for people. */
  readonly facts: readonly (readonly [string, string])[];
}

type Json = Readonly<Record<string, unknown>>;
type Get = (path: string) => Promise<Json>;

/** Loads the dashboard. Rejects with an Error for people when the node does not answer. */
export async function loadDashboard(signal: AbortSignal, get: Get = (path) => getJson(path, signal)): Promise<Dashboard> {
  const [rooms, config] = await Promise.all([get('/v1/rooms'), get('/config.json')]);
  return { rooms: readRooms(rooms), facts: readFacts(config) };
}

function readRooms(json: Json): RoomState[] {
  const rooms: RoomState[] = [];
  for (const entry of list(json['rooms'])) {
    if (typeof entry !== 'object' || entry === null) continue;
    const fields = entry as Json;
    const room = text(fields['room']);
    if (room === undefined) continue;
    const startedAt = new Date(text(fields['started_at']) ?? Number.NaN);
    const live = fields['live'] === true;
    rooms.push({
      room,
      title: text(fields['title']) ?? room,
      live,
      // A room that is offline has the zero time.
      startedAt: !live || Number.isNaN(startedAt.getTime()) ? undefined : startedAt,
      viewers: typeof fields['viewers'] === 'number' ? fields['viewers'] : 0,
      codecs: list(fields['codecs']).filter((codec) => typeof codec === 'string'),
    });
  }
  return rooms.sort((a, b) => Number(b.live) - Number(a.live) || a.room.localeCompare(b.room));
}

function readFacts(config: Json): (readonly [string, string])[] {
  const moq = list(config['moq']).filter((url) => typeof url === 'string');
  const hash = text(config['certificate_sha256']);
  return [
    ['Media over QUIC', moq.join(', ') || 'not served'],
    ['LL-HLS', text(config['hls']) ?? 'not served'],
    ['WHIP', config['webrtc'] === true ? 'served' : 'not served'],
    ['Certificate', hash ? `self-made, SHA-256 ${hash}` : 'signed by an authority'],
  ];
}

async function getJson(path: string, signal: AbortSignal): Promise<Json> {
  let response: Response;
  try {
    response = await fetch(path, { cache: 'no-store', signal: AbortSignal.any([signal, AbortSignal.timeout(8000)]) });
  } catch (error) {
    throw new Error('The node does not answer.', { cause: error });
  }
  if (!response.ok) throw new Error(`The node answered ${response.status} to ${path}.`);
  return (await response.json()) as Json;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}
