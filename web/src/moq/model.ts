/**
 * The object model of Media over QUIC Transport as this client shows it: names, Locations, Objects, and the handles on
 * a Track that is being received or published. Terms are those of draft-ietf-moq-transport-18, section 2.
 */

/** A Track Namespace: an ordered list of fields, for example `['live', 'demo']`. */
export type Namespace = readonly string[];

/** A Track's Namespace and name. */
export interface FullTrackName {
  readonly namespace: Namespace;
  readonly track: string;
}

/** The place of an Object in its Track. Both IDs fit a number exactly: larger ones are refused when received. */
export interface Location {
  readonly group: number;
  readonly object: number;
}

/**
 * One Property of a Track or an Object (section 1.4.3): an even type carries an integer (a bigint only beyond 2^53), an
 * odd type carries bytes.
 */
export interface Property {
  readonly type: number;
  readonly value: number | bigint | Uint8Array;
}

/** Properties in the order of their types. */
export type Properties = readonly Property[];

/** Object Status (section 11.2.1.1). */
export const ObjectStatus = {
  Normal: 0x0,
  EndOfGroup: 0x3,
  EndOfTrack: 0x4,
} as const;
export type ObjectStatus = (typeof ObjectStatus)[keyof typeof ObjectStatus];

/** An Object as received. Its payload is not shared and may be kept or transferred. */
export interface MoqObject {
  readonly groupId: number;
  readonly subgroupId: number;
  readonly objectId: number;
  readonly priority: number;
  readonly properties: Properties;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly status: ObjectStatus;
}

/**
 * A Group being received. Iterating, which can be done once, yields the Objects of each Subgroup in order as they arrive
 * (Subgroups are interleaved as the network delivers them). Iteration never throws: it ends with the Group, and
 * {@link end} says how. Not reading a Group holds its streams back by flow control, so a Group that is not wanted must be
 * skipped; leaving the loop early skips it.
 */
export interface Group extends AsyncIterable<MoqObject> {
  readonly id: number;
  /** Set once nothing more arrives. What is buffered is still yielded if the Group ended as `complete` or `reset`. */
  readonly end: GroupEnd | undefined;
  /** Drops what is buffered and asks the publisher to stop sending this Group. Idempotent. */
  skip(): void;
}

/**
 * How a Group ended: every Object of its streams came (`complete`), some stream was reset so that Objects are missing
 * (`reset`, with the stream reset code), the consumer gave it up (`skipped`), or the subscription ended first (`closed`).
 */
export interface GroupEnd {
  readonly kind: 'complete' | 'reset' | 'skipped' | 'closed';
  readonly code?: number;
}

/**
 * A Track being received. Iterating yields each Group when its first byte arrives, so a consumer that sees a newer Group
 * may skip the one it is reading. A consumer that does not take Groups loses the oldest ones. Iteration never throws: it
 * ends when the subscription does, and {@link closed} says why. Leaving the loop early closes the subscription.
 */
export interface Subscription extends AsyncIterable<Group> {
  readonly name: FullTrackName;
  /** Track Properties of SUBSCRIBE_OK. */
  readonly properties: Properties;
  /** The largest Location when the subscription was accepted, or undefined when the Track had no Object yet. */
  readonly largest: Location | undefined;
  /** Settles, and never rejects, when the subscription is over. */
  readonly closed: Promise<SubscriptionEnd>;
  /** Changes what was asked for. Rejects with RequestError; the publisher then ends the subscription. */
  update(change: SubscriptionChange): Promise<void>;
  /** Ends the subscription. Idempotent. */
  close(): void;
}

/** A change to a subscription. What is not set stays as it is. */
export interface SubscriptionChange {
  /** 0 is the most urgent, 255 the least. */
  readonly priority?: number;
  /** False pauses the Track: the publisher sends no Objects until it is true again. */
  readonly forward?: boolean;
  /** Asks for a new Group at once. Ignored where the Track does not allow it. */
  readonly newGroup?: boolean;
}

/** Why a subscription is over. */
export interface SubscriptionEnd {
  /** `done`: the publisher sent PUBLISH_DONE. `closed`: close() was called. `session`: the session ended. */
  readonly kind: 'done' | 'closed' | 'session';
  /** For `done`, the PUBLISH_DONE code (section 10.12; see PublishDoneCode); for `session`, the session's code. */
  readonly code: number;
  readonly reason: string;
}

/** What to ask for with a subscription. */
export interface SubscribeOptions {
  /**
   * Start at the current Group's first Object, which a joining FETCH brings. Without it: at the next Object. When the
   * publisher cannot bring it, the current Group ends as `reset` and playback starts with the next.
   */
  readonly join?: boolean;
  /** 0 is the most urgent, 255 the least; 128 unless told. */
  readonly priority?: number;
  /** Ask the publisher for a new Group at once (section 10.2.13), where the Track allows it. */
  readonly newGroup?: boolean;
  /** Gives up waiting for the answer. */
  readonly signal?: AbortSignal;
}

/** A Namespace that became live under a subscribed prefix, or stopped being so. */
export interface NamespaceEvent {
  readonly namespace: Namespace;
  readonly live: boolean;
}

/**
 * Namespaces under a prefix: first those that are live, then each change. Iteration ends with the session; it throws
 * RequestError when the peer refuses. Leaving the loop early closes the subscription.
 */
export interface NamespaceSubscription extends AsyncIterable<NamespaceEvent> {
  readonly prefix: Namespace;
  /** Ends the subscription and its iteration. Idempotent. */
  close(): void;
}

/** How a session ended. `remote` tells whether the other side (or the network) ended it. */
export interface CloseInfo {
  /** Session termination code (section 14.6.1; see SessionCode); 0 is a regular end. */
  readonly code: number;
  readonly reason: string;
  readonly remote: boolean;
}

/** Counts since the session began. */
export interface SessionStats {
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly objectsReceived: number;
  readonly objectsSent: number;
  readonly groupsReset: number;
  readonly groupsSkipped: number;
  /** Milliseconds from connect() to the first byte of the peer's SETUP. */
  readonly setupMs: number;
  readonly subscriptions: number;
  readonly publications: number;
}

/** What a session needs besides the URL. */
export interface ConnectOptions {
  /** SHA-256 of the server's certificate in hex, for a certificate that no authority signed. */
  readonly certificateHash?: string;
  /** Sent in SETUP as AUTHORIZATION_TOKEN. */
  readonly token?: string;
  readonly signal?: AbortSignal;
}
