import { fetchConfig } from '../api/config.ts';
import { ApiError } from '../api/http.ts';
import { requestToken } from '../api/rooms.ts';

/** What admits a streamer to the node. */
export interface PublishTicket {
  /** Where to open the MoQ session. */
  readonly url: string;
  readonly token: string;
  readonly certificateHash: string | undefined;
}

/** Exchanges the stream key for a token, and asks where the node is. Throws ApiError. */
export async function requestTicket(room: string, streamKey: string): Promise<PublishTicket> {
  const [{ token, url: own }, { moq, certificateHash }] = await Promise.all([
    requestToken(room, { streamKey }),
    fetchConfig(),
  ]);
  const url = own ?? moq[0];
  if (url === undefined) throw new ApiError(0, 'The server names no place to publish to.');
  return { url, token, certificateHash };
}
