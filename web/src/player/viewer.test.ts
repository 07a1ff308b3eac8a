import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ApiError } from '../api/http.ts';
import type { CloseInfo, NamespaceEvent, NamespaceSubscription } from '../moq/model.ts';
import type { BroadcastEnd } from './broadcast_player.ts';
import type { MediaSession } from './media_session.ts';
import type { WatchStatus } from './messages.ts';
import { Viewer } from './viewer.ts';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_764_000_000_000 }));
afterEach(() => mock.timers.reset());

/** Lets virtual time pass, and with it all that waits for it. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    mock.timers.tick(Math.min(50, left));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** A session as small as a viewer needs it. */
class TestSession implements MediaSession {
  readonly closed: Promise<CloseInfo>;
  readonly goingAway: Promise<unknown>;
  lose!: () => void;
  leave!: () => void;
  isClosed = false;
  private events: NamespaceEvent[] = [];
  private wake: (() => void) | undefined;

  constructor() {
    this.closed = new Promise((resolve) => {
      this.lose = () => {
        this.isClosed = true;
        resolve({ code: 0, reason: '', remote: true });
      };
    });
    this.goingAway = new Promise<void>((resolve) => (this.leave = resolve));
  }

  announce(namespace: string[], live: boolean): void {
    this.events.push({ namespace, live });
    this.wake?.();
  }

  subscribe(): Promise<never> {
    return Promise.reject(new Error('not used'));
  }

  subscribeNamespace(prefix: readonly string[]): NamespaceSubscription {
    const session = this;
    return {
      prefix,
      close: () => undefined,
      async *[Symbol.asyncIterator]() {
        for (;;) {
          const event = session.events.shift();
          if (event !== undefined) yield event;
          else await new Promise<void>((resolve) => (session.wake = resolve));
        }
      },
    };
  }

  close(): void {
    this.lose();
  }

  stats(): never {
    throw new Error('not used');
  }
}

/** A viewer with everything around it under the test's control. */
class Bench {
  readonly sessions: TestSession[] = [];
  readonly statuses: string[] = [];
  plays = 0;
  connects = 0;
  /** What happens to the next connection, token and broadcast. */
  connectFails = false;
  tokenFails: ApiError | undefined;
  broadcast: 'absent' | 'live' | 'unanswered' = 'live';
  finish: ((end: BroadcastEnd) => void) | undefined;
  readonly viewer: Viewer;
  private readonly stop = new AbortController();
  readonly done: Promise<void>;

  constructor(setUp?: (bench: Bench) => void) {
    setUp?.(this);
    this.viewer = new Viewer('demo', {
      connect: async () => {
        this.connects++;
        if (this.connectFails) throw new Error('no answer');
        const session = new TestSession();
        this.sessions.push(session);
        return session;
      },
      fetchConfig: async () => ({ moq: ['https://a.example', 'https://b.example'], certificateHash: undefined, hls: undefined, webrtc: false }),
      requestToken: async () => {
        if (this.tokenFails !== undefined) throw this.tokenFails;
        return { token: 't', url: undefined, expiresMs: NaN };
      },
      broadcast: {
        play: async (_session, namespace, signal) => {
          assert.deepEqual(namespace, ['live', 'demo']);
          this.plays++;
          if (this.broadcast === 'unanswered') throw new DOMException('no answer', 'TimeoutError');
          if (this.broadcast === 'absent') throw new Error('does not exist');
          this.viewer.setFlowing(true);
          return new Promise<BroadcastEnd>((resolve) => {
            this.finish = resolve;
            signal.addEventListener('abort', () => resolve('closed'), { once: true });
          });
        },
      },
      report: (status: WatchStatus) => this.statuses.push(status.kind),
    });
    this.done = this.viewer.run(this.stop.signal);
  }

  get session(): TestSession {
    const session = this.sessions.at(-1);
    assert.ok(session);
    return session;
  }

  async end(): Promise<void> {
    this.stop.abort();
    await pass(100);
    await this.done;
  }
}

test('a room that is live is played at once', async () => {
  const bench = new Bench();
  await pass(50);
  assert.deepEqual(bench.statuses, ['connecting', 'live']);
  await bench.end();
  assert.ok(bench.session.isClosed);
});

test('a lost session is replaced within a second', async () => {
  const bench = new Bench();
  await pass(15_000);
  bench.session.lose();
  await pass(1000);
  assert.equal(bench.sessions.length, 2);
  assert.deepEqual(bench.statuses, ['connecting', 'live', 'reconnecting', 'live']);
  assert.equal(bench.viewer.reconnects, 1);
  await bench.end();
});

test('a server that asks its clients to leave is left for a new session', async () => {
  const bench = new Bench();
  await pass(15_000);
  bench.session.leave();
  await pass(1000);
  assert.equal(bench.sessions.length, 2);
  await bench.end();
});

test('a broadcast that begins is played when it is announced, a co-host’s is not', async () => {
  const bench = new Bench((b) => (b.broadcast = 'absent'));
  await pass(20_000);
  assert.deepEqual(bench.statuses, ['connecting', 'offline']);
  // Just after a look for it, so that the next by the clock is seconds away.
  const before = bench.plays;
  while (bench.plays === before) await pass(50);
  bench.broadcast = 'live';
  bench.session.announce(['live', 'demo', 'guest'], true);
  await pass(200);
  assert.equal(bench.statuses.at(-1), 'offline');
  bench.session.announce(['live', 'demo'], true);
  await pass(50);
  assert.equal(bench.statuses.at(-1), 'live');
  await bench.end();
});

test('a missed announcement costs seconds, not the broadcast', async () => {
  const bench = new Bench((b) => (b.broadcast = 'absent'));
  await pass(20_000);
  bench.broadcast = 'live';
  await pass(4100);
  assert.equal(bench.statuses.at(-1), 'live');
  await bench.end();
});

test('an interrupted broadcast is waited for, then the stream has ended', async () => {
  const bench = new Bench();
  await pass(10_000);
  bench.broadcast = 'absent';
  bench.finish?.('ended');
  await pass(10_000);
  assert.equal(bench.statuses.at(-1), 'reconnecting');
  await pass(15_000);
  assert.equal(bench.statuses.at(-1), 'offline');
  await bench.end();
});

test('a broadcast that says it is complete has ended at once', async () => {
  const bench = new Bench();
  await pass(10_000);
  bench.broadcast = 'absent';
  bench.finish?.('complete');
  await pass(100);
  assert.deepEqual(bench.statuses.slice(1), ['live', 'offline']);
  await bench.end();
});

test('a session in which media dries up twice is given up', async () => {
  const bench = new Bench();
  await pass(10_000);
  bench.finish?.('stale');
  await pass(1000);
  assert.equal(bench.sessions.length, 1);
  bench.finish?.('stale');
  await pass(1000);
  assert.equal(bench.sessions.length, 2);
  await bench.end();
});

test('a session that answers nothing is given up', async () => {
  const bench = new Bench((b) => (b.broadcast = 'unanswered'));
  await pass(2000);
  assert.ok(bench.sessions.length >= 2);
  await bench.end();
});

test('a network that carries no MoQ is given up after three tries', async () => {
  const bench = new Bench((b) => (b.connectFails = true));
  await pass(5000);
  await bench.done;
  assert.equal(bench.connects, 3);
  assert.deepEqual(bench.statuses, ['connecting', 'failed']);
});

test('a relay that was there is waited for', async () => {
  const bench = new Bench();
  await pass(10_000);
  bench.connectFails = true;
  bench.session.lose();
  await pass(8000);
  assert.equal(bench.statuses.at(-1), 'reconnecting');
  bench.connectFails = false;
  await pass(5000);
  assert.equal(bench.statuses.at(-1), 'live');
  await bench.end();
});

test('a room that does not exist, or is closed to strangers, is said to be so', async () => {
  const missing = new Bench((b) => (b.tokenFails = new ApiError(404, 'no such room')));
  await pass(1000);
  assert.equal(missing.statuses.at(-1), 'notFound');
  missing.tokenFails = undefined;
  await pass(6000);
  assert.equal(missing.statuses.at(-1), 'live', 'and found when it is made');
  await missing.end();
  const closed = new Bench((b) => (b.tokenFails = new ApiError(403, 'forbidden')));
  await pass(1000);
  assert.equal(closed.statuses.at(-1), 'denied');
  await closed.end();
});

test('an HTTP server that is away does not count against MoQ', async () => {
  const bench = new Bench((b) => (b.tokenFails = new ApiError(0, 'no answer')));
  await pass(60_000);
  assert.deepEqual(bench.statuses, ['connecting']);
  bench.tokenFails = undefined;
  await pass(5100);
  assert.equal(bench.statuses.at(-1), 'live');
  await bench.end();
});
