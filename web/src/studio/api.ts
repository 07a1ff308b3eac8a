/** The HTTP side of publishing. */

/** A refusal of the API. `status` is 0 when there was no answer. */
export class StudioApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'StudioApiError';
    this.status = status;
  }
}

/** What admits a streamer to the node. */
export interface PublishTicket {
  /** Where to open the MoQ session. */
  readonly url: string;
  readonly token: string;
  readonly certificateHash: string | undefined;
}

const TIMEOUT_MS = 8000;

/** Exchanges the stream key for a token, and asks where the node is. Rejects with StudioApiError. */
export async function requestTicket(room: string, streamKey: string): Promise<PublishTicket> {
  const [ticket, config] = await Promise.all([
    request(`/v1/rooms/${encodeURIComponent(room)}/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ stream_key: streamKey }),
    }),
    request('/config.json'),
  ]);
  const urls = config['moq'];
  const url = text(ticket['url']) ?? (Array.isArray(urls) ? text(urls[0]) : undefined);
  const token = text(ticket['token']);
  if (url === undefined || token === undefined) throw new StudioApiError(0, 'The server names no place to publish to.');
  return { url, token, certificateHash: text(config['certificate_sha256']) };
}

/** How many viewers a room has as far as the node knows, or undefined when it cannot be told. */
export async function fetchViewers(room: string): Promise<number | undefined> {
  try {
    const json = await request(`/v1/rooms/${encodeURIComponent(room)}`);
    return typeof json['viewers'] === 'number' ? json['viewers'] : undefined;
  } catch {
    // A room that is not listed has no public count, and a failed look is made again soon.
    return undefined;
  }
}

async function request(path: string, init: RequestInit = {}): Promise<Record<string, unknown>> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new StudioApiError(0, 'The server cannot be reached.');
  }
  const json: unknown = await response.json().catch(() => undefined);
  const object = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  if (!response.ok) {
    throw new StudioApiError(response.status, text(object?.['detail']) ?? `The server answered ${response.status}.`);
  }
  if (!object) throw new StudioApiError(0, 'The server answered no JSON.');
  return object;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.length > 0 ? value : undefined;
}
