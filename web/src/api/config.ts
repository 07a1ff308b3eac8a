import { text, texts } from '../json.ts';
import { request } from './http.ts';

/** /config.json: what a page needs to know of its server. */
export interface ServerConfig {
  /** Where MoQ sessions are accepted, best first. */
  readonly moq: readonly string[];
  /** SHA-256 in hex of a certificate that no authority signed. */
  readonly certificateHash: string | undefined;
  /** The path under which each room has its LL-HLS playlist, or undefined when there is none. */
  readonly hls: string | undefined;
  /** Whether broadcasts are taken by WHIP. */
  readonly webrtc: boolean;
}

/** Reads /config.json. Throws ApiError. */
export async function fetchConfig(signal?: AbortSignal): Promise<ServerConfig> {
  const json = await request('/config.json', {}, signal);
  return {
    moq: texts(json['moq']),
    certificateHash: text(json['certificate_sha256']),
    hls: text(json['hls']),
    webrtc: json['webrtc'] === true,
  };
}
