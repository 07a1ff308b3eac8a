import { Session } from '../../moq/index.ts';
import { transportPipe } from '../../moq/transport/pipe.ts';
import { serveWatchWorker } from '../watch_worker.ts';
import { LoopbackBroadcast, plainBroadcast, type BroadcastOptions } from './broadcast.ts';

/**
 * The player's worker with a broadcaster and a server inside: real sessions over a pipe, in the room `loopback`. The page
 * says over a BroadcastChannel what should happen to them.
 */

/** What a test asks of the loopback. */
export type LoopbackRequest =
  /** A broadcast begins, in place of the one before. */
  | { readonly type: 'begin'; readonly options?: Partial<BroadcastOptions> }
  /** The broadcaster goes away. */
  | { readonly type: 'end' }
  /** The server drops its sessions, and takes no new ones while it is down. */
  | { readonly type: 'down'; readonly down: boolean };

let broadcast: LoopbackBroadcast | undefined;
let down = false;
const sessions = new Set<Session>();

const control = new BroadcastChannel('freshet-loopback');
control.onmessage = ({ data: request }: MessageEvent<LoopbackRequest>) => {
  switch (request.type) {
    case 'begin':
      broadcast?.close();
      broadcast = new LoopbackBroadcast({ ...plainBroadcast, ...request.options });
      break;
    case 'end':
      broadcast?.close();
      broadcast = undefined;
      break;
    case 'down':
      down = request.down;
      if (down) for (const session of sessions) session.close(0, 'the server stops');
      break;
  }
};

serveWatchWorker({
  fetchConfig: async () => ({ moq: ['https://loopback.invalid/'], certificateHash: undefined, hls: undefined, webrtc: false }),
  requestToken: async () => ({ url: undefined, expiresMs: NaN, token: 'loopback' }),
  connect: async () => {
    if (down) throw new Error('the server is down');
    const [near, far] = transportPipe();
    const [viewer, server] = await Promise.all([
      Session.over(near, { acceptNamespace: () => true }),
      Session.over(far, { role: 'server' }),
    ]);
    sessions.add(server);
    void server.closed.then(() => sessions.delete(server));
    await server.publishNamespace(['live', 'loopback'], (track) => broadcast?.find(track));
    return viewer;
  },
});
