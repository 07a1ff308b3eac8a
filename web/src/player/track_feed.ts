import { readLoc } from '../media/loc.ts';
import { ObjectStatus, type Group, type MoqObject, type Subscription, type SubscriptionEnd } from '../moq/model.ts';
import type { PlayoutClock } from './clock.ts';
import { GroupSequencer, type Released, type Sequenced } from './sequencer.ts';

/** One coded picture or audio packet, ready for a decoder. */
export interface MediaObject extends Sequenced {
  readonly timestampUs: number;
  readonly wallClock: boolean;
  readonly config: Uint8Array | undefined;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** A Track that holds back more than this, in Objects that nobody may take yet, is broken. */
const maxWaiting = 4096;

/** Reads a subscribed Track: stamps arrivals for the clock and hands Objects on in order. */
export class TrackFeed {
  private readonly groups = new Map<number, Group>();
  private readonly sequencer = new GroupSequencer<MediaObject>((id) => this.groups.get(id)?.skip());

  constructor(
    private readonly subscription: Subscription,
    private readonly clock: PlayoutClock,
    private readonly options: {
      /** Milliseconds before it is heard or seen at which a decoder wants an Object. */
      readonly leadMs: number;
      readonly receive: (objects: readonly Released<MediaObject>[]) => void;
    },
  ) {}

  /** Reads until the subscription is over, however it ends; the last Objects have then been handed on. */
  async run(): Promise<SubscriptionEnd> {
    const readers = new Set<Promise<void>>();
    for await (const group of this.subscription) {
      this.groups.set(group.id, group);
      if (!this.sequencer.open(group.id)) {
        this.groups.delete(group.id);
        continue;
      }
      const reader = this.read(group).finally(() => readers.delete(reader));
      readers.add(reader);
    }
    await Promise.all(readers);
    return this.subscription.closed;
  }

  /** Hands on what is due: called on every arrival, and again as time passes. */
  poll(): void {
    const position = this.clock.position(Date.now());
    const released = this.sequencer.take(position === undefined ? undefined : position + this.options.leadMs);
    if (released.length > 0) this.options.receive(released);
  }

  /** Groups given up before they were complete. */
  get skippedGroups(): number {
    return this.sequencer.skipped;
  }

  private async read(group: Group): Promise<void> {
    for await (const object of group) {
      const media = this.accept(object);
      if (media === undefined) continue;
      this.clock.observe(this.subscription.name.track, media.mediaMs, Date.now());
      this.sequencer.push(media);
      this.poll();
      if (this.sequencer.waiting > maxWaiting) {
        this.subscription.close();
        return;
      }
    }
    this.groups.delete(group.id);
    this.sequencer.end(group.id);
    this.poll();
  }

  private accept(object: MoqObject): MediaObject | undefined {
    if (object.status !== ObjectStatus.Normal || object.payload.length === 0) return undefined;
    const info = readLoc(object, this.subscription.properties);
    if (info === undefined) return undefined;
    return {
      groupId: object.groupId,
      objectId: object.objectId,
      mediaMs: info.timestampUs / 1000,
      timestampUs: Math.round(info.timestampUs),
      wallClock: info.wallClock,
      config: info.config,
      payload: object.payload,
    };
  }
}
