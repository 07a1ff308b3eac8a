import type { Properties, Property } from '../model.ts';
import { PropertyType, SessionCode } from './codes.ts';
import { Cursor, ShortError, violation, WireError, Writer } from './varint.ts';

/** The longest value of an odd Key-Value-Pair (section 1.4.3). */
export const MAX_VALUE_BYTES = 0xffff;
const MAX_TYPE = (1n << 64n) - 1n;

/**
 * Reads Key-Value-Pairs (section 1.4.3) that fill the given bytes. Pairs whose type is beyond 2^53 are left out: no type
 * that this client knows is, and "Endpoints MUST ignore unknown Property types".
 */
export function readProperties(bytes: Uint8Array): Property[] {
  const cursor = new Cursor(bytes);
  const properties: Property[] = [];
  let type: number | bigint = 0;
  try {
    while (cursor.remaining > 0) {
      type = addType(type, cursor.varintAny());
      const odd = typeof type === 'bigint' ? (type & 1n) === 1n : type % 2 === 1;
      let value: Property['value'];
      if (odd) {
        const length = cursor.varint();
        if (length > MAX_VALUE_BYTES) throw violation(`value of ${length} bytes`);
        value = cursor.bytes(length).slice();
      } else {
        value = cursor.varintAny();
      }
      if (typeof type === 'number') properties.push({ type, value });
    }
  } catch (error) {
    if (!(error instanceof ShortError)) throw error;
    throw new WireError(SessionCode.KeyValueFormattingError, 'key-value pairs end inside a pair');
  }
  return properties;
}

function addType(previous: number | bigint, delta: number | bigint): number | bigint {
  const sum = BigInt(previous) + BigInt(delta);
  if (sum > MAX_TYPE) throw violation('key-value type beyond 2^64 - 1');
  return sum <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sum) : sum;
}

/** Appends Key-Value-Pairs without a length. They must be in ascending order of type; throws RangeError otherwise. */
export function writeProperties(writer: Writer, properties: Properties): void {
  let previous = 0;
  for (const { type, value } of properties) {
    writer.varint(type - previous);
    previous = type;
    if (value instanceof Uint8Array) {
      if (type % 2 === 0) throw new RangeError(`even property 0x${type.toString(16)} with bytes`);
      if (value.length > MAX_VALUE_BYTES) throw new RangeError(`value of ${value.length} bytes`);
      writer.prefixed(value);
    } else {
      if (type % 2 === 1) throw new RangeError(`odd property 0x${type.toString(16)} with a number`);
      writer.varint(value);
    }
  }
}

/** Appends Object Properties (section 11.2.1.2): a length, then the pairs. */
export function writeObjectProperties(writer: Writer, properties: Properties): void {
  if (properties.length === 0) {
    writer.varint(0);
    return;
  }
  const block = new Writer();
  writeProperties(block, properties);
  writer.prefixed(block.finish());
}

/** The integer value of the first Property of an even type, or undefined. */
export function integerProperty(properties: Properties, type: number): number | undefined {
  const value = properties.find((property) => property.type === type)?.value;
  return typeof value === 'number' ? value : undefined;
}

/** The bytes of the first Property of an odd type, or undefined. */
export function bytesProperty(properties: Properties, type: number): Uint8Array | undefined {
  const value = properties.find((property) => property.type === type)?.value;
  return value instanceof Uint8Array ? value : undefined;
}

/** Checks the Track Properties that the draft gives a range. Throws WireError for a value outside it. */
export function checkTrackProperties(properties: Properties): void {
  for (const { type, value } of properties) {
    if (type === PropertyType.DynamicGroups && value !== 0 && value !== 1) throw violation(`DYNAMIC_GROUPS of ${value}`);
    if (type === PropertyType.DefaultPublisherPriority && (typeof value !== 'number' || value > 255)) {
      throw violation(`DEFAULT_PUBLISHER_PRIORITY of ${String(value)}`);
    }
    // They are "themselves Track or Object Properties" (section 12.7), and are not nested deeper.
    if (type === PropertyType.ImmutableProperties && value instanceof Uint8Array) {
      checkTrackProperties(readProperties(value).filter((inner) => inner.type !== PropertyType.ImmutableProperties));
    }
    if (type === PropertyType.DefaultPublisherGroupOrder && value !== 1 && value !== 2) {
      throw violation(`DEFAULT_PUBLISHER_GROUP_ORDER of ${value}`);
    }
  }
}

/** The first Mandatory Track Property (section 2.5.1): this client understands none, so it must not take the Track. */
export function mandatoryProperty(properties: Properties): number | undefined {
  return properties.find(({ type }) => type >= 0x4000 && type <= 0x7fff)?.type;
}
