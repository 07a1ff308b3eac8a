import { RequestError } from '../errors.ts';
import {
  ObjectStatus,
  type FullTrackName,
  type Group,
  type Location,
  type Properties,
  type SubscribeOptions,
  type Subscription,
  type SubscriptionChange,
  type SubscriptionEnd,
} from '../model.ts';
import { MessageType, PropertyType, RequestCode, ResetCode, SessionCode } from '../wire/codes.ts';
import type { PublishDone } from '../wire/message.ts';
import { FilterType, type Params } from '../wire/params.ts';
import { integerProperty, mandatoryProperty } from '../wire/properties.ts';
import { readObjectHeader, type SubgroupHeader } from '../wire/subgroup.ts';
import { violation, WireError } from '../wire/varint.ts';
import { joiningFetch, type FetchRegistry, type RunningFetch } from './fetch.ts';
import { GroupReceiver, type GroupSource } from './group.ts';
import { AsyncQueue } from './queue.ts';
import type { ByteReader } from './reader.ts';
import { requestErrorOf, type Host, type OpenRequest } from './request.ts';

/** The largest Object that is taken: a key frame of 8K video at a high rate stays well below. */
export const MAX_OBJECT_BYTES = 32 << 20;
/** Groups that wait for a consumer that takes none; then the oldest is given up. */
const MAX_WAITING_GROUPS = 16;
/** Groups whose end is remembered, so that a late stream of theirs is not taken for a new Group. */
const MAX_ENDED_GROUPS = 256;
/** How long streams may still arrive after PUBLISH_DONE when their number is unknown or not reached, in milliseconds. */
const DONE_LINGER_MS = 2000;

/** What a subscription needs of its session besides a Host. */
export interface SubscriptionHost extends Host, FetchRegistry {
  /** Gives the Track Alias to the subscription, with the streams that came before SUBSCRIBE_OK. */
  attach(alias: number, subscription: TrackReceiver): void;
  detach(alias: number): void;
}

/** Sends SUBSCRIBE and waits for the answer. Rejects with RequestError or SessionError. */
export async function subscribe(
  host: SubscriptionHost,
  name: FullTrackName,
  options: SubscribeOptions,
): Promise<TrackReceiver> {
  options.signal?.throwIfAborted();
  const params: Params = {
    filter: { type: FilterType.LargestObject },
    ...(options.priority === undefined ? {} : { subscriberPriority: options.priority }),
    ...(options.newGroup ? { newGroupRequest: 0 } : {}),
  };
  const request = await host.openRequest((requestId) => ({ type: MessageType.Subscribe, requestId, name, params }));
  // Sent along instead of after the answer, which saves the viewer a round trip.
  const fetch = options.join ? joiningFetch(host, request.id) : undefined;
  const abort = (): void => request.stream.cancel();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    const answer = await receiveAnswer(host, request);
    options.signal?.throwIfAborted();
    if (answer.type !== MessageType.SubscribeOk) {
      throw host.fail(SessionCode.ProtocolViolation, `message 0x${answer.type.toString(16)} in answer to SUBSCRIBE`);
    }
    const mandatory = mandatoryProperty(answer.properties);
    if (mandatory !== undefined) {
      request.stream.cancel();
      throw new RequestError(RequestCode.UnsupportedExtension, `track property 0x${mandatory.toString(16)} is unknown`);
    }
    const receiver = new TrackReceiver(host, request, name, answer.alias, answer.properties, answer.params.largestObject);
    receiver.start(fetch);
    return receiver;
  } catch (error) {
    fetch?.cancel();
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

/** Waits for the first message of a request's answer. Rejects with RequestError for REQUEST_ERROR and for a reset. */
export async function receiveAnswer(host: Host, request: OpenRequest) {
  let answer;
  try {
    answer = await request.stream.receive();
  } catch (error) {
    const code = host.judge(error);
    if (code === undefined) throw await host.over;
    throw new RequestError(RequestCode.InternalError, `the peer gave the request up with code ${code}`);
  }
  if (!answer) throw new RequestError(RequestCode.InternalError, 'the peer ended the request without an answer');
  if (answer.type === MessageType.RequestError) {
    request.stream.finish();
    throw requestErrorOf(answer);
  }
  return answer;
}

/** The receiving side of a subscription (section 5.1): spreads its streams over Groups. */
export class TrackReceiver implements Subscription {
  readonly name: FullTrackName;
  readonly properties: Properties;
  readonly largest: Location | undefined;
  readonly closed: Promise<SubscriptionEnd>;

  readonly #host: SubscriptionHost;
  readonly #request: OpenRequest;
  readonly #alias: number;
  readonly #defaultPriority: number;
  readonly #waiting = new AsyncQueue<GroupReceiver>();
  /** Groups that have not ended, in the order in which they began. */
  readonly #groups = new Map<number, GroupReceiver>();
  readonly #ended = new Set<number>();
  readonly #updates: { resolve: () => void; reject: (error: Error) => void }[] = [];
  /** While the joining FETCH runs: live streams of the Group that it fills. */
  #held: { readonly group: number; readonly release: (() => void)[] } | undefined;
  #cancelJoin: (() => void) | undefined;
  #newest = -1;
  #streams = 0;
  #done: PublishDone | undefined;
  #lingering: ReturnType<typeof setTimeout> | undefined;
  #lingered = false;
  #over = false;
  #settle!: (end: SubscriptionEnd) => void;

  constructor(
    host: SubscriptionHost,
    request: OpenRequest,
    name: FullTrackName,
    alias: number,
    properties: Properties,
    largest: Location | undefined,
  ) {
    this.#host = host;
    this.#request = request;
    this.#alias = alias;
    this.name = name;
    this.properties = properties;
    this.largest = largest;
    this.#defaultPriority = integerProperty(properties, PropertyType.DefaultPublisherPriority) ?? 128;
    this.closed = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Begins to take streams and messages, and what the FETCH for the current Group brings. */
  start(fetch: RunningFetch | undefined): void {
    // A Track without Objects has nothing to join; the publisher refuses the FETCH.
    if (fetch && this.largest) this.#join(this.largest.group, fetch, true);
    else fetch?.cancel();
    this.#host.attach(this.#alias, this);
    void this.#readMessages();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Group, void, undefined> {
    try {
      for (;;) {
        const group = await this.#waiting.next();
        if (!group) return;
        yield group;
      }
    } finally {
      this.close();
    }
  }

  update(change: SubscriptionChange): Promise<void> {
    if (this.#over) return Promise.reject(new RequestError(RequestCode.InternalError, 'the subscription is over'));
    const newGroup = change.newGroup && integerProperty(this.properties, PropertyType.DynamicGroups) === 1;
    const params: Params = {
      ...(change.forward === undefined ? {} : { forward: change.forward }),
      ...(change.priority === undefined ? {} : { subscriberPriority: change.priority }),
      ...(newGroup ? { newGroupRequest: Math.max(this.#newest, this.largest?.group ?? -1) + 1 } : {}),
    };
    if (Object.keys(params).length === 0) return Promise.resolve();
    const answered = new Promise<void>((resolve, reject) => this.#updates.push({ resolve, reject }));
    this.#request.stream.send({ type: MessageType.RequestUpdate, requestId: this.#host.nextRequestId(), params });
    return answered;
  }

  close(): void {
    if (this.#over) return;
    this.#request.stream.cancel();
    this.#finish({ kind: 'closed', code: 0, reason: '' });
  }

  /** Ends the subscription because its session ended. */
  sessionEnded(code: number, reason: string): void {
    this.#finish({ kind: 'session', code, reason });
  }

  /** Takes the stream of a Subgroup whose header has been read. */
  accept(header: SubgroupHeader, reader: ByteReader): void {
    this.#streams++;
    const stop = (): void => reader.cancel(this.#host.transport.streamError(ResetCode.Cancelled));
    if (this.#over || this.#ended.has(header.group)) {
      stop();
      this.#checkDone();
      return;
    }
    const group = this.#group(header.group);
    const source: GroupSource = { stop };
    group.addSource(source);
    const held = this.#held;
    if (held?.group === header.group) {
      held.release.push(() => void this.#readSubgroup(group, source, header, reader));
    } else {
      void this.#readSubgroup(group, source, header, reader);
    }
  }

  #group(id: number): GroupReceiver {
    const known = this.#groups.get(id);
    if (known) return known;
    const group = new GroupReceiver(id, (ended, end) => {
      this.#groups.delete(ended.id);
      this.#ended.add(ended.id);
      if (this.#ended.size > MAX_ENDED_GROUPS) this.#ended.delete(this.#ended.values().next().value!);
      if (end.kind === 'reset') this.#host.counters.groupsReset++;
      if (end.kind === 'skipped') this.#host.counters.groupsSkipped++;
      this.#checkDone();
    });
    this.#groups.set(id, group);
    if (id > this.#newest) {
      this.#newest = id;
      for (const older of [...this.#groups.values()]) if (older.id < id) older.supersede();
    } else {
      // It came late: what it has now is all that will come.
      queueMicrotask(() => group.supersede());
    }
    this.#waiting.push(group);
    if (this.#waiting.length > MAX_WAITING_GROUPS) this.#waiting.shift()?.skip();
    return group;
  }

  async #readSubgroup(
    group: GroupReceiver,
    source: GroupSource,
    header: SubgroupHeader,
    reader: ByteReader,
  ): Promise<void> {
    const counters = this.#host.counters;
    let counted = 0;
    let first: number | undefined;
    let previous: number | undefined;
    let last = header.endOfGroup;
    try {
      while (!group.end) {
        const object = await reader.read((cursor) => readObjectHeader(cursor, header, previous));
        if (!object) {
          group.sourceDone(source, last);
          return;
        }
        if (object.size > MAX_OBJECT_BYTES) {
          reader.cancel(this.#host.transport.streamError(ResetCode.ExcessiveLoad));
          group.sourceReset(source, ResetCode.ExcessiveLoad);
          return;
        }
        const payload = await reader.payload(object.size);
        counters.bytesReceived += reader.received - counted;
        counted = reader.received;
        counters.objectsReceived++;
        // End of Track also ends its Group: "no objects with the location that is equal to or greater".
        if (object.status !== ObjectStatus.Normal) last = true;
        first ??= object.id;
        await group.push({
          groupId: header.group,
          subgroupId: header.subgroup ?? first,
          objectId: object.id,
          priority: header.priority ?? this.#defaultPriority,
          properties: object.properties,
          payload,
          status: object.status,
        });
        previous = object.id;
      }
    } catch (error) {
      // Once the Group has ended, the failure is our own doing: the stream was stopped.
      if (group.end) return;
      group.sourceReset(source, this.#host.judge(error) ?? ResetCode.InternalError);
    }
  }

  /** Fills the current Group's beginning by a FETCH; what is live of that Group waits until then. */
  #join(id: number, fetch: RunningFetch, mayRepeat: boolean): void {
    const group = this.#group(id);
    const release: (() => void)[] = this.#held?.release ?? [];
    this.#held = { group: id, release };
    this.#cancelJoin = fetch.cancel;
    const source: GroupSource = { stop: fetch.cancel };
    group.addSource(source);
    fetch.read((object) => {
      if (object.groupId !== id) throw violation('joining fetch brought another group');
      return group.push(object);
    });
    void fetch.done.then((failure) => {
      if (failure !== undefined && fetch.overtook() && mayRepeat && !this.#over && !group.end) {
        this.#join(id, joiningFetch(this.#host, this.#request.id), false);
        group.sourceDone(source, false);
        return;
      }
      this.#held = undefined;
      this.#cancelJoin = undefined;
      if (failure !== undefined) {
        // Without its beginning the rest of the Group cannot be decoded.
        group.abandon(failure);
        return;
      }
      for (const read of release) read();
      group.sourceDone(source, false);
    });
  }

  async #readMessages(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#request.stream.receive();
        if (!message) break;
        switch (message.type) {
          case MessageType.RequestOk: {
            const update = this.#updates.shift();
            if (!update) throw violation('unexpected REQUEST_OK');
            update.resolve();
            break;
          }
          case MessageType.RequestError: {
            const update = this.#updates.shift();
            if (!update) throw violation('unexpected REQUEST_ERROR');
            update.reject(requestErrorOf(message));
            break;
          }
          case MessageType.PublishDone:
            this.#publishDone(message);
            return;
          case MessageType.GoAway:
            // The whole session's GOAWAY asks the application to move; one Track alone does not move here.
            break;
          default:
            throw violation(`message 0x${message.type.toString(16)} on a subscription`);
        }
      }
      this.#finish({ kind: 'done', code: 0, reason: 'the publisher ended the request without PUBLISH_DONE' });
    } catch (error) {
      const code = this.#host.judge(error);
      if (code !== undefined) this.#finish({ kind: 'done', code, reason: 'the publisher reset the request' });
      else if (error instanceof WireError) this.#finish({ kind: 'session', code: error.code, reason: error.message });
      else {
        const over = await this.#host.over;
        this.#finish({ kind: 'session', code: over.code, reason: over.message });
      }
    }
  }

  #publishDone(done: PublishDone): void {
    if (this.#over) return;
    this.#done = done;
    this.#request.stream.finish();
    this.#lingering = setTimeout(() => {
      this.#lingered = true;
      this.#checkDone();
    }, DONE_LINGER_MS);
    this.#checkDone();
  }

  /** After PUBLISH_DONE: ends the subscription once all streams have come and been read. */
  #checkDone(): void {
    const done = this.#done;
    if (!done || this.#over || (!this.#lingered && this.#streams < done.streamCount)) return;
    for (const group of [...this.#groups.values()]) group.supersede();
    if (this.#groups.size === 0) this.#finish({ kind: 'done', code: done.code, reason: done.reason });
  }

  #finish(end: SubscriptionEnd): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#lingering);
    this.#host.detach(this.#alias);
    this.#cancelJoin?.();
    const failure = new RequestError(RequestCode.InternalError, 'the subscription is over');
    for (const update of this.#updates.splice(0)) update.reject(failure);
    // What arrived before a regular end is still there to be read.
    for (const group of [...this.#groups.values()]) group.close();
    if (end.kind === 'closed') this.#waiting.clear();
    this.#waiting.end();
    this.#settle(end);
  }
}
