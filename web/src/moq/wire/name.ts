import type { FullTrackName, Namespace } from '../model.ts';
import { violation, type Cursor, type Writer } from './varint.ts';

/** The most fields of a Track Namespace (section 2.4.1). */
export const MAX_NAMESPACE_FIELDS = 32;
/** The most bytes of a Full Track Name, fields and name together (section 2.4.1). */
export const MAX_FULL_NAME_BYTES = 4096;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const toUtf8 = new TextEncoder();

/**
 * Names are bytes on the wire and strings here. Bytes that are no UTF-8 become one code unit U+DC00 + byte each: no UTF-8
 * decodes to those, so two different names never look alike and each can be sent back as it came.
 */
export function decodeName(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(0xdc00 + byte)).join('');
  }
}

/** The reverse of {@link decodeName}. */
export function encodeName(name: string): Uint8Array {
  if (/^[\udc00-\udcff]+$/.test(name)) return Uint8Array.from(name, (unit) => unit.charCodeAt(0) - 0xdc00);
  return toUtf8.encode(name);
}

/** Reads a Track Namespace, prefix or suffix. */
export function readNamespace(cursor: Cursor): string[] {
  return readNamespaceBytes(cursor).namespace;
}

function readNamespaceBytes(cursor: Cursor): { namespace: string[]; size: number } {
  const count = cursor.varint();
  if (count > MAX_NAMESPACE_FIELDS) throw violation(`namespace of ${count} fields`);
  const namespace: string[] = [];
  let size = 0;
  for (let i = 0; i < count; i++) {
    const length = cursor.varint();
    if (length === 0) throw violation('empty namespace field');
    size += length;
    if (size > MAX_FULL_NAME_BYTES) throw violation(`namespace longer than ${MAX_FULL_NAME_BYTES} bytes`);
    namespace.push(decodeName(cursor.bytes(length)));
  }
  return { namespace, size };
}

/** Reads a Track Namespace followed by a Track Name. */
export function readFullTrackName(cursor: Cursor): FullTrackName {
  const { namespace, size } = readNamespaceBytes(cursor);
  const length = cursor.varint();
  if (size + length > MAX_FULL_NAME_BYTES) throw violation(`track name longer than ${MAX_FULL_NAME_BYTES} bytes`);
  return { namespace, track: decodeName(cursor.bytes(length)) };
}

/** Appends a Track Namespace. Throws RangeError for one that the draft does not allow. */
export function writeNamespace(writer: Writer, namespace: Namespace): void {
  writeNamespaceBytes(writer, namespace);
}

function writeNamespaceBytes(writer: Writer, namespace: Namespace): number {
  if (namespace.length > MAX_NAMESPACE_FIELDS) throw new RangeError(`namespace of ${namespace.length} fields`);
  writer.varint(namespace.length);
  let size = 0;
  for (const field of namespace) {
    const bytes = encodeName(field);
    if (bytes.length === 0) throw new RangeError('empty namespace field');
    size += bytes.length;
    writer.prefixed(bytes);
  }
  if (size > MAX_FULL_NAME_BYTES) throw new RangeError(`namespace of ${size} bytes`);
  return size;
}

/** Appends a Track Namespace and a Track Name. Throws RangeError for a name that the draft does not allow. */
export function writeFullTrackName(writer: Writer, name: FullTrackName): void {
  const size = writeNamespaceBytes(writer, name.namespace);
  const track = encodeName(name.track);
  if (size + track.length > MAX_FULL_NAME_BYTES) throw new RangeError(`track name of ${size + track.length} bytes`);
  writer.prefixed(track);
}

/** Whether two Namespaces are equal, field by field. */
export function sameNamespace(a: Namespace, b: Namespace): boolean {
  return a.length === b.length && a.every((field, i) => field === b[i]);
}
