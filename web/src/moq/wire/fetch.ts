import type { Location, Properties } from '../model.ts';
import { GroupOrder } from './params.ts';
import { writeObjectProperties } from './properties.ts';
import { readObjectProperties } from './subgroup.ts';
import { violation, type Cursor, type Writer } from './varint.ts';

/** Serialization Flags of a FETCH Object (section 11.4.4.1). */
const Flag = { ObjectId: 0x04, GroupId: 0x08, Priority: 0x10, Properties: 0x20, Datagram: 0x40 } as const;
/** Values of Serialization Flags that mark a range without Objects (section 11.4.4.2). */
const EndOfNonExistentRange = 0x8c;
const EndOfUnknownRange = 0x10c;

/** An Object on a FETCH stream, before its payload. */
export interface FetchObjectHeader {
  readonly kind: 'object';
  readonly group: number;
  /** Undefined for an Object that was published in a datagram. */
  readonly subgroup: number | undefined;
  readonly object: number;
  readonly priority: number;
  readonly properties: Properties;
  readonly size: number;
}

/** All Objects from the one before up to this Location do not exist (`absent`), or nobody could tell (`unknown`). */
export interface FetchRangeEnd {
  readonly kind: 'absent' | 'unknown';
  readonly group: number;
  readonly object: number;
}

export type FetchItem = FetchObjectHeader | FetchRangeEnd;

/**
 * Reads and writes the Objects of one FETCH stream, keeping what each of them takes from the one before. A failed read
 * changes nothing, so it can be repeated with more bytes.
 */
export class FetchCursor {
  readonly #descending: boolean;
  #location: Location | undefined;
  #subgroup: number | undefined;
  #priority: number | undefined;

  constructor(groupOrder: 1 | 2 = GroupOrder.Ascending) {
    this.#descending = groupOrder === GroupOrder.Descending;
  }

  read(cursor: Cursor): FetchItem {
    const flags = cursor.varint();
    if (flags === EndOfNonExistentRange || flags === EndOfUnknownRange) {
      // Both are absolute here, as moq-wg/moq-transport issue 1861 settled; only Objects carry deltas.
      const group = cursor.varint();
      const object = cursor.varint();
      this.#location = { group, object };
      return { kind: flags === EndOfNonExistentRange ? 'absent' : 'unknown', group, object };
    }
    if (flags >= 0x80) throw violation(`serialization flags 0x${flags.toString(16)}`);
    if (!this.#location && (flags & (Flag.GroupId | Flag.ObjectId)) !== (Flag.GroupId | Flag.ObjectId)) {
      throw violation('first fetch object refers to the object before it');
    }
    const group = flags & Flag.GroupId ? this.#readGroup(cursor) : this.#location!.group;
    const subgroup = this.#readSubgroup(cursor, flags);
    const object =
      flags & Flag.ObjectId ? this.#readObject(cursor, (flags & Flag.GroupId) !== 0) : this.#location!.object + 1;
    if (!Number.isSafeInteger(object)) throw violation('object ID out of range');
    const priority = flags & Flag.Priority ? cursor.u8() : this.#priority;
    if (priority === undefined) throw violation('fetch object refers to a priority before the first object');
    const properties = flags & Flag.Properties ? readObjectProperties(cursor) : [];
    const size = cursor.varint();
    this.#location = { group, object };
    if (subgroup !== undefined) this.#subgroup = subgroup;
    this.#priority = priority;
    return { kind: 'object', group, subgroup, object, priority, properties, size };
  }

  write(writer: Writer, item: FetchItem): void {
    const prior = this.#location;
    if (item.kind !== 'object') {
      writer.varint(item.kind === 'absent' ? EndOfNonExistentRange : EndOfUnknownRange);
      writer.varint(item.group).varint(item.object);
      this.#location = { group: item.group, object: item.object };
      return;
    }
    const newGroup = !prior || prior.group !== item.group;
    const nextObject = !newGroup && item.object === prior.object + 1;
    let flags = 0;
    if (newGroup) flags |= Flag.GroupId;
    if (!nextObject) flags |= Flag.ObjectId;
    if (item.priority !== this.#priority) flags |= Flag.Priority;
    if (item.properties.length > 0) flags |= Flag.Properties;
    if (item.subgroup === undefined) flags |= Flag.Datagram;
    else if (item.subgroup === this.#subgroup) flags |= 0x01;
    else if (item.subgroup !== 0) flags |= 0x03;
    writer.varint(flags);
    if (newGroup) writer.varint(this.#groupDelta(item.group));
    if (item.subgroup !== undefined && (flags & 0x03) === 0x03) writer.varint(item.subgroup);
    if (!nextObject) writer.varint(newGroup ? item.object : item.object - prior.object);
    if (flags & Flag.Priority) writer.u8(item.priority);
    if (flags & Flag.Properties) writeObjectProperties(writer, item.properties);
    writer.varint(item.size);
    this.#location = { group: item.group, object: item.object };
    if (item.subgroup !== undefined) this.#subgroup = item.subgroup;
    this.#priority = item.priority;
  }

  #groupDelta(group: number): number {
    if (!this.#location) return group;
    return (this.#descending ? this.#location.group - group : group - this.#location.group) - 1;
  }

  #readGroup(cursor: Cursor): number {
    const delta = cursor.varint();
    if (!this.#location) return delta;
    const group = this.#descending ? this.#location.group - delta - 1 : this.#location.group + delta + 1;
    if (group < 0 || !Number.isSafeInteger(group)) throw violation('group ID out of range');
    return group;
  }

  #readObject(cursor: Cursor, absolute: boolean): number {
    const delta = cursor.varint();
    return absolute || !this.#location ? delta : this.#location.object + delta;
  }

  #readSubgroup(cursor: Cursor, flags: number): number | undefined {
    if (flags & Flag.Datagram) return undefined;
    switch (flags & 0x03) {
      case 0x00:
        return 0;
      case 0x03:
        return cursor.varint();
      default: {
        if (this.#subgroup === undefined) throw violation('fetch object refers to a subgroup before the first object');
        return this.#subgroup + (flags & 0x03) - 1;
      }
    }
  }
}
