/**
 * Brings the Objects of a Track, whose Groups arrive side by side, into the order in which a decoder wants them.
 *
 * Groups are taken one after the other, in each the Objects by their ID. A Group that is late is waited for only as long
 * as the next one can wait: when the first Object of a newer Group is due, or two newer Groups are there, the older is
 * given up. An Object missing in a Group is waited for in the same way, up to a small number of later ones.
 */
export interface Sequenced {
  readonly groupId: number;
  readonly objectId: number;
  readonly mediaMs: number;
}

/** What came out: an item and whether something before it in its Group is missing. */
export interface Released<T> {
  readonly item: T;
  readonly afterGap: boolean;
}

/** So many Objects of one Group may wait for a missing one: more than the layers of a temporal pattern. */
const maxHeld = 8;

interface Pending<T> {
  readonly id: number;
  readonly held: Map<number, T>;
  next: number;
  gap: boolean;
  ended: boolean;
}

/** Sorts the Objects of one Track. `skip` is told of each Group that is given up or came too late. */
export class GroupSequencer<T extends Sequenced> {
  private readonly groups = new Map<number, Pending<T>>();
  /** The Group being released, or the last one that was. */
  private current: number | undefined;
  private givenUp = 0;

  constructor(private readonly skip: (groupId: number) => void) {}

  /** How many Groups were left before they were complete. */
  get skipped(): number {
    return this.givenUp;
  }

  /** How many Objects have been taken in and not yet released. */
  get waiting(): number {
    let count = 0;
    for (const group of this.groups.values()) count += group.held.size;
    return count;
  }

  /** Notes that a Group has begun to arrive. False when it is older than what has been released: it is then skipped. */
  open(groupId: number): boolean {
    if (this.current !== undefined && groupId < this.current) {
      this.skip(groupId);
      return false;
    }
    if (!this.groups.has(groupId)) {
      this.groups.set(groupId, { id: groupId, held: new Map(), next: 0, gap: false, ended: false });
    }
    return true;
  }

  /** Takes an Object of an open Group. */
  push(item: T): void {
    const group = this.groups.get(item.groupId);
    if (group === undefined || item.objectId < group.next) return;
    group.held.set(item.objectId, item);
  }

  /** Notes that nothing more comes of a Group. */
  end(groupId: number): void {
    const group = this.groups.get(groupId);
    if (group !== undefined) group.ended = true;
  }

  /** Takes out what can be released when media of time dueMs is about to be needed (undefined: nothing is due yet). */
  take(dueMs: number | undefined): Released<T>[] {
    const released: Released<T>[] = [];
    for (;;) {
      const group = this.advance();
      if (group === undefined) return released;
      this.release(group, released, dueMs);
      const newer = this.newer(group.id);
      const first = newer[0];
      if (first === undefined) return released;
      const done = group.ended && group.held.size === 0;
      const firstDue = dueMs !== undefined && earliest(first) <= dueMs;
      if (!done && !firstDue && newer.length < 2) return released;
      if (!group.ended) {
        this.givenUp++;
        this.skip(group.id);
      }
      this.groups.delete(group.id);
      this.current = first.id;
    }
  }

  /** The Group to release from. */
  private advance(): Pending<T> | undefined {
    if (this.current === undefined) {
      // Groups may be opened in any order at first; the oldest that has something leads.
      let oldest: Pending<T> | undefined;
      for (const group of this.groups.values()) {
        if (group.held.size > 0 && (oldest === undefined || group.id < oldest.id)) oldest = group;
      }
      if (oldest === undefined) return undefined;
      this.current = oldest.id;
      for (const id of [...this.groups.keys()]) {
        if (id < oldest.id) {
          this.groups.delete(id);
          this.skip(id);
        }
      }
    }
    return this.groups.get(this.current);
  }

  private release(group: Pending<T>, released: Released<T>[], dueMs: number | undefined): void {
    while (group.held.size > 0) {
      let item = group.held.get(group.next);
      if (item === undefined) {
        const least = Math.min(...group.held.keys());
        const candidate = group.held.get(least);
        const due = candidate !== undefined && dueMs !== undefined && candidate.mediaMs <= dueMs;
        if (!group.ended && !due && group.held.size <= maxHeld) return;
        item = candidate;
        group.gap = true;
      }
      if (item === undefined) return;
      group.held.delete(item.objectId);
      group.next = item.objectId + 1;
      released.push({ item, afterGap: group.gap });
    }
  }

  /** Groups newer than id that have something, oldest first. */
  private newer(id: number): Pending<T>[] {
    const found: Pending<T>[] = [];
    for (const group of this.groups.values()) if (group.id > id && group.held.size > 0) found.push(group);
    return found.sort((a, b) => a.id - b.id);
  }
}

function earliest<T extends Sequenced>(group: Pending<T>): number {
  let least = Infinity;
  for (const item of group.held.values()) least = Math.min(least, item.mediaMs);
  return least;
}
