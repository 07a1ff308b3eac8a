import { ApiError } from '../api/http.ts';
import { Backoff, sleep } from '../backoff.ts';
import { RequestCode, RequestError, Session, SessionCode, SessionError, type CloseInfo } from '../moq/index.ts';
import type { StudioBroadcast } from './broadcast.ts';
import type { StudioFailure, StudioState } from './messages.ts';
import { requestTicket, type PublishTicket } from './ticket.ts';

/** How long the last Objects may take to leave when the broadcast ends, in milliseconds. */
const FLUSH_MS = 1500;

/** How a node says that a newer publisher replaced this one: the draft has no code for it. */
const TAKEN_OVER = /taken over/i;

/** How often the node is asked for a sign of life, and how long its answer may take, in milliseconds. */
const PROBE_EVERY_MS = 2000;
const PROBE_TIMEOUT_MS = 4000;

/** What the publisher needs of the world around it. */
export interface PublisherOptions {
  readonly room: string;
  readonly streamKey: string;
  /** Take the room over from whoever is live in it, the first time. */
  readonly takeover: boolean;
  readonly broadcast: StudioBroadcast;
  readonly onState: (state: StudioState) => void;
  readonly backoff?: Backoff;
  readonly ticket?: (room: string, streamKey: string) => Promise<PublishTicket>;
  readonly connect?: (url: string, ticket: PublishTicket, signal: AbortSignal) => Promise<Session>;
}

/** Keeps a broadcast connected to its node: it comes back by itself until it is stopped, or refused for good. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #session: Session | undefined;
  #moveTo: string | undefined;
  #takeover: boolean;
  #wasLive = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? new Backoff({ firstMs: 500, maxMs: 15_000, steadyMs: 20_000 });
    this.#takeover = options.takeover;
  }

  /** Bytes that the present session has sent. */
  get bytesSent(): number {
    return this.#session?.stats().bytesSent ?? 0;
  }

  /** Publishes until stop() is called or the server refuses for good. Resolves to why it gave up, if it did. */
  async run(): Promise<StudioFailure | undefined> {
    const { onState } = this.#options;
    onState({ kind: 'connecting' });
    while (!this.#stop.signal.aborted) {
      let reason: string;
      let atLeast = 0;
      try {
        const closed = await this.#publish();
        reason = closed.reason;
        if (closed.remote && TAKEN_OVER.test(closed.reason)) {
          return { kind: 'busy', message: 'Somebody else went live in this room and took it over.' };
        }
        // GOAWAY and a change of nodes are no failure: the next session is opened at once.
        if (this.#moveTo !== undefined) continue;
      } catch (error) {
        if (this.#stop.signal.aborted) break;
        const failure = finalFailure(error);
        // After a broken connection the node may still hold the room for us, until our last session counts as silent.
        if (failure && !(failure.kind === 'busy' && this.#wasLive)) return failure;
        if (error instanceof RequestError) atLeast = error.retryAfterMs ?? 0;
        reason = error instanceof Error ? error.message : String(error);
      }
      if (this.#stop.signal.aborted) break;
      const wait = Math.max(atLeast, this.#backoff.next(performance.now()));
      onState({ kind: 'reconnecting', reason, retryAt: Date.now() + wait });
      if (!(await sleep(wait, this.#stop.signal))) break;
    }
    return undefined;
  }

  /** Ends the broadcast, lets its last Objects leave, and closes the session. */
  async stop(): Promise<void> {
    this.#options.broadcast.end();
    const deadline = performance.now() + FLUSH_MS;
    while (this.#session && this.#session.stats().publications > 0 && performance.now() < deadline) await sleep(20);
    this.#stop.abort();
    this.#session?.close();
  }

  /** Closes a session whose peer is gone: QUIC itself only notices after half a minute of silence. */
  async #watch(session: Session): Promise<void> {
    try {
      while (this.#session === session) {
        await session.probe(PROBE_TIMEOUT_MS);
        if (!(await sleep(PROBE_EVERY_MS, this.#stop.signal))) return;
      }
    } catch {
      session.close(SessionCode.ControlMessageTimeout, DEAD);
    }
  }

  /** One session, from the ticket to its end. */
  async #publish(): Promise<CloseInfo> {
    const { room, streamKey, broadcast, onState, ticket = requestTicket, connect = connectSession } = this.#options;
    const admitted = await ticket(room, streamKey);
    const url = new URL(this.#moveTo || admitted.url);
    this.#moveTo = undefined;
    if (this.#takeover) url.searchParams.set('takeover', '1');
    const session = await connect(url.href, admitted, this.#stop.signal);
    this.#session = session;
    try {
      await session.publishNamespace(['live', room], (track) => broadcast.find(track));
      this.#takeover = false;
      this.#wasLive = true;
      this.#backoff.works(performance.now());
      onState({ kind: 'live', since: Date.now() });
      void this.#watch(session);
      void session.goingAway.then(({ uri }) => {
        this.#moveTo = uri || admitted.url;
        session.close(SessionCode.NoError, 'moving');
      });
      return await session.closed;
    } catch (error) {
      session.close();
      throw error;
    } finally {
      this.#session = undefined;
    }
  }
}

/** What a session that was found dead is closed with. */
const DEAD = 'the node does not answer';

function connectSession(url: string, ticket: PublishTicket, signal: AbortSignal): Promise<Session> {
  return Session.connect(url, {
    token: ticket.token,
    signal,
    ...(ticket.certificateHash ? { certificateHash: ticket.certificateHash } : {}),
  });
}

/** Failures that another attempt would only repeat. */
function finalFailure(error: unknown): StudioFailure | undefined {
  if (error instanceof ApiError && (error.status === 401 || error.status === 403 || error.status === 404)) {
    return { kind: 'key', message: error.message };
  }
  if (error instanceof RequestError) {
    if (error.code === RequestCode.Unauthorized || error.code === RequestCode.ExpiredAuthToken) {
      return { kind: 'key', message: `The node does not let this key publish here: ${error.message}` };
    }
    if (error.code === RequestCode.Uninterested || error.code === RequestCode.NotSupported) {
      return { kind: 'busy', message: `The node does not take this broadcast: ${error.message}` };
    }
  }
  if (error instanceof SessionError && error.code === SessionCode.Unauthorized) {
    return { kind: 'key', message: `The node refused the session: ${error.message}` };
  }
  if (error instanceof SessionError && error.code === SessionCode.VersionNegotiationFailed) {
    return { kind: 'other', message: error.message };
  }
  return undefined;
}
