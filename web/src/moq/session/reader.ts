import { Cursor, ShortError, violation } from '../wire/varint.ts';

/** The most bytes that one header or message may take before it is complete. */
const MAX_PENDING_BYTES = 1 << 18;

/**
 * Reads parsed values and payloads from a byte stream. Bytes that a parser did not take stay for the next one; what the
 * peer sends beyond stays in the stream, so an idle reader holds the peer back by flow control.
 */
export class ByteReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #buffer: Uint8Array = new Uint8Array();
  #ended = false;
  /** Bytes taken from the stream so far. */
  received = 0;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /**
   * Parses one value. Resolves to undefined when the stream ended before its first byte. Rejects with WireError when it
   * ended inside the value, and with the stream's error when it was reset.
   */
  async read<T>(parse: (cursor: Cursor) => T): Promise<T | undefined> {
    for (;;) {
      if (this.#buffer.length > 0) {
        try {
          const cursor = new Cursor(this.#buffer);
          const value = parse(cursor);
          this.#buffer = this.#buffer.subarray(cursor.pos);
          return value;
        } catch (error) {
          if (!(error instanceof ShortError)) throw error;
        }
      }
      if (this.#buffer.length > MAX_PENDING_BYTES) throw violation('header is too long');
      if (!(await this.#fill())) {
        if (this.#buffer.length === 0) return undefined;
        throw violation('stream ended inside a value');
      }
    }
  }

  /** Reads exactly size bytes into a buffer of their own. Rejects with WireError when the stream ends first. */
  async payload(size: number): Promise<Uint8Array<ArrayBuffer>> {
    const payload = new Uint8Array(size);
    let filled = 0;
    while (filled < size) {
      if (this.#buffer.length === 0 && !(await this.#fill())) throw violation('stream ended inside an object');
      const taken = this.#buffer.subarray(0, size - filled);
      payload.set(taken, filled);
      filled += taken.length;
      this.#buffer = this.#buffer.subarray(taken.length);
    }
    return payload;
  }

  /** Reads and forgets everything up to the end of the stream. */
  async discard(): Promise<void> {
    do this.#buffer = new Uint8Array();
    while (await this.#fill());
  }

  /** Tells the peer to stop sending. Never rejects. */
  cancel(reason: Error): void {
    this.#ended = true;
    this.#reader.cancel(reason).catch(() => undefined);
  }

  async #fill(): Promise<boolean> {
    if (this.#ended) return false;
    const { value, done } = await this.#reader.read();
    if (done) {
      this.#ended = true;
      return false;
    }
    this.received += value.length;
    if (this.#buffer.length === 0) {
      this.#buffer = value;
    } else {
      const joined = new Uint8Array(this.#buffer.length + value.length);
      joined.set(this.#buffer);
      joined.set(value, this.#buffer.length);
      this.#buffer = joined;
    }
    return true;
  }
}
