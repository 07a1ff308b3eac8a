import type { ServerConfig } from '../api/config.ts';
import { ApiError } from '../api/http.ts';
import type { Token } from '../api/rooms.ts';
import { Backoff, sleep } from '../backoff.ts';
import type { NamespaceSubscription } from '../moq/model.ts';
import type { BroadcastPlayer } from './broadcast_player.ts';
import type { Connect, MediaSession } from './media_session.ts';
import type { WatchStatus } from './messages.ts';
import { FallbackPolicy } from './fallback.ts';

/** How long a session may take to stand: a network that drops UDP answers nothing at all. */
const connectMs = 5000;

/** A room nobody was found in is looked at this often, should its announcement have been missed. */
const offlineMs = 4000;

/** After an interruption the viewer is told 'reconnecting' for so long, then that the stream has ended. */
const graceMs = 20_000;

/** What a viewer needs from outside. */
export interface ViewerParts {
  readonly connect: Connect;
  readonly fetchConfig: (signal: AbortSignal) => Promise<ServerConfig>;
  readonly requestToken: (room: string, signal: AbortSignal) => Promise<Token>;
  readonly broadcast: Pick<BroadcastPlayer, 'play'>;
  readonly report: (status: WatchStatus) => void;
}

/**
 * Watches a room for as long as it is told to, through lost sessions, restarts of the relay and of the publisher.
 */
export class Viewer {
  private readonly backoff = new Backoff({ firstMs: 300, maxMs: 5000, steadyMs: 10_000 });
  private readonly fallback = new FallbackPolicy();
  private status: WatchStatus = { kind: 'connecting' };
  private playedUntilMs = -Infinity;
  private sessions = 0;
  private attempts = 0;

  constructor(
    private readonly room: string,
    private readonly parts: ViewerParts,
  ) {}

  /** Sessions that had to be replaced. */
  get reconnects(): number {
    return Math.max(0, this.sessions - 1);
  }

  /** Notes whether media arrives. */
  setFlowing(flowing: boolean): void {
    if (flowing) {
      this.playedUntilMs = Infinity;
      this.tell({ kind: 'live' });
    } else {
      this.interrupted('no media arrives');
    }
  }

  /** Watches until the signal ends it, or MoQ proves not to work from here. */
  async run(signal: AbortSignal): Promise<void> {
    this.parts.report(this.status);
    while (!signal.aborted) {
      const session = await this.connect(signal);
      if (session === 'given up') return;
      if (session !== undefined) {
        this.backoff.works(Date.now());
        await this.watch(session, signal);
        session.close();
        this.interrupted('the session was lost');
      }
      if (!signal.aborted) await sleep(this.backoff.next(Date.now()), signal);
    }
  }

  private async connect(signal: AbortSignal): Promise<MediaSession | 'given up' | undefined> {
    let config: ServerConfig;
    let admission: Token;
    try {
      [config, admission] = await Promise.all([
        this.parts.fetchConfig(signal),
        this.parts.requestToken(this.room, signal),
      ]);
    } catch (error) {
      if (signal.aborted) return undefined;
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 404) this.tell({ kind: 'notFound' });
      else if (status === 401 || status === 403) this.tell({ kind: 'denied' });
      else this.interrupted('the server cannot be reached');
      return undefined;
    }
    const addresses = admission.url === undefined ? config.moq : [admission.url];
    const address = addresses[this.attempts++ % Math.max(1, addresses.length)];
    if (address === undefined) {
      this.tell({ kind: 'failed', reason: 'the server offers no MoQ' });
      return 'given up';
    }
    try {
      const session = await this.parts.connect(address, {
        token: admission.token,
        ...(config.certificateHash === undefined ? {} : { certificateHash: config.certificateHash }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(connectMs)]),
      });
      this.sessions++;
      this.fallback.connected();
      return session;
    } catch (error) {
      if (signal.aborted) return undefined;
      const reason = error instanceof Error ? error.message : String(error);
      if (this.fallback.connectFailed()) {
        this.tell({ kind: 'failed', reason });
        return 'given up';
      }
      this.interrupted(reason);
      return undefined;
    }
  }

  /** Plays the room's broadcasts, one after the other, until the session ends. */
  private async watch(session: MediaSession, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const end = (): void => over.abort();
    signal.addEventListener('abort', end, { once: true });
    void session.closed.then(end);
    // The server is about to leave: a new session is set up before it does.
    void session.goingAway.then(end);
    const namespace = ['live', this.room];
    const announcements = new Announcements(session.subscribeNamespace(namespace), namespace.length);
    const retry = new Backoff({ firstMs: 400, maxMs: offlineMs, steadyMs: 5000 });
    let stale = 0;
    while (!over.signal.aborted) {
      const startedMs = Date.now();
      try {
        const how = await this.parts.broadcast.play(session, namespace, over.signal);
        stale = how === 'stale' ? stale + 1 : 0;
        if (Date.now() - startedMs > 5000) retry.works(startedMs);
        if (how === 'complete') this.playedUntilMs = -Infinity;
        else this.interrupted('the broadcast was interrupted');
      } catch (error) {
        // A request that is never answered tells that the server is gone without a word, as when it was killed.
        if (error instanceof DOMException && error.name === 'TimeoutError') break;
        // Otherwise nobody is live, or the relay has not heard of it yet.
      }
      if (over.signal.aborted) break;
      // Media that dries up twice in an open session is the session's fault.
      if (stale >= 2) break;
      this.interrupted('the broadcast was interrupted');
      await announcements.next(retry.next(Date.now()), over.signal);
    }
    announcements.close();
    signal.removeEventListener('abort', end);
  }

  /** Tells the viewer that there is no media: an interruption at first, then that nobody is live. */
  private interrupted(reason: string): void {
    if (this.playedUntilMs === Infinity) this.playedUntilMs = Date.now();
    if (Date.now() - this.playedUntilMs < graceMs) this.tell({ kind: 'reconnecting', reason });
    else if (this.sessions > 0) this.tell({ kind: 'offline' });
    else this.tell({ kind: 'connecting' });
  }

  private tell(status: WatchStatus): void {
    if (status.kind === this.status.kind) return;
    this.status = status;
    this.parts.report(status);
  }
}

/** Waits for a Namespace to be announced. */
class Announcements {
  private wake: (() => void) | undefined;
  private pending = false;

  constructor(
    private readonly subscription: NamespaceSubscription,
    private readonly fields: number,
  ) {
    void this.follow();
  }

  /** Returns when the Namespace has been announced since the last call, or after some time, or with the signal. */
  async next(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (!this.pending) {
      const woken = new AbortController();
      this.wake = () => woken.abort();
      await sleep(timeoutMs, AbortSignal.any([signal, woken.signal]));
      this.wake = undefined;
    }
    this.pending = false;
  }

  close(): void {
    this.subscription.close();
  }

  private async follow(): Promise<void> {
    try {
      for await (const { namespace, live } of this.subscription) {
        // Deeper Namespaces under the room are its co-hosts.
        if (namespace.length !== this.fields || !live) continue;
        this.pending = true;
        this.wake?.();
      }
    } catch {
      // A relay that does not offer announcements is asked for the catalog from time to time all the same.
    }
  }
}
