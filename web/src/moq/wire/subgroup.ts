import { ObjectStatus, type Properties } from '../model.ts';
import { readProperties, writeObjectProperties } from './properties.ts';
import { violation, type Cursor, type Writer } from './varint.ts';

/** How the Subgroup ID is carried (section 11.4.2, SUBGROUP_ID_MODE). */
export const SubgroupIdMode = { Zero: 0, FirstObject: 1, Explicit: 2 } as const;

/** The start of a stream that carries a Subgroup (section 11.4.2). */
export interface SubgroupHeader {
  readonly alias: number;
  readonly group: number;
  readonly subgroupIdMode: 0 | 1 | 2;
  /** Undefined with mode FirstObject: the ID of the first Object on the stream. */
  readonly subgroup: number | undefined;
  /** Undefined: the Track's default. */
  readonly priority: number | undefined;
  readonly endOfGroup: boolean;
  readonly firstObject: boolean;
  readonly properties: boolean;
}

/** The most bytes of Object Properties that are taken; a stream with more is a violation. */
export const MAX_PROPERTIES_BYTES = 1 << 17;

/** Whether a stream type is a SUBGROUP_HEADER: 0b0XX1XXXX without the reserved Subgroup ID mode. */
export function isSubgroupType(type: number | bigint): type is number {
  return typeof type === 'number' && type < 0x80 && (type & 0x10) !== 0 && (type & 0x06) !== 0x06;
}

/** Reads the header after its type. */
export function readSubgroupHeader(cursor: Cursor, type: number): SubgroupHeader {
  const mode = (type >> 1) & 3;
  if (mode === 3) throw violation('reserved subgroup ID mode');
  const alias = cursor.varint();
  const group = cursor.varint();
  const subgroup = mode === SubgroupIdMode.Explicit ? cursor.varint() : mode === SubgroupIdMode.Zero ? 0 : undefined;
  const priority = type & 0x20 ? undefined : cursor.u8();
  return {
    alias,
    group,
    subgroupIdMode: mode as 0 | 1 | 2,
    subgroup,
    priority,
    endOfGroup: (type & 0x08) !== 0,
    firstObject: (type & 0x40) !== 0,
    properties: (type & 0x01) !== 0,
  };
}

/** Appends the header with its type. */
export function writeSubgroupHeader(writer: Writer, header: SubgroupHeader): void {
  const type =
    0x10 |
    (header.properties ? 0x01 : 0) |
    (header.subgroupIdMode << 1) |
    (header.endOfGroup ? 0x08 : 0) |
    (header.priority === undefined ? 0x20 : 0) |
    (header.firstObject ? 0x40 : 0);
  writer.varint(type).varint(header.alias).varint(header.group);
  if (header.subgroupIdMode === SubgroupIdMode.Explicit) writer.varint(header.subgroup ?? 0);
  if (header.priority !== undefined) writer.u8(header.priority);
}

/** The fields before an Object's payload. */
export interface ObjectHeader {
  readonly id: number;
  readonly properties: Properties;
  /** Bytes of payload that follow. */
  readonly size: number;
  readonly status: ObjectStatus;
}

/** Reads the fields before an Object's payload. `previous` is the ID of the Object before it on the stream. */
export function readObjectHeader(
  cursor: Cursor,
  header: Pick<SubgroupHeader, 'properties'>,
  previous: number | undefined,
): ObjectHeader {
  const delta = cursor.varint();
  const id = previous === undefined ? delta : previous + delta + 1;
  if (!Number.isSafeInteger(id)) throw violation('object ID out of range');
  let properties: Properties = [];
  if (header.properties) properties = readObjectProperties(cursor);
  const size = cursor.varint();
  if (size > 0) return { id, properties, size, status: ObjectStatus.Normal };
  const status = cursor.varint();
  if (status !== ObjectStatus.Normal && status !== ObjectStatus.EndOfGroup && status !== ObjectStatus.EndOfTrack) {
    throw violation(`object status ${status}`);
  }
  if (status !== ObjectStatus.Normal && properties.length > 0) throw violation(`properties with status ${status}`);
  return { id, properties, size, status };
}

/** Reads Object Properties with their length (section 11.2.1.2). */
export function readObjectProperties(cursor: Cursor): Properties {
  const length = cursor.varint();
  if (length > MAX_PROPERTIES_BYTES) throw violation(`object properties of ${length} bytes`);
  return readProperties(cursor.bytes(length));
}

/** Appends the fields before an Object's payload. */
export function writeObjectHeader(
  writer: Writer,
  header: Pick<SubgroupHeader, 'properties'>,
  previous: number | undefined,
  object: ObjectHeader,
): void {
  writer.varint(previous === undefined ? object.id : object.id - previous - 1);
  if (header.properties) writeObjectProperties(writer, object.properties);
  writer.varint(object.size);
  if (object.size === 0) writer.varint(object.status);
}
