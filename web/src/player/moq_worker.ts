import { fetchConfig } from '../api/config.ts';
import { requestToken } from '../api/rooms.ts';
import { Session } from '../moq/index.ts';
import { serveWatchWorker } from './watch_worker.ts';

// The worker that the player page starts: sessions over WebTransport with the server that the page came from.
serveWatchWorker({
  connect: (url, options) => Session.connect(url, options),
  fetchConfig,
  requestToken: (room, signal) => requestToken(room, { signal }),
});
