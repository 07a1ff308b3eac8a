import { ObjectStatus, type FullTrackName, type Location, type Namespace } from '../model.ts';
import { MessageType, PublishDoneCode, RequestCode, ResetCode, StreamType } from '../wire/codes.ts';
import { FetchCursor } from '../wire/fetch.ts';
import { FetchType, type Fetch, type Subscribe } from '../wire/message.ts';
import { FilterType, GroupOrder, type Filter } from '../wire/params.ts';
import { SubgroupIdMode, writeObjectHeader, writeSubgroupHeader, type SubgroupHeader } from '../wire/subgroup.ts';
import { violation, Writer } from '../wire/varint.ts';
import type { Backlog, PublishedTrack, TrackFollower, WrittenGroup, WrittenObject } from './published.ts';
import type { Host, RequestStream } from './request.ts';

const DEFAULT_MAX_QUEUE_MS = 3000;

/** What the serving side needs of its session besides a Host. */
export interface PublishHost extends Host {
  /** The Track of that name, if a published Namespace has it. */
  findTrack(name: FullTrackName): PublishedTrack | undefined;
  nextAlias(): number;
  /** Subscriptions that this side serves, by the Request ID of their SUBSCRIBE. */
  readonly served: Map<number, TrackSender>;
  /** Resolves when a request of the peer has been taken up, or a moment later if it does not come. */
  taken(requestId: number): Promise<void>;
}

/** Serves a SUBSCRIBE that the peer sent, until one side ends it. */
export async function serveSubscribe(host: PublishHost, message: Subscribe, stream: RequestStream): Promise<void> {
  const track = host.findTrack(message.name);
  if (!track) {
    refuse(stream, RequestCode.DoesNotExist, 'no such track here');
    return;
  }
  for (const other of host.served.values()) {
    if (other.track === track) {
      refuse(stream, RequestCode.DuplicateSubscription, 'this track is already subscribed');
      return;
    }
  }
  const { params } = message;
  const sender = new TrackSender(host, stream, track, params.filter, params.forward ?? true);
  host.served.set(message.requestId, sender);
  stream.send({
    type: MessageType.SubscribeOk,
    alias: sender.alias,
    params: track.largest ? { largestObject: track.largest } : {},
    properties: track.properties,
  });
  sender.start();
  if (params.newGroupRequest !== undefined) track.requestNewGroup(params.newGroupRequest);
  void stream.stopped.then(() => sender.cancel());
  try {
    for (;;) {
      const update = await stream.receive();
      // A FIN says that no update follows; it is STOP_SENDING or a reset that ends the subscription.
      if (!update) {
        await sender.over;
        return;
      }
      if (update.type !== MessageType.RequestUpdate) {
        throw violation(`message 0x${update.type.toString(16)} on a subscription`);
      }
      stream.send({ type: MessageType.RequestOk, params: sender.update(update.params), properties: [] });
      if (update.params.newGroupRequest !== undefined) track.requestNewGroup(update.params.newGroupRequest);
    }
  } catch (error) {
    host.judge(error);
    sender.cancel();
  } finally {
    host.served.delete(message.requestId);
  }
}

/** Answers a TRACK_STATUS (section 10.14). */
export function serveTrackStatus(host: PublishHost, message: Subscribe, stream: RequestStream): void {
  const track = host.findTrack(message.name);
  if (!track) {
    refuse(stream, RequestCode.DoesNotExist, 'no such track here');
    return;
  }
  stream.send({
    type: MessageType.RequestOk,
    params: track.largest ? { largestObject: track.largest } : {},
    properties: track.properties,
  });
  stream.finish();
}

/** Sends REQUEST_ERROR and ends the request. */
export function refuse(stream: RequestStream, code: number, reason: string): void {
  stream.send({ type: MessageType.RequestError, code, retryInterval: 0, reason });
  stream.finish();
}

/** Serves a FETCH that the peer sent, from the Groups that the Track keeps (section 10.12.3). */
export async function serveFetch(host: PublishHost, message: Fetch, stream: RequestStream): Promise<void> {
  // The streams of a SUBSCRIBE and of the FETCH that joins it may change places on the way.
  if (message.range.fetchType !== FetchType.Standalone) await host.taken(message.range.joiningRequestId);
  const target = fetchTarget(host, message);
  if ('code' in target) {
    refuse(stream, target.code, target.reason);
    return;
  }
  const { track, start } = target;
  const largest = track.largest;
  if (!largest || compare(start, largest) > 0) {
    refuse(stream, RequestCode.InvalidRange, 'no object in this range');
    return;
  }
  const beyond = target.end.object === 0 ? target.end.group > largest.group : compare(target.end, largest) > 0;
  const end = beyond ? { group: largest.group, object: largest.object + 1 } : target.end;
  stream.send({
    type: MessageType.FetchOk,
    endOfTrack: track.ended !== undefined && end.group === largest.group && end.object === largest.object + 1,
    end,
    params: {},
    properties: track.properties,
  });
  // What was written is fixed before the first wait, so a Group that leaves the cache meanwhile is still sent whole.
  const descending = message.params.groupOrder === GroupOrder.Descending;
  const chunks = fetchChunks(message.requestId, track, start, end, descending);
  let data: WritableStreamDefaultWriter<Uint8Array> | undefined;
  const cancel = (): void => void data?.abort(host.transport.streamError(ResetCode.Cancelled)).catch(() => undefined);
  void stream.stopped.then(cancel);
  try {
    const out = await host.transport.createUnidirectionalStream({ sendOrder: sendOrder(track, largest.group) });
    data = out.getWriter();
    data.closed.catch(() => undefined);
    for (const chunk of chunks) {
      host.counters.bytesSent += chunk.length;
      await data.write(chunk);
    }
    await data.close();
    stream.finish();
  } catch (error) {
    host.judge(error);
    stream.cancel();
  }
}

type FetchTarget = { track: PublishedTrack; start: Location; end: Location } | { code: number; reason: string };

function fetchTarget(host: PublishHost, message: Fetch): FetchTarget {
  const { range } = message;
  if (range.fetchType === FetchType.Standalone) {
    const track = host.findTrack(range.name);
    if (!track) return { code: RequestCode.DoesNotExist, reason: 'no such track here' };
    const whole = range.end.object === 0;
    if (range.end.group < range.start.group || (!whole && compare(range.end, range.start) <= 0)) {
      return { code: RequestCode.InvalidRange, reason: 'the range ends before it starts' };
    }
    return { track, start: range.start, end: range.end };
  }
  const joined = host.served.get(range.joiningRequestId);
  if (!joined) return { code: RequestCode.InvalidJoiningRequestId, reason: 'no such subscription' };
  const location = joined.joiningLocation;
  if (!joined.forward || !location) return { code: RequestCode.InvalidRange, reason: 'nothing to join' };
  const group =
    range.fetchType === FetchType.AbsoluteJoining ? range.joiningStart : location.group - range.joiningStart;
  return {
    track: joined.track,
    start: { group: Math.max(0, group), object: 0 },
    end: { group: location.group, object: location.object + 1 },
  };
}

function* fetchChunks(
  requestId: number,
  track: PublishedTrack,
  start: Location,
  end: Location,
  descending: boolean,
): Generator<Uint8Array> {
  const groups = track.kept
    .filter((group) => group.whole && group.id >= start.group && group.id <= end.group)
    .map((group) => ({ id: group.id, objects: [...group.objects] }));
  const cursor = new FetchCursor(descending ? GroupOrder.Descending : GroupOrder.Ascending);
  yield new Writer().varint(StreamType.Fetch).varint(requestId).finish();
  const oldest = groups[0];
  // What is no longer kept is unknown, not absent. It precedes what is kept, or follows it when newest come first.
  const missing = !oldest || oldest.id > start.group;
  const unknown = (): Uint8Array => {
    const writer = new Writer();
    const group = descending ? start.group : oldest ? oldest.id - 1 : end.group;
    cursor.write(writer, { kind: 'unknown', group, object: descending ? start.object : Number.MAX_SAFE_INTEGER });
    return writer.finish();
  };
  if (missing && !descending) yield unknown();
  for (const group of descending ? groups.reverse() : groups) {
    for (const object of group.objects) {
      if (group.id === start.group && object.id < start.object) continue;
      if (group.id === end.group && end.object !== 0 && object.id >= end.object) break;
      const writer = new Writer();
      cursor.write(writer, {
        kind: 'object',
        group: group.id,
        subgroup: 0,
        object: object.id,
        priority: track.options.priority ?? 128,
        properties: object.properties,
        size: object.payload.length,
      });
      yield writer.bytes(object.payload).finish();
    }
  }
  if (missing && descending) yield unknown();
}

/** The sending side of one subscription (section 5.1): one stream per Group, and none of them ever makes the writer wait. */
export class TrackSender implements TrackFollower {
  readonly track: PublishedTrack;
  readonly alias: number;
  /** Resolves when the subscription is over. */
  readonly over: Promise<void>;
  readonly #host: PublishHost;
  readonly #stream: RequestStream;
  readonly #groups = new Map<number, GroupSender>();
  /** Groups that were given up: their later Objects are not sent. */
  #givenUp = -1;
  #start: Location;
  #endGroup: number | undefined;
  #forward: boolean;
  #joining: Location | undefined;
  #opened = 0;
  #dropped = 0;
  #unfollow: (() => void) | undefined;
  #ending: { readonly code: number; readonly reason: string } | undefined;
  #finished = false;
  #settle!: () => void;

  constructor(
    host: PublishHost,
    stream: RequestStream,
    track: PublishedTrack,
    filter: Filter | undefined,
    forward: boolean,
  ) {
    this.#host = host;
    this.#stream = stream;
    this.track = track;
    this.alias = host.nextAlias();
    this.over = new Promise((resolve) => (this.#settle = resolve));
    this.#forward = forward;
    this.#joining = track.largest;
    this.#start = { group: 0, object: 0 };
    this.#applyFilter(filter);
  }

  get forward(): boolean {
    return this.#forward;
  }

  /** The Joining Location (section 5.1): a joining FETCH ends here, and the subscription goes on after it. */
  get joiningLocation(): Location | undefined {
    return this.#joining;
  }

  get backlog(): Backlog {
    let bytes = 0;
    let ageMs = 0;
    for (const group of this.#groups.values()) {
      bytes += group.queuedBytes;
      ageMs = Math.max(ageMs, group.queuedMs);
    }
    return { bytes, ageMs, groupsDropped: this.#dropped };
  }

  /** Begins to follow the Track. Called once SUBSCRIBE_OK has been sent. */
  start(): void {
    this.#unfollow = this.track.follow(this);
  }

  /** Applies a REQUEST_UPDATE and returns the parameters of the answer. */
  update(params: { readonly filter?: Filter; readonly forward?: boolean }): { largestObject?: Location } {
    if (params.filter) this.#applyFilter(params.filter);
    if (params.forward === undefined || params.forward === this.#forward) return {};
    this.#forward = params.forward;
    if (!params.forward) {
      // "Omitting a Subgroup Object due to the subscriber's Forward State" resets its stream (section 11.4.3).
      for (const group of [...this.#groups.values()]) group.reset(ResetCode.Cancelled);
      return {};
    }
    this.#joining = this.track.largest;
    return this.#joining ? { largestObject: this.#joining } : {};
  }

  groupStarted(group: WrittenGroup): void {
    this.#dropLate();
    if (this.#endGroup !== undefined && group.id > this.#endGroup) {
      this.trackEnded(PublishDoneCode.SubscriptionEnded, 'the end of the filter');
    }
  }

  objectWritten(group: WrittenGroup, object: WrittenObject): void {
    if (!this.#forward || this.#ending || group.id <= this.#givenUp) return;
    if (compare({ group: group.id, object: object.id }, this.#start) < 0) return;
    let sender = this.#groups.get(group.id);
    if (!sender) {
      sender = new GroupSender(this.#host, this.track, this.alias, group.id, object.id, () => {
        this.#groups.delete(group.id);
        this.#checkDone();
      });
      this.#groups.set(group.id, sender);
      this.#opened++;
    }
    sender.write(object);
    this.#dropLate();
  }

  groupEnded(group: WrittenGroup): void {
    this.#groups.get(group.id)?.close();
  }

  trackEnded(code: number, reason: string): void {
    if (this.#ending || this.#finished) return;
    this.#ending = { code, reason };
    this.#unfollow?.();
    this.#checkDone();
  }

  /** Ends the subscription because the subscriber left, or the session did. Idempotent. */
  cancel(): void {
    if (this.#finished) return;
    this.#finish();
    // "It MUST reset any open streams associated with the SUBSCRIBE" (section 5.1.1).
    for (const group of [...this.#groups.values()]) group.reset(ResetCode.Cancelled);
    this.#stream.cancel();
  }

  /** Gives up Groups whose Objects wait too long: newer ones are worth more. */
  #dropLate(): void {
    const limit = this.track.options.maxQueueMs ?? DEFAULT_MAX_QUEUE_MS;
    for (const group of [...this.#groups.values()]) {
      if (group.queuedMs <= limit) continue;
      this.#givenUp = Math.max(this.#givenUp, group.id);
      this.#dropped++;
      group.reset(ResetCode.DeliveryTimeout);
      if (group.id === this.track.largest?.group) this.track.options.onNewGroup?.();
    }
  }

  /** PUBLISH_DONE goes out when the last stream is closed: a sender "MUST NOT send PUBLISH_DONE until" then. */
  #checkDone(): void {
    const ending = this.#ending;
    if (!ending || this.#finished || this.#groups.size > 0) return;
    this.#stream.send({ type: MessageType.PublishDone, streamCount: this.#opened, ...ending });
    this.#stream.finish();
    this.#finish();
  }

  #finish(): void {
    this.#finished = true;
    this.#unfollow?.();
    this.#settle();
  }

  #applyFilter(filter: Filter | undefined): void {
    const largest = this.track.largest;
    this.#endGroup = undefined;
    switch (filter?.type) {
      case undefined:
        this.#start = { group: 0, object: 0 };
        break;
      case FilterType.LargestObject:
        this.#start = largest ? { group: largest.group, object: largest.object + 1 } : { group: 0, object: 0 };
        break;
      case FilterType.NextGroupStart:
        this.#start = { group: largest ? largest.group + 1 : 0, object: 0 };
        break;
      case FilterType.AbsoluteStart:
        this.#start = filter.start;
        break;
      case FilterType.AbsoluteRange:
        this.#start = filter.start;
        this.#endGroup = filter.start.group + filter.endGroupDelta;
        break;
    }
  }
}

/** Sends one Group of one subscription on a stream of its own. Objects wait here until the transport takes them. */
class GroupSender {
  readonly id: number;
  readonly #host: Host;
  readonly #header: SubgroupHeader;
  readonly #onEnd: () => void;
  readonly #queue: { readonly object: WrittenObject; readonly since: number }[] = [];
  #queuedBytes = 0;
  #writing: number | undefined;
  #previous: number | undefined;
  #out: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #wake: (() => void) | undefined;
  #closed = false;
  #over = false;

  constructor(
    host: Host,
    track: PublishedTrack,
    alias: number,
    group: number,
    firstObject: number,
    onEnd: () => void,
  ) {
    this.id = group;
    this.#host = host;
    this.#onEnd = onEnd;
    this.#header = {
      alias,
      group,
      subgroupIdMode: SubgroupIdMode.Zero,
      subgroup: 0,
      priority: undefined,
      // All Objects of a Group are in this one Subgroup, so its last is the Group's last.
      endOfGroup: true,
      firstObject: firstObject === 0,
      properties: true,
    };
    void this.#run(sendOrder(track, group));
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Milliseconds since the oldest unsent Object was written. */
  get queuedMs(): number {
    const since = this.#writing ?? this.#queue[0]?.since;
    return since === undefined ? 0 : performance.now() - since;
  }

  write(object: WrittenObject): void {
    if (this.#over || this.#closed) return;
    this.#queue.push({ object, since: performance.now() });
    this.#queuedBytes += object.payload.length;
    this.#wake?.();
  }

  /** Ends the stream after what is queued. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  reset(code: number): void {
    if (this.#over) return;
    this.#out?.abort(this.#host.transport.streamError(code)).catch(() => undefined);
    this.#end();
  }

  async #run(order: number): Promise<void> {
    try {
      const stream = await this.#host.transport.createUnidirectionalStream({ sendOrder: order });
      const out = stream.getWriter();
      out.closed.catch(() => undefined);
      if (this.#over) {
        await out.abort(this.#host.transport.streamError(ResetCode.Cancelled));
        return;
      }
      this.#out = out;
      const head = new Writer();
      writeSubgroupHeader(head, this.#header);
      await this.#send(head);
      while (!this.#over) {
        const next = this.#queue.shift();
        if (!next) {
          if (this.#closed) break;
          await new Promise<void>((resolve) => (this.#wake = resolve));
          this.#wake = undefined;
          continue;
        }
        const { object } = next;
        this.#writing = next.since;
        const writer = new Writer();
        writeObjectHeader(writer, this.#header, this.#previous, {
          id: object.id,
          properties: object.properties,
          size: object.payload.length,
          status: ObjectStatus.Normal,
        });
        this.#previous = object.id;
        await this.#send(writer.bytes(object.payload));
        this.#writing = undefined;
        this.#queuedBytes -= object.payload.length;
        this.#host.counters.objectsSent++;
      }
      if (!this.#over) await out.close();
    } catch (error) {
      // STOP_SENDING: this Group is not wanted. Any other failure is the end of the session, which reports itself.
      this.#host.judge(error);
    } finally {
      this.#end();
    }
  }

  async #send(writer: Writer): Promise<void> {
    const bytes = writer.finish();
    this.#host.counters.bytesSent += bytes.length;
    await this.#out?.write(bytes);
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#writing = undefined;
    this.#wake?.();
    this.#onEnd();
  }
}

/** Sends urgent Tracks first, and of one Track the newest Group: what is late loses. 42 bits hold a Group ID in Unix ms. */
function sendOrder(track: PublishedTrack, group: number): number {
  return (255 - (track.options.priority ?? 128)) * 2 ** 42 + (group % 2 ** 42);
}

function compare(a: Location, b: Location): number {
  return a.group - b.group || a.object - b.object;
}

/** A Namespace that this client publishes (section 10.15). */
export class NamespacePublication {
  readonly namespace: Namespace;
  /** Resolves, and never rejects, when the Namespace is no longer published: withdrawn, revoked or the session over. */
  readonly closed: Promise<void>;
  readonly find: (track: string) => PublishedTrack | undefined;
  readonly #stream: RequestStream;
  #settle!: () => void;

  constructor(namespace: Namespace, find: (track: string) => PublishedTrack | undefined, stream: RequestStream) {
    this.namespace = namespace;
    this.find = find;
    this.#stream = stream;
    this.closed = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Withdraws the Namespace. Tracks that are subscribed go on until they are closed. Idempotent. */
  close(): void {
    this.#stream.cancel();
    this.#settle();
  }

  /** Watches the request until the peer revokes it. */
  async watch(host: Host): Promise<void> {
    try {
      for (;;) {
        const message = await this.#stream.receive();
        if (!message) break;
        if (message.type !== MessageType.GoAway) {
          throw violation(`message 0x${message.type.toString(16)} on a published namespace`);
        }
      }
    } catch (error) {
      host.judge(error);
    }
    this.#settle();
  }
}
