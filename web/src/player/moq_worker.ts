import { Session } from '../moq/index.ts';
import { fetchConfig, requestToken } from './room_api.ts';
import { serveWatchWorker } from './watch_worker.ts';

// The worker that the player page starts: sessions over WebTransport with the server that the page came from.
serveWatchWorker({ connect: (url, options) => Session.connect(url, options), fetchConfig, requestToken });
