import { SessionCode } from './codes.ts';

/**
 * Bytes that end before the value does. A caller that can get more bytes tries again with them; one that cannot treats
 * it as a malformed message.
 */
export class ShortError extends Error {
  constructor() {
    super('more bytes are needed');
    this.name = 'ShortError';
  }
}

/** Bytes that break a rule of the draft. The session is to be closed with {@link code}. */
export class WireError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'WireError';
    this.code = code;
  }
}

/** A {@link WireError} with PROTOCOL_VIOLATION. */
export function violation(message: string): WireError {
  return new WireError(SessionCode.ProtocolViolation, message);
}

const MAX_VI64 = (1n << 64n) - 1n;

/** The bytes that {@link Writer.varint} uses for a value: the fewest that hold it. */
export function varintSize(value: number | bigint): number {
  let bits = 7;
  for (let size = 1; size < 9; size++, bits += 7) {
    if (typeof value === 'bigint' ? value < 1n << BigInt(bits) : value < 2 ** bits) return size;
  }
  return 9;
}

/** Reads values from bytes, left to right. Every method throws {@link ShortError} when the bytes end first. */
export class Cursor {
  readonly #bytes: Uint8Array;
  #pos: number;

  constructor(bytes: Uint8Array, pos = 0) {
    this.#bytes = bytes;
    this.#pos = pos;
  }

  /** Offset of the next byte. */
  get pos(): number {
    return this.#pos;
  }

  get remaining(): number {
    return this.#bytes.length - this.#pos;
  }

  /**
   * Reads a vi64 (section 1.4.1) that must be exact as a number. Throws WireError beyond 2^53 - 1, which no ID, length
   * or time that this client handles can reach honestly.
   */
  varint(): number {
    const value = this.varintAny();
    if (typeof value === 'bigint') throw violation(`integer ${value} is beyond what this client handles`);
    return value;
  }

  /** Reads a vi64: a number up to 2^53 - 1, a bigint beyond. */
  varintAny(): number | bigint {
    const bytes = this.#bytes;
    const first = bytes[this.#pos];
    if (first === undefined) throw new ShortError();
    // The count of leading ones is the count of bytes that follow.
    const following = first === 0xff ? 8 : Math.clz32(~first << 24);
    if (this.#pos + following >= bytes.length) throw new ShortError();
    let value = following >= 7 ? 0 : first & (0x7f >> following);
    let at = this.#pos + 1;
    if (following < 7) {
      // At most 49 bits: exact, but beyond the 32 bits of the bit operators.
      for (let i = 0; i < following; i++) value = value * 256 + bytes[at++]!;
      this.#pos = at;
      return value;
    }
    let big = 0n;
    for (let i = 0; i < following; i++) big = (big << 8n) | BigInt(bytes[at++]!);
    this.#pos = at;
    return big <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(big) : big;
  }

  u8(): number {
    const value = this.#bytes[this.#pos];
    if (value === undefined) throw new ShortError();
    this.#pos++;
    return value;
  }

  u16(): number {
    const high = this.u8();
    return high * 256 + this.u8();
  }

  /** The next n bytes as a view, not a copy. */
  bytes(n: number): Uint8Array {
    if (n > this.remaining) throw new ShortError();
    const view = this.#bytes.subarray(this.#pos, this.#pos + n);
    this.#pos += n;
    return view;
  }

  /** All bytes that are left, as a view. */
  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }
}

/** Appends values to a growing buffer. */
export class Writer {
  #bytes = new Uint8Array(64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Appends a vi64 in the fewest bytes. Throws RangeError for what is no integer from 0 to 2^64 - 1. */
  varint(value: number | bigint): this {
    if (typeof value === 'bigint' ? value < 0n || value > MAX_VI64 : !Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`${value} is no vi64`);
    }
    const size = varintSize(value);
    this.#reserve(size);
    const start = this.#length;
    const prefix = (0xff00 >> (size - 1)) & 0xff;
    if (size <= 7) {
      let rest = Number(value);
      for (let i = size - 1; i >= 0; i--) {
        this.#bytes[start + i] = rest % 256;
        rest = Math.floor(rest / 256);
      }
    } else {
      let rest = BigInt(value);
      for (let i = size - 1; i >= 0; i--) {
        this.#bytes[start + i] = Number(rest & 0xffn);
        rest >>= 8n;
      }
    }
    this.#bytes[start]! |= prefix;
    this.#length += size;
    return this;
  }

  u8(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    return this.u8(value >> 8).u8(value & 0xff);
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** Appends a vi64 length and the bytes. */
  prefixed(value: Uint8Array): this {
    return this.varint(value.length).bytes(value);
  }

  /** The bytes so far, in a buffer of their own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(n: number): void {
    const need = this.#length + n;
    if (need <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
