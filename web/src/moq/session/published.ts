import type { Location, Properties } from '../model.ts';
import { PropertyType, PublishDoneCode } from '../wire/codes.ts';

/** Groups that are kept for subscribers who join: the current one and the one before. */
const KEPT_GROUPS = 2;
/** Bytes of one Group that are kept; the beginning of a larger one cannot be fetched. */
const KEPT_BYTES = 32 << 20;

/** An Object as written. Its bytes are shared by all subscriptions and never change. */
export interface WrittenObject {
  readonly id: number;
  readonly properties: Properties;
  readonly payload: Uint8Array;
}

/** What follows a published Track: one subscription's sending side. */
export interface TrackFollower {
  groupStarted(group: WrittenGroup): void;
  objectWritten(group: WrittenGroup, object: WrittenObject): void;
  groupEnded(group: WrittenGroup): void;
  trackEnded(code: number, reason: string): void;
  readonly backlog: Backlog;
}

/** What a follower could not send yet. */
export interface Backlog {
  readonly bytes: number;
  /** Milliseconds for which the oldest Object has waited. */
  readonly ageMs: number;
  /** Groups given up because the network lagged, since the subscription began. */
  readonly groupsDropped: number;
}

/** How a Track is published. */
export interface PublishedTrackOptions {
  /** Publisher priority: 0 is the most urgent, 255 the least; 128 unless told. */
  readonly priority?: number;
  /**
   * Called when a subscriber wants a new Group at once, or when a Group was given up so that subscribers need one. Makes
   * the Track say that it allows such requests (DYNAMIC_GROUPS).
   */
  readonly onNewGroup?: () => void;
  /** How long an Object may wait for the network before its Group is given up; 3000 ms unless told. */
  readonly maxQueueMs?: number;
}

/** A Group as written. */
export class WrittenGroup {
  readonly id: number;
  readonly objects: WrittenObject[] = [];
  /** False once the Group was too large to be kept whole. */
  whole = true;
  ended = false;
  nextId = 0;
  #bytes = 0;

  constructor(id: number) {
    this.id = id;
  }

  keep(object: WrittenObject): void {
    if (!this.whole) return;
    this.#bytes += object.payload.length;
    if (this.#bytes > KEPT_BYTES) {
      this.whole = false;
      this.objects.length = 0;
    } else {
      this.objects.push(object);
    }
  }
}

/** Writes the Objects of one Group, all in Subgroup 0. Writing never waits. */
export interface GroupWriter {
  readonly id: number;
  /** Appends an Object and returns its ID. Does nothing after close(). */
  writeObject(payload: Uint8Array, properties?: Properties): number;
  /** Ends the Group: no more Objects. Idempotent. */
  close(): void;
}

/**
 * A Track that this client publishes. It knows no session: Objects are written once, and each subscription follows at
 * its own pace; one that lags behind loses whole Groups, oldest first. A writer is never held up.
 */
export class PublishedTrack {
  readonly options: PublishedTrackOptions;
  readonly #followers = new Set<TrackFollower>();
  readonly #groups: WrittenGroup[] = [];
  #nextGroup: number;
  #largest: Location | undefined;
  #ended: { readonly code: number; readonly reason: string } | undefined;

  /** firstGroup: the ID of the first Group, by default Unix milliseconds now, so that a restart reuses none. */
  constructor(options: PublishedTrackOptions = {}, firstGroup: number = Date.now()) {
    this.options = options;
    this.#nextGroup = firstGroup;
  }

  /** Track Properties as they go into SUBSCRIBE_OK. */
  get properties(): Properties {
    return [
      ...(this.options.priority === undefined
        ? []
        : [{ type: PropertyType.DefaultPublisherPriority, value: this.options.priority }]),
      ...(this.options.onNewGroup ? [{ type: PropertyType.DynamicGroups, value: 1 }] : []),
    ];
  }

  /** The Location of the newest Object, or undefined before the first. */
  get largest(): Location | undefined {
    return this.#largest;
  }

  /** The Groups that can still be fetched, oldest first. */
  get kept(): readonly WrittenGroup[] {
    return this.#groups;
  }

  get ended(): { readonly code: number; readonly reason: string } | undefined {
    return this.#ended;
  }

  /** Subscriptions that follow now. */
  get subscribers(): number {
    return this.#followers.size;
  }

  /** The worst backlog of all subscriptions. */
  get backlog(): Backlog {
    let bytes = 0;
    let ageMs = 0;
    let groupsDropped = 0;
    for (const { backlog } of this.#followers) {
      bytes = Math.max(bytes, backlog.bytes);
      ageMs = Math.max(ageMs, backlog.ageMs);
      groupsDropped = Math.max(groupsDropped, backlog.groupsDropped);
    }
    return { bytes, ageMs, groupsDropped };
  }

  /** Ends the current Group and begins the next. Throws when the Track has ended. */
  newGroup(): GroupWriter {
    if (this.#ended) throw new Error('the track has ended');
    this.#endGroup(this.#groups.at(-1));
    const group = new WrittenGroup(this.#nextGroup++);
    this.#groups.push(group);
    if (this.#groups.length > KEPT_GROUPS) this.#groups.shift();
    for (const follower of this.#followers) follower.groupStarted(group);
    return {
      id: group.id,
      writeObject: (payload, properties = []) => this.#write(group, payload, properties),
      close: () => this.#endGroup(group),
    };
  }

  /** Ends the Track: subscribers get PUBLISH_DONE with the code once they have what was written. Idempotent. */
  close(code: number = PublishDoneCode.TrackEnded, reason = ''): void {
    if (this.#ended) return;
    this.#endGroup(this.#groups.at(-1));
    this.#ended = { code, reason };
    for (const follower of [...this.#followers]) follower.trackEnded(code, reason);
  }

  /** Adds a subscription's sending side. The returned function removes it. */
  follow(follower: TrackFollower): () => void {
    this.#followers.add(follower);
    if (this.#ended) follower.trackEnded(this.#ended.code, this.#ended.reason);
    return () => this.#followers.delete(follower);
  }

  /** Passes on a subscriber's wish for a new Group (section 10.2.13): `after` is the Group that it knows, plus 1, or 0. */
  requestNewGroup(after: number): void {
    if (after === 0 || after > (this.#largest?.group ?? -1)) this.options.onNewGroup?.();
  }

  #write(group: WrittenGroup, payload: Uint8Array, properties: Properties): number {
    const id = group.nextId;
    if (group.ended) return id;
    group.nextId++;
    const object = { id, properties, payload };
    group.keep(object);
    this.#largest = { group: group.id, object: id };
    for (const follower of this.#followers) follower.objectWritten(group, object);
    return id;
  }

  #endGroup(group: WrittenGroup | undefined): void {
    if (!group || group.ended) return;
    group.ended = true;
    for (const follower of this.#followers) follower.groupEnded(group);
  }
}
