import { fetchConfig, type ServerConfig } from '../api/config.ts';
import { fetchRooms, type Room } from '../api/rooms.ts';

/** What the dashboard shows. */
export interface Dashboard {
  /** Live rooms first, each part by name. */
  readonly rooms: readonly Room[];
  /** What the node serves, as names and values for people. */
  readonly facts: readonly (readonly [string, string])[];
}

/** Loads the dashboard. Throws ApiError when the node does not answer. */
export async function loadDashboard(signal: AbortSignal): Promise<Dashboard> {
  const [rooms, config] = await Promise.all([fetchRooms('all', signal), fetchConfig(signal)]);
  rooms.sort((a, b) => Number(b.live) - Number(a.live) || a.room.localeCompare(b.room));
  return { rooms, facts: factsOf(config) };
}

function factsOf(config: ServerConfig): (readonly [string, string])[] {
  return [
    ['Media over QUIC', config.moq.join(', ') || 'not served'],
    ['LL-HLS', config.hls ?? 'not served'],
    ['WHIP', config.webrtc ? 'served' : 'not served'],
    [
      'Certificate',
      config.certificateHash ? `self-made, SHA-256 ${config.certificateHash}` : 'signed by an authority',
    ],
  ];
}
