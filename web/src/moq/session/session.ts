import { RequestError, SessionError } from '../errors.ts';
import type {
  CloseInfo,
  ConnectOptions,
  FullTrackName,
  Namespace,
  NamespaceSubscription,
  SessionStats,
  SubscribeOptions,
  Subscription,
} from '../model.ts';
import type { BidiStream, Transport } from '../transport/transport.ts';
import { dialWebTransport } from '../transport/webtransport.ts';
import { codeName, MessageType, RequestCode, ResetCode, SessionCode, StreamType } from '../wire/codes.ts';
import { encodeMessage, readMessage, readMessageOf, type GoAway, type Message, type Setup } from '../wire/message.ts';
import { sameNamespace } from '../wire/name.ts';
import { AliasType } from '../wire/params.ts';
import { isSubgroupType, readSubgroupHeader, type SubgroupHeader } from '../wire/subgroup.ts';
import { violation, WireError, type Cursor } from '../wire/varint.ts';
import { NamespaceReceiver } from './namespace.ts';
import { NamespacePublication, refuse, serveFetch, serveSubscribe, serveTrackStatus, type TrackSender } from './publish.ts';
import type { PublishHost } from './publish.ts';
import type { PublishedTrack } from './published.ts';
import { ByteReader } from './reader.ts';
import { RequestStream, type Counters, type OpenRequest } from './request.ts';
import { receiveAnswer, subscribe, type SubscriptionHost, type TrackReceiver } from './subscribe.ts';

/** How long the peer may take to send its SETUP, in milliseconds. */
const SETUP_TIMEOUT_MS = 10_000;
/** Streams that are held while a SUBSCRIBE_OK may still give their Track Alias. */
const MAX_PARKED_STREAMS = 64;
/** Requests of the peer that are served at once; it gets EXCESSIVE_LOAD for more. */
const MAX_SERVED_REQUESTS = 256;
/** How long a joining FETCH waits for the SUBSCRIBE that it has overtaken, in milliseconds. */
const OVERTAKEN_MS = 2000;
/** How long the end of the session may take to follow the end of its control stream, in milliseconds. */
const CONTROL_END_MS = 500;
/** Request IDs of the peer that are remembered, to find one that is used twice. */
const MAX_SEEN_REQUESTS = 4096;

const IMPLEMENTATION = 'freshet-web';

/** GOAWAY as received: where to connect next (empty: the same URL) and how long the peer waits. */
export interface GoingAway {
  readonly uri: string;
  readonly timeoutMs: number;
}

/** How to run a session on an open transport. */
export interface SessionOptions {
  /** The server side uses odd Request IDs. The default is the client's. */
  readonly role?: 'client' | 'server';
  /** Sent in SETUP as AUTHORIZATION_TOKEN. */
  readonly token?: string;
  readonly signal?: AbortSignal;
  /** When connecting began, as of performance.now(); by default now. */
  readonly started?: number;
  /** Decides on a Namespace that the peer publishes. Without it, all are refused: a page asks for what it wants. */
  readonly acceptNamespace?: (namespace: Namespace) => boolean;
}

/**
 * One connection that speaks moqt-18 (section 3), after SETUP both ways. It subscribes, and serves the Tracks of the
 * Namespaces that it publishes. Nothing it starts rejects unobserved: failures reach the call or the handle they belong
 * to, and {@link closed}.
 */
export class Session {
  /** Settles, and never rejects, when the session is over. */
  readonly closed: Promise<CloseInfo>;
  /** Resolves when the peer asks to move to another session; never settles otherwise. */
  readonly goingAway: Promise<GoingAway>;
  readonly #core: Core;

  private constructor(core: Core) {
    this.#core = core;
    this.closed = core.closed;
    this.goingAway = core.goingAway;
  }

  /**
   * Connects over WebTransport. Rejects with SessionError when the server cannot be reached, speaks no moqt-18, or ends
   * the session before it began (for example with Unauthorized).
   */
  static async connect(url: string, options: ConnectOptions = {}): Promise<Session> {
    const started = performance.now();
    const transport = await dialWebTransport(url, options);
    return Session.over(transport, { ...options, started });
  }

  /** Starts a session on a transport that is already open. Rejects as connect() does. */
  static async over(transport: Transport, options: SessionOptions = {}): Promise<Session> {
    const core = new Core(transport, options);
    const abort = (): void => core.close(SessionCode.NoError, 'given up', false);
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      await core.start();
      options.signal?.throwIfAborted();
      return new Session(core);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** Subscribes to a Track. Rejects with RequestError when the peer refuses, and SessionError when the session ends. */
  subscribe(namespace: Namespace, track: string, options: SubscribeOptions = {}): Promise<Subscription> {
    return this.#core.subscribe({ namespace, track }, options);
  }

  /** Learns which Namespaces under a prefix are live, from now on. */
  subscribeNamespace(prefix: Namespace): NamespaceSubscription {
    return this.#core.subscribeNamespace(prefix);
  }

  /**
   * Publishes a Namespace: the peer may subscribe to the Tracks that `find` knows. Rejects with RequestError when it
   * refuses (Unauthorized, for one).
   */
  publishNamespace(
    namespace: Namespace,
    find: (track: string) => PublishedTrack | undefined,
  ): Promise<NamespacePublication> {
    return this.#core.publishNamespace(namespace, find);
  }

  /**
   * Asks the peer for something that cannot exist and resolves to the milliseconds that its answer took: a sign of life,
   * for which the draft has no message. Rejects with SessionError when the session ends, and with a RequestError of code
   * Timeout when no answer comes in time.
   */
  probe(timeoutMs: number): Promise<number> {
    return this.#core.probe(timeoutMs);
  }

  stats(): SessionStats {
    return this.#core.stats();
  }

  /** Ends the session with everything in it. Idempotent. */
  close(code: number = SessionCode.NoError, reason = ''): void {
    this.#core.close(code, reason, false);
  }
}

/** The inside of a session: what its requests see of it. */
class Core implements SubscriptionHost, PublishHost {
  readonly transport: Transport;
  readonly counters: Counters = {
    bytesReceived: 0,
    bytesSent: 0,
    objectsReceived: 0,
    objectsSent: 0,
    groupsReset: 0,
    groupsSkipped: 0,
  };
  readonly served = new Map<number, TrackSender>();
  readonly closed: Promise<CloseInfo>;
  readonly over: Promise<SessionError>;
  readonly goingAway: Promise<GoingAway>;

  readonly #server: boolean;
  readonly #token: string | undefined;
  readonly #started: number;
  readonly #acceptNamespace: (namespace: Namespace) => boolean;
  readonly #subscriptions = new Map<number, TrackReceiver>();
  readonly #publications = new Set<NamespacePublication>();
  readonly #fetches = new Map<number, (reader: ByteReader) => void>();
  readonly #parked: { readonly header: SubgroupHeader; readonly reader: ByteReader }[] = [];
  readonly #seenRequests = new Set<number>();
  /** Who waits for a request of the peer, by its ID. */
  readonly #awaited = new Map<number, Set<() => void>>();
  /** SUBSCRIBEs that have not been answered, so that a stream may belong to them. */
  #unanswered = 0;
  #serving = 0;
  #nextRequest: number;
  #nextAlias = 1;
  #control: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #peerControl = false;
  #movingTo: GoingAway | undefined;
  #setupMs = 0;
  #end: SessionError | undefined;
  #ready!: () => void;
  readonly #setup: Promise<void>;
  #settleClosed!: (info: CloseInfo) => void;
  #settleOver!: (error: SessionError) => void;
  #settleGoingAway!: (away: GoingAway) => void;

  constructor(transport: Transport, options: SessionOptions) {
    this.transport = transport;
    this.#server = options.role === 'server';
    this.#nextRequest = this.#server ? 1 : 0;
    this.#token = options.token;
    this.#started = options.started ?? performance.now();
    this.#acceptNamespace = options.acceptNamespace ?? (() => false);
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve));
    this.over = new Promise((resolve) => (this.#settleOver = resolve));
    this.goingAway = new Promise((resolve) => (this.#settleGoingAway = resolve));
    this.#setup = new Promise((resolve) => (this.#ready = resolve));
  }

  /** Sends SETUP, begins to take streams, and waits for the peer's SETUP. */
  async start(): Promise<void> {
    void this.transport.closed.then(({ code, reason, clean }) => {
      this.#finish(clean ? code : SessionCode.InternalError, reason || (clean ? '' : 'the connection was lost'), true);
    });
    void this.#acceptStreams(this.transport.incomingUnidirectionalStreams, (stream) => this.#takeUni(stream));
    void this.#acceptStreams(this.transport.incomingBidirectionalStreams, (stream) => this.#takeBidi(stream));
    const timeout = setTimeout(() => {
      this.close(SessionCode.ControlMessageTimeout, 'the peer sent no SETUP', false);
    }, SETUP_TIMEOUT_MS);
    try {
      await Promise.race([this.#sendSetup(), this.#thrownWhenOver()]);
      await Promise.race([this.#setup, this.#thrownWhenOver()]);
    } finally {
      clearTimeout(timeout);
    }
  }

  async subscribe(name: FullTrackName, options: SubscribeOptions): Promise<TrackReceiver> {
    this.#unanswered++;
    try {
      return await subscribe(this, name, options);
    } finally {
      this.#unanswered--;
      // Nobody is left who could own these: they belong to subscriptions that ended.
      if (this.#unanswered === 0) for (const { reader } of this.#parked.splice(0)) this.#discard(reader);
    }
  }

  subscribeNamespace(prefix: Namespace): NamespaceReceiver {
    return new NamespaceReceiver(this, prefix);
  }

  async publishNamespace(
    namespace: Namespace,
    find: (track: string) => PublishedTrack | undefined,
  ): Promise<NamespacePublication> {
    for (const other of this.#publications) {
      if (sameNamespace(other.namespace, namespace)) throw new RangeError('this namespace is already published');
    }
    const request = await this.openRequest((requestId) => ({
      type: MessageType.PublishNamespace,
      requestId,
      namespace,
      params: {},
    }));
    const publication = new NamespacePublication(namespace, find, request.stream);
    // From here on: the peer may subscribe before its REQUEST_OK is read.
    this.#publications.add(publication);
    void publication.closed.then(() => this.#publications.delete(publication));
    try {
      const answer = await receiveAnswer(this, request);
      if (answer.type !== MessageType.RequestOk) {
        throw this.fail(SessionCode.ProtocolViolation, 'wrong answer to PUBLISH_NAMESPACE');
      }
    } catch (error) {
      this.#publications.delete(publication);
      throw error;
    }
    void publication.watch(this);
    return publication;
  }

  async probe(timeoutMs: number): Promise<number> {
    const started = performance.now();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let request: OpenRequest | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new RequestError(RequestCode.Timeout, 'the peer does not answer')), timeoutMs);
    });
    const ask = async (): Promise<void> => {
      // Session-level Tracks are never passed on to another session (section 3.2.2), so the peer itself answers.
      request = await this.openRequest((requestId) => ({
        type: MessageType.TrackStatus,
        requestId,
        name: { namespace: ['.session'], track: 'probe' },
        params: {},
      }));
      try {
        await receiveAnswer(this, request);
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
      }
    };
    try {
      await Promise.race([ask(), late]);
      return performance.now() - started;
    } catch (error) {
      request?.stream.cancel();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  stats(): SessionStats {
    return {
      ...this.counters,
      setupMs: this.#setupMs,
      subscriptions: this.#subscriptions.size,
      publications: this.served.size,
    };
  }

  /** Ends the session. `remote`: the peer, or the network, did. */
  close(code: number, reason: string, remote: boolean): void {
    if (this.#end) return;
    this.transport.close(code, reason);
    this.#finish(code, reason, remote);
  }

  // Host

  async openRequest(first: (requestId: number) => Message): Promise<OpenRequest> {
    if (this.#end) throw this.#end;
    if (this.#movingTo) throw new RequestError(RequestCode.GoingAway, 'the peer is going away');
    let bidi: BidiStream;
    try {
      bidi = await this.transport.createBidirectionalStream();
    } catch {
      throw await this.over;
    }
    if (this.#end) throw this.#end;
    const id = this.nextRequestId();
    const stream = new RequestStream(this, bidi);
    stream.send(first(id));
    return { id, stream };
  }

  nextRequestId(): number {
    const id = this.#nextRequest;
    this.#nextRequest += 2;
    return id;
  }

  nextAlias(): number {
    return this.#nextAlias++;
  }

  judge(error: unknown): number | undefined {
    if (error instanceof WireError) {
      this.fail(error.code, error.message);
      return undefined;
    }
    return this.transport.streamCode(error);
  }

  fail(code: number, reason: string): SessionError {
    this.close(code, reason, false);
    return this.#end ?? new SessionError(code, reason, false);
  }

  attach(alias: number, subscription: TrackReceiver): void {
    if (this.#end) {
      subscription.sessionEnded(this.#end.code, this.#end.message);
      return;
    }
    if (this.#subscriptions.has(alias)) {
      this.fail(SessionCode.DuplicateTrackAlias, `track alias ${alias} is in use`);
      subscription.sessionEnded(SessionCode.DuplicateTrackAlias, 'duplicate track alias');
      return;
    }
    this.#subscriptions.set(alias, subscription);
    const others = this.#parked.splice(0).filter((parked) => {
      if (parked.header.alias !== alias) return true;
      subscription.accept(parked.header, parked.reader);
      return false;
    });
    this.#parked.push(...others);
  }

  detach(alias: number): void {
    this.#subscriptions.delete(alias);
  }

  expectFetch(requestId: number, accept: (reader: ByteReader) => void): void {
    this.#fetches.set(requestId, accept);
  }

  forgetFetch(requestId: number): void {
    this.#fetches.delete(requestId);
  }

  findTrack(name: FullTrackName): PublishedTrack | undefined {
    for (const publication of this.#publications) {
      if (sameNamespace(publication.namespace, name.namespace)) return publication.find(name.track);
    }
    return undefined;
  }

  taken(requestId: number): Promise<void> {
    if (this.#seenRequests.has(requestId) || this.#end) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#awaited.get(requestId) ?? new Set();
      this.#awaited.set(requestId, waiting);
      const done = (): void => {
        clearTimeout(timer);
        waiting.delete(done);
        if (waiting.size === 0) this.#awaited.delete(requestId);
        resolve();
      };
      const timer = setTimeout(done, OVERTAKEN_MS);
      waiting.add(done);
    });
  }

  // Streams of the peer

  async #acceptStreams<T>(streams: ReadableStream<T>, take: (stream: T) => Promise<void>): Promise<void> {
    const reader = streams.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        take(value).catch((error: unknown) => this.judge(error));
      }
    } catch {
      // The transport is over, and says itself how.
    }
  }

  async #takeUni(stream: ReadableStream<Uint8Array>): Promise<void> {
    const reader = new ByteReader(stream);
    const head = await reader.read((cursor) => this.#readStreamHead(cursor));
    if (!head) return;
    switch (head.kind) {
      case 'control':
        if (this.#peerControl) throw violation('second control stream');
        this.#peerControl = true;
        if (head.setup.type === MessageType.Setup) this.#takeSetup(head.setup);
        await this.#readControl(reader);
        return;
      case 'padding':
        await reader.discard();
        return;
      case 'fetch': {
        const accept = this.#fetches.get(head.requestId);
        this.#fetches.delete(head.requestId);
        if (accept) accept(reader);
        else this.#discard(reader);
        return;
      }
      case 'subgroup': {
        const subscription = this.#subscriptions.get(head.header.alias);
        if (subscription) subscription.accept(head.header, reader);
        else if (this.#unanswered > 0) this.#park(head.header, reader);
        else this.#discard(reader);
      }
    }
  }

  #readStreamHead(cursor: Cursor) {
    const type = cursor.varintAny();
    // A control stream has no header: it begins with SETUP, whose type doubles as the stream's.
    if (type === StreamType.Setup) return { kind: 'control', setup: readMessageOf(type, cursor) } as const;
    if (type === StreamType.Padding) return { kind: 'padding' } as const;
    if (type === StreamType.Fetch) return { kind: 'fetch', requestId: cursor.varint() } as const;
    if (isSubgroupType(type)) return { kind: 'subgroup', header: readSubgroupHeader(cursor, type) } as const;
    throw violation(`unknown stream type 0x${type.toString(16)}`);
  }

  #park(header: SubgroupHeader, reader: ByteReader): void {
    this.#parked.push({ header, reader });
    if (this.#parked.length > MAX_PARKED_STREAMS) this.#discard(this.#parked.shift()!.reader);
  }

  #discard(reader: ByteReader): void {
    reader.cancel(this.transport.streamError(ResetCode.Cancelled));
  }

  async #readControl(reader: ByteReader): Promise<void> {
    for (;;) {
      let message: Message | undefined;
      try {
        message = await reader.read((cursor) => readMessage(cursor));
      } catch (error) {
        if (error instanceof WireError) throw error;
        // A reset of the control stream, unless it is the end of the whole transport.
        if (this.transport.streamCode(error) === undefined) return;
      }
      if (!message) {
        // A session that ends takes its streams along, and says why only after them.
        await Promise.race([this.over, new Promise((resolve) => setTimeout(resolve, CONTROL_END_MS))]);
        throw violation('the control stream was closed');
      }
      if (message.type !== MessageType.GoAway) {
        throw violation(`message 0x${message.type.toString(16)} on the control stream`);
      }
      this.#takeGoAway(message);
    }
  }

  #takeSetup(setup: Setup): void {
    // "It MUST NOT be used by the server, or when WebTransport is used" (sections 10.3.1.1 and 10.3.1.2).
    if (setup.path !== undefined) throw new WireError(SessionCode.InvalidPath, 'PATH over WebTransport');
    if (setup.authority !== undefined) throw new WireError(SessionCode.InvalidAuthority, 'AUTHORITY over WebTransport');
    this.#setupMs = performance.now() - this.#started;
    this.#ready();
  }

  #takeGoAway(message: GoAway): void {
    if (this.#movingTo) throw violation('second GOAWAY');
    if (message.requestId === undefined) throw violation('GOAWAY without a request ID on the control stream');
    if (message.requestId % 2 !== (this.#server ? 1 : 0)) {
      throw new WireError(SessionCode.InvalidRequestId, 'GOAWAY with a request ID of the wrong side');
    }
    if (this.#server && message.uri !== '') throw violation('GOAWAY with a URI from a client');
    this.#movingTo = { uri: message.uri, timeoutMs: message.timeoutMs };
    this.#settleGoingAway(this.#movingTo);
  }

  async #takeBidi(bidi: BidiStream): Promise<void> {
    const stream = new RequestStream(this, bidi);
    if (this.#serving >= MAX_SERVED_REQUESTS) {
      stream.cancel(ResetCode.ExcessiveLoad);
      return;
    }
    this.#serving++;
    try {
      const message = await stream.receive();
      // "the data SHOULD be buffered until both control streams arrive and setup is complete" (section 3.3).
      await Promise.race([this.#setup, this.over]);
      if (message && !this.#end) await this.#serve(message, stream);
    } finally {
      this.#serving--;
    }
  }

  async #serve(message: Message, stream: RequestStream): Promise<void> {
    switch (message.type) {
      case MessageType.Subscribe:
        this.#checkRequestId(message.requestId);
        await serveSubscribe(this, message, stream);
        return;
      case MessageType.TrackStatus:
        this.#checkRequestId(message.requestId);
        serveTrackStatus(this, message, stream);
        return;
      case MessageType.Fetch:
        this.#checkRequestId(message.requestId);
        await serveFetch(this, message, stream);
        return;
      case MessageType.PublishNamespace:
        this.#checkRequestId(message.requestId);
        if (!this.#acceptNamespace(message.namespace)) {
          refuse(stream, RequestCode.Uninterested, 'this client asks for what it wants');
          return;
        }
        stream.send({ type: MessageType.RequestOk, params: {}, properties: [] });
        // It lasts until the publisher withdraws it, or the session ends; either ends the stream.
        while (await stream.receive()) throw violation('message on a published namespace');
        stream.finish();
        return;
      case MessageType.Publish:
        this.#checkRequestId(message.requestId);
        refuse(stream, RequestCode.Uninterested, 'this client asks for what it wants');
        return;
      case MessageType.SubscribeNamespace:
      case MessageType.SubscribeTracks:
        this.#checkRequestId(message.requestId);
        refuse(stream, RequestCode.NotSupported, 'this client announces its namespaces itself');
        return;
      default:
        throw violation(`request stream begins with message 0x${message.type.toString(16)}`);
    }
  }

  #checkRequestId(id: number): void {
    if (id % 2 !== (this.#server ? 0 : 1)) {
      throw new WireError(SessionCode.InvalidRequestId, `request ID ${id} of the wrong side`);
    }
    if (this.#seenRequests.has(id)) throw new WireError(SessionCode.InvalidRequestId, `request ID ${id} twice`);
    this.#seenRequests.add(id);
    // Once the request itself has been taken up, which happens before the next turn.
    queueMicrotask(() => {
      for (const done of [...(this.#awaited.get(id) ?? [])]) done();
    });
    if (this.#seenRequests.size > MAX_SEEN_REQUESTS) this.#seenRequests.delete(this.#seenRequests.values().next().value!);
  }

  // Beginning and end

  async #sendSetup(): Promise<void> {
    const setup: Setup = {
      type: MessageType.Setup,
      implementation: IMPLEMENTATION,
      ...(this.#token === undefined
        ? {}
        : {
            tokens: [
              { aliasType: AliasType.UseValue, tokenType: 0, value: new TextEncoder().encode(this.#token) },
            ],
          }),
    };
    let stream: WritableStream<Uint8Array>;
    try {
      stream = await this.transport.createUnidirectionalStream({ sendOrder: Number.MAX_SAFE_INTEGER });
    } catch {
      throw await this.over;
    }
    this.#control = stream.getWriter();
    this.#control.closed.catch(() => undefined);
    this.#control.write(encodeMessage(setup)).catch(() => undefined);
  }

  async #thrownWhenOver(): Promise<never> {
    throw await this.over;
  }

  #finish(code: number, reason: string, remote: boolean): void {
    if (this.#end) return;
    const error = new SessionError(code, reason, remote);
    this.#end = error;
    for (const subscription of [...this.#subscriptions.values()]) subscription.sessionEnded(code, error.message);
    for (const sender of [...this.served.values()]) sender.cancel();
    for (const publication of [...this.#publications]) publication.close();
    for (const waiting of [...this.#awaited.values()]) for (const done of [...waiting]) done();
    this.#parked.length = 0;
    this.#fetches.clear();
    this.#settleOver(error);
    this.#settleClosed({ code, reason: reason || codeName(SessionCode, code), remote });
  }
}
