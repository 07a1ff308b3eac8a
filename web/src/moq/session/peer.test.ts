// A session against a scripted peer: what the draft says a receiver MUST do.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SessionError } from '../errors.ts';
import type { Group, Subscription } from '../model.ts';
import { transportPipe } from '../transport/pipe.ts';
import type { BidiStream, Transport } from '../transport/transport.ts';
import { MessageType, PublishDoneCode, RequestCode, ResetCode, SessionCode } from '../wire/codes.ts';
import { encodeMessage, readMessage, type Message } from '../wire/message.ts';
import { Writer } from '../wire/varint.ts';
import { PublishedTrack } from './published.ts';
import { ByteReader } from './reader.ts';
import { Session } from './session.ts';

/** One request of the session under test, as the peer sees it. */
class Exchange {
  readonly #reader: ByteReader;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(stream: BidiStream) {
    this.#reader = new ByteReader(stream.readable);
    this.#writer = stream.writable.getWriter();
    this.#writer.closed.catch(() => undefined);
  }

  async receive(): Promise<Message> {
    const message = await this.#reader.read((cursor) => readMessage(cursor));
    assert.ok(message, 'the request ended');
    return message;
  }

  async expect<T extends Message['type']>(type: T): Promise<Extract<Message, { type: T }>> {
    const message = await this.receive();
    assert.equal(message.type, type);
    return message as Extract<Message, { type: T }>;
  }

  send(...messages: Message[]): void {
    for (const message of messages) this.#writer.write(encodeMessage(message)).catch(() => undefined);
  }

  raw(hex: string): void {
    this.#writer.write(fromHex(hex)).catch(() => undefined);
  }
}

/** The other end of a session, which does what a test says. */
class Peer {
  readonly transport: Transport;
  readonly control: WritableStreamDefaultWriter<Uint8Array>;
  readonly #requests: ReadableStreamDefaultReader<BidiStream>;

  private constructor(transport: Transport, control: WritableStream<Uint8Array>) {
    this.transport = transport;
    this.control = control.getWriter();
    this.control.closed.catch(() => undefined);
    this.#requests = transport.incomingBidirectionalStreams.getReader();
  }

  static async start(transport: Transport, setup: Message = { type: MessageType.Setup }): Promise<Peer> {
    const peer = new Peer(transport, await transport.createUnidirectionalStream({ sendOrder: 0 }));
    peer.send(setup);
    return peer;
  }

  send(message: Message): void {
    this.control.write(encodeMessage(message)).catch(() => undefined);
  }

  async request(): Promise<Exchange> {
    const { value } = await this.#requests.read();
    assert.ok(value, 'the session ended');
    return new Exchange(value);
  }

  async open(message: Message): Promise<Exchange> {
    const exchange = new Exchange(await this.transport.createBidirectionalStream());
    exchange.send(message);
    return exchange;
  }

  /** Opens a unidirectional stream with these bytes. */
  async stream(hex: string): Promise<WritableStreamDefaultWriter<Uint8Array>> {
    const writer = (await this.transport.createUnidirectionalStream({ sendOrder: 0 })).getWriter();
    writer.closed.catch(() => undefined);
    writer.write(fromHex(hex)).catch(() => undefined);
    return writer;
  }
}

const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

async function connected(): Promise<{ session: Session; peer: Peer }> {
  const [a, b] = transportPipe();
  const [session, peer] = await Promise.all([Session.over(a), Peer.start(b)]);
  return { session, peer };
}

/** A session with an accepted subscription whose Track Alias is 7. */
async function subscribed(
  options: { largest?: { group: number; object: number }; join?: boolean } = {},
): Promise<{ session: Session; peer: Peer; subscription: Subscription; subscribe: Exchange; requestId: number }> {
  const { session, peer } = await connected();
  const pending = session.subscribe(['n'], 't', { join: options.join ?? false });
  const subscribe = await peer.request();
  const { requestId } = await subscribe.expect(MessageType.Subscribe);
  subscribe.send({
    type: MessageType.SubscribeOk,
    alias: 7,
    params: options.largest ? { largestObject: options.largest } : {},
    properties: [],
  });
  return { session, peer, subscription: await pending, subscribe, requestId };
}

async function assertClosed(session: Session, code: number): Promise<void> {
  const closed = await session.closed;
  assert.equal(closed.code, code, closed.reason);
  assert.equal(closed.remote, false);
}

async function payloads(group: Group): Promise<string[]> {
  const seen: string[] = [];
  for await (const object of group) seen.push(Buffer.from(object.payload).toString());
  return seen;
}

async function next<T>(iterator: AsyncIterator<T>): Promise<T> {
  const { value, done } = await iterator.next();
  assert.ok(!done, 'it ended');
  return value;
}

describe('setup', () => {
  test('"It MUST NOT be used by the server": PATH closes the session with INVALID_PATH', async () => {
    const [a, b] = transportPipe();
    const session = Session.over(a);
    await Peer.start(b, { type: MessageType.Setup, path: '/' });
    await assert.rejects(session, { name: 'SessionError', code: SessionCode.InvalidPath });
  });

  test('a refused session rejects with the code of the peer', async () => {
    const [a, b] = transportPipe();
    const session = Session.over(a);
    b.close(SessionCode.Unauthorized, 'bad token');
    await assert.rejects(session, (error: unknown) => {
      assert.ok(error instanceof SessionError);
      assert.deepEqual([error.code, error.message, error.remote], [SessionCode.Unauthorized, 'bad token', true]);
      return true;
    });
  });

  test('it can be given up', async () => {
    const [a] = transportPipe();
    const stop = new AbortController();
    const session = Session.over(a, { signal: stop.signal });
    stop.abort();
    await assert.rejects(session, { name: 'AbortError' });
  });
});

describe('the control stream', () => {
  test('"A control stream MUST NOT be closed": its end closes the session', async (t) => {
    const { session, peer } = await connected();
    t.mock.timers.enable({ apis: ['setTimeout'] });
    await peer.control.close();
    // The end of the session itself may be on its way, and would tell more.
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(500);
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('"more than one GOAWAY" is a violation', async () => {
    const { session, peer } = await connected();
    const goAway: Message = { type: MessageType.GoAway, uri: 'https://b/', timeoutMs: 5000, requestId: 0 };
    peer.send(goAway);
    assert.deepEqual(await session.goingAway, { uri: 'https://b/', timeoutMs: 5000 });
    await assert.rejects(session.subscribe(['n'], 't'), { name: 'RequestError', code: RequestCode.GoingAway });
    peer.send(goAway);
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('GOAWAY with a Request ID of the wrong parity is INVALID_REQUEST_ID', async () => {
    const { session, peer } = await connected();
    peer.send({ type: MessageType.GoAway, uri: '', timeoutMs: 0, requestId: 1 });
    await assertClosed(session, SessionCode.InvalidRequestId);
  });

  test('a second control stream is a violation', async () => {
    const { session, peer } = await connected();
    await peer.stream('af00 0000');
    await assertClosed(session, SessionCode.ProtocolViolation);
  });
});

describe('streams', () => {
  test('"An endpoint that receives an unknown stream type MUST close the session"', async () => {
    const { session, peer } = await connected();
    await peer.stream('06');
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('padding is read and forgotten', async () => {
    const { session, peer } = await connected();
    const padding = await peer.stream('f0132b3e28');
    for (let i = 0; i < 8; i++) await padding.write(new Uint8Array(64 * 1024));
    await padding.close();
    assert.equal(session.stats().objectsReceived, 0);
    session.close();
  });

  test('a stream of an unknown Track Alias is stopped', async () => {
    const { session, peer } = await connected();
    const stream = await peer.stream('10 63 05 80');
    await assert.rejects(stream.closed, (error) => peer.transport.streamCode(error) === ResetCode.Cancelled);
    session.close();
  });

  test('a stream that comes before its SUBSCRIBE_OK is kept', async () => {
    const { session, peer } = await connected();
    const pending = session.subscribe(['n'], 't');
    const request = await peer.request();
    await request.expect(MessageType.Subscribe);
    const stream = await peer.stream('18 07 05 80 00 01 61');
    await stream.close();
    request.send({ type: MessageType.SubscribeOk, alias: 7, params: {}, properties: [] });
    const groups = (await pending)[Symbol.asyncIterator]();
    assert.deepEqual(await payloads(await next(groups)), ['a']);
    session.close();
  });

  test('a reset ends the Group as incomplete, after what came before it', async () => {
    const { session, peer, subscription } = await subscribed();
    const stream = await peer.stream('18 07 05 80 00 01 61');
    const group = await next(subscription[Symbol.asyncIterator]());
    const objects = group[Symbol.asyncIterator]();
    assert.equal(Buffer.from((await next(objects)).payload).toString(), 'a');
    await stream.abort(peer.transport.streamError(ResetCode.DeliveryTimeout));
    assert.equal((await objects.next()).done, true);
    assert.deepEqual(group.end, { kind: 'reset', code: ResetCode.DeliveryTimeout });
    assert.equal(session.stats().groupsReset, 1);
    session.close();
  });

  test('"terminates with a FIN in the middle of a serialized Object": a violation', async () => {
    const { session, peer } = await subscribed();
    const stream = await peer.stream('18 07 05 80 00 05 61');
    await stream.close();
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('two Subgroups make one Group, which ends with both', async () => {
    const { session, peer, subscription } = await subscribed();
    const first = await peer.stream('1c 07 05 00 80 00 01 61');
    const second = await peer.stream('14 07 05 01 80 01 01 62');
    await first.close();
    await second.close();
    const group = await next(subscription[Symbol.asyncIterator]());
    assert.deepEqual((await payloads(group)).sort(), ['a', 'b']);
    assert.deepEqual(group.end, { kind: 'complete' });
    session.close();
  });

  test('a Group without an end mark ends when a newer one begins', async () => {
    const { session, peer, subscription } = await subscribed();
    const groups = subscription[Symbol.asyncIterator]();
    await (await peer.stream('10 07 05 80 00 01 61')).close();
    const older = await next(groups);
    await (await peer.stream('10 07 06 80 00 01 62')).close();
    assert.deepEqual(await payloads(older), ['a']);
    assert.equal((await next(groups)).id, 6);
    session.close();
  });
});

describe('a subscription', () => {
  test('two with one Track Alias: DUPLICATE_TRACK_ALIAS', async () => {
    const { session, peer } = await subscribed();
    const second = session.subscribe(['n'], 'u');
    const request = await peer.request();
    await request.expect(MessageType.Subscribe);
    request.send({ type: MessageType.SubscribeOk, alias: 7, params: {}, properties: [] });
    await second;
    await assertClosed(session, SessionCode.DuplicateTrackAlias);
  });

  test('a Mandatory Track Property that nobody knows cancels it', async () => {
    const { session, peer } = await connected();
    const pending = session.subscribe(['n'], 't');
    const request = await peer.request();
    await request.expect(MessageType.Subscribe);
    request.send({ type: MessageType.SubscribeOk, alias: 7, params: {}, properties: [{ type: 0x4000, value: 1 }] });
    await assert.rejects(pending, { name: 'RequestError', code: RequestCode.UnsupportedExtension });
    session.close();
  });

  test('a redirect and a retry interval are told', async () => {
    const { session, peer } = await connected();
    const pending = session.subscribe(['n'], 't');
    const request = await peer.request();
    await request.expect(MessageType.Subscribe);
    request.send({
      type: MessageType.RequestError,
      code: RequestCode.Redirect,
      retryInterval: 1001,
      reason: '',
      redirect: { uri: 'https://b/', name: { namespace: [], track: '' } },
    });
    await assert.rejects(pending, { code: RequestCode.Redirect, retryAfterMs: 1000, redirectUri: 'https://b/' });
    session.close();
  });

  test('another message in answer is a violation', async () => {
    const { session, peer } = await connected();
    const pending = session.subscribe(['n'], 't');
    const request = await peer.request();
    await request.expect(MessageType.Subscribe);
    request.send({ type: MessageType.RequestOk, params: {}, properties: [] });
    await assert.rejects(pending, { name: 'SessionError', code: SessionCode.ProtocolViolation });
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('PUBLISH_DONE waits for the streams that it counts', async () => {
    const { session, peer, subscription, subscribe } = await subscribed();
    subscribe.send({ type: MessageType.PublishDone, code: PublishDoneCode.GoingAway, streamCount: 1, reason: 'moving' });
    await (await peer.stream('18 07 05 80 00 01 61')).close();
    const seen: string[] = [];
    for await (const group of subscription) seen.push(...(await payloads(group)));
    assert.deepEqual(seen, ['a']);
    assert.deepEqual(await subscription.closed, { kind: 'done', code: PublishDoneCode.GoingAway, reason: 'moving' });
    session.close();
  });

  test('a refused update is told', async () => {
    const { session, subscription, subscribe } = await subscribed();
    const update = subscription.update({ priority: 3 });
    const message = await subscribe.expect(MessageType.RequestUpdate);
    assert.deepEqual(message.params, { subscriberPriority: 3 });
    subscribe.send({ type: MessageType.RequestError, code: RequestCode.Unauthorized, retryInterval: 0, reason: 'no' });
    await assert.rejects(update, { name: 'RequestError', code: RequestCode.Unauthorized });
    session.close();
  });
});

describe('a join', () => {
  const largest = { group: 5, object: 1 };
  /** FETCH stream of the request with Objects 0 (a) and 1 (b) of Group 5. */
  const fetched = (requestId: number): string =>
    Buffer.from(new Writer().varint(0x5).varint(requestId).finish()).toString('hex') + '1c0500800161 000162';

  test('what is live waits for what was fetched', async () => {
    const { session, peer, subscription, requestId } = await subscribed({ join: true, largest });
    const fetch = await peer.request();
    const message = await fetch.expect(MessageType.Fetch);
    assert.deepEqual(message.range, { fetchType: 2, joiningRequestId: requestId, joiningStart: 0 });
    await (await peer.stream('18 07 05 80 02 01 63')).close();
    await (await peer.stream(fetched(message.requestId))).close();
    fetch.send({ type: MessageType.FetchOk, endOfTrack: false, end: { group: 5, object: 2 }, params: {}, properties: [] });
    const group = await next(subscription[Symbol.asyncIterator]());
    assert.deepEqual(await payloads(group), ['a', 'b', 'c']);
    assert.deepEqual(group.end, { kind: 'complete' });
    session.close();
  });

  test('a FETCH that overtook its SUBSCRIBE is sent again', async () => {
    const { session, peer, subscription } = await subscribed({ join: true, largest });
    const early = await peer.request();
    await early.expect(MessageType.Fetch);
    early.send({
      type: MessageType.RequestError,
      code: RequestCode.InvalidJoiningRequestId,
      retryInterval: 0,
      reason: 'no such subscription',
    });
    const again = await peer.request();
    const { requestId } = await again.expect(MessageType.Fetch);
    await (await peer.stream(fetched(requestId))).close();
    await (await peer.stream('18 07 05 80 02 01 63')).close();
    assert.deepEqual(await payloads(await next(subscription[Symbol.asyncIterator]())), ['a', 'b', 'c']);
    session.close();
  });

  test('without its beginning the current Group is given up, and the next one comes', async () => {
    const { session, peer, subscription } = await subscribed({ join: true, largest });
    const fetch = await peer.request();
    await fetch.expect(MessageType.Fetch);
    await (await peer.stream('18 07 05 80 02 01 63')).close();
    fetch.send({ type: MessageType.RequestError, code: RequestCode.InternalError, retryInterval: 0, reason: 'gone' });
    const groups = subscription[Symbol.asyncIterator]();
    const current = await next(groups);
    assert.deepEqual(await payloads(current), []);
    assert.equal(current.end?.kind, 'reset');
    await (await peer.stream('18 07 06 80 00 01 64')).close();
    assert.deepEqual(await payloads(await next(groups)), ['d']);
    session.close();
  });

  test('an unknown range means that Objects are missing', async () => {
    const { session, peer, subscription } = await subscribed({ join: true, largest });
    const { requestId } = await (await peer.request()).expect(MessageType.Fetch);
    const header = Buffer.from(new Writer().varint(0x5).varint(requestId).finish()).toString('hex');
    await (await peer.stream(`${header} 810c 05 00`)).close();
    const group = await next(subscription[Symbol.asyncIterator]());
    assert.deepEqual(await payloads(group), []);
    assert.deepEqual(group.end, { kind: 'reset', code: ResetCode.UnknownObjectStatus });
    session.close();
  });
});

describe('namespaces', () => {
  test('come, go, and all go with the stream', async () => {
    const { session, peer } = await connected();
    const events = session.subscribeNamespace(['live'])[Symbol.asyncIterator]();
    const request = await peer.request();
    await request.expect(MessageType.SubscribeNamespace);
    request.send(
      { type: MessageType.RequestOk, params: {}, properties: [] },
      { type: MessageType.Namespace, suffix: ['a'] },
      { type: MessageType.Namespace, suffix: ['b'] },
      { type: MessageType.NamespaceDone, suffix: ['a'] },
    );
    assert.deepEqual(await next(events), { namespace: ['live', 'a'], live: true });
    assert.deepEqual(await next(events), { namespace: ['live', 'b'], live: true });
    assert.deepEqual(await next(events), { namespace: ['live', 'a'], live: false });
    session.close();
    assert.deepEqual(await next(events), { namespace: ['live', 'b'], live: false });
    assert.equal((await events.next()).done, true);
  });

  test('"NAMESPACE_DONE before the corresponding NAMESPACE": a violation', async () => {
    const { session, peer } = await connected();
    session.subscribeNamespace(['live']);
    const request = await peer.request();
    await request.expect(MessageType.SubscribeNamespace);
    request.send(
      { type: MessageType.RequestOk, params: {}, properties: [] },
      { type: MessageType.NamespaceDone, suffix: ['a'] },
    );
    await assertClosed(session, SessionCode.ProtocolViolation);
  });
});

describe('as a publisher', () => {
  async function publishing(track: PublishedTrack): Promise<{ session: Session; peer: Peer }> {
    const { session, peer } = await connected();
    const published = session.publishNamespace(['n'], () => track);
    const request = await peer.request();
    await request.expect(MessageType.PublishNamespace);
    request.send({ type: MessageType.RequestOk, params: {}, properties: [] });
    await published;
    return { session, peer };
  }
  const subscribe = (requestId: number): Message => ({
    type: MessageType.Subscribe,
    requestId,
    name: { namespace: ['n'], track: 't' },
    params: {},
  });
  const join = (requestId: number, joiningRequestId: number): Message => ({
    type: MessageType.Fetch,
    requestId,
    range: { fetchType: 2, joiningRequestId, joiningStart: 0 },
    params: {},
  });

  test('a Request ID of the wrong parity, or one twice, is INVALID_REQUEST_ID', async () => {
    for (const ids of [[2], [1, 1]]) {
      const { session, peer } = await publishing(new PublishedTrack({}, 1));
      for (const id of ids) await peer.open({ ...subscribe(id), type: MessageType.TrackStatus } as Message);
      await assertClosed(session, SessionCode.InvalidRequestId);
    }
  });

  test('"Bidirectional streams MUST NOT begin with any other message type"', async () => {
    const { session, peer } = await publishing(new PublishedTrack({}, 1));
    await peer.open({ type: MessageType.RequestOk, params: {}, properties: [] });
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('an unknown message closes the session', async () => {
    const { session, peer } = await publishing(new PublishedTrack({}, 1));
    const exchange = await peer.open(subscribe(1));
    exchange.raw('1e 0000');
    await assertClosed(session, SessionCode.ProtocolViolation);
  });

  test('a joining FETCH that comes before its SUBSCRIBE is served', async () => {
    const track = new PublishedTrack({}, 9);
    track.newGroup().writeObject(new TextEncoder().encode('key'));
    const { session, peer } = await publishing(track);
    const fetch = await peer.open(join(3, 1));
    await peer.open(subscribe(1));
    assert.deepEqual((await fetch.expect(MessageType.FetchOk)).end, { group: 9, object: 1 });
    session.close();
  });

  test('a joining FETCH of nothing is INVALID_RANGE', async () => {
    const { session, peer } = await publishing(new PublishedTrack({}, 9));
    await peer.open(subscribe(1));
    const fetch = await peer.open(join(3, 1));
    assert.equal((await fetch.expect(MessageType.RequestError)).code, RequestCode.InvalidRange);
    session.close();
  });

  test('TRACK_STATUS tells the largest Object', async () => {
    const track = new PublishedTrack({ onNewGroup: () => undefined }, 9);
    track.newGroup().writeObject(new Uint8Array(1));
    const { session, peer } = await publishing(track);
    const status = await peer.open({ ...subscribe(1), type: MessageType.TrackStatus } as Message);
    const answer = await status.expect(MessageType.RequestOk);
    assert.deepEqual(answer.params, { largestObject: { group: 9, object: 0 } });
    assert.deepEqual(answer.properties, [{ type: 0x30, value: 1 }]);
    session.close();
  });

  test('a Group that waits too long is reset, and a key frame asked for', async (t) => {
    let now = 1000;
    t.mock.method(performance, 'now', () => now);
    let wished = 0;
    const track = new PublishedTrack({ onNewGroup: () => wished++, maxQueueMs: 500 }, 9);
    const { session, peer } = await publishing(track);
    const exchange = await peer.open(subscribe(1));
    await exchange.expect(MessageType.SubscribeOk);
    const group = track.newGroup();
    // The peer takes the stream but does not read: more than its window waits here.
    for (let i = 0; i < 4; i++) group.writeObject(new Uint8Array(100_000));
    const { value: stream } = await peer.transport.incomingUnidirectionalStreams.getReader().read();
    // The first stream is the session's control stream; the Group's comes after it.
    assert.ok(stream);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(track.backlog.bytes > 0);
    now += 501;
    group.writeObject(new Uint8Array(1));
    assert.equal(track.backlog.groupsDropped, 1);
    assert.equal(track.backlog.bytes, 0);
    assert.equal(wished, 1);
    group.writeObject(new Uint8Array(1));
    assert.equal(track.backlog.bytes, 0, 'what follows in the same Group is not sent');
    session.close();
  });

  test('a subscriber that leaves gets no more', async () => {
    const track = new PublishedTrack({}, 9);
    const { session, peer } = await publishing(track);
    const stream = await peer.transport.createBidirectionalStream();
    const writer = stream.writable.getWriter();
    await writer.write(encodeMessage(subscribe(1)));
    const reader = stream.readable.getReader();
    await reader.read();
    assert.equal(track.subscribers, 1);
    const gone = peer.transport.streamError(ResetCode.Cancelled);
    await Promise.all([reader.cancel(gone), writer.abort(gone)]);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(track.subscribers, 0);
    session.close();
  });
});
