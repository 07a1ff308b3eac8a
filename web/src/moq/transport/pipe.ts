import type { BidiStream, Transport, TransportClose } from './transport.ts';

/** The failure of a stream of an in-memory transport that one side reset or stopped. */
export class PipeStreamError extends Error {
  readonly streamCode: number;

  constructor(streamCode: number) {
    super(`stream given up with code ${streamCode}`);
    this.name = 'PipeStreamError';
    this.streamCode = streamCode;
  }
}

/**
 * Two transports in one process, joined: what one side opens arrives at the other. Streams carry back-pressure, resets
 * and stops with their codes, as WebTransport's do; there is no loss and no delay.
 */
export function transportPipe(protocol = 'moqt-18'): [Transport, Transport] {
  const a = new PipeTransport(protocol);
  const b = new PipeTransport(protocol);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class PipeTransport implements Transport {
  readonly protocol: string;
  peer: PipeTransport | undefined;
  readonly closed: Promise<TransportClose>;
  readonly incomingBidirectionalStreams: ReadableStream<BidiStream>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  #settle!: (close: TransportClose) => void;
  #bidi!: ReadableStreamDefaultController<BidiStream>;
  #uni!: ReadableStreamDefaultController<ReadableStream<Uint8Array>>;
  readonly #open = new Set<PipeHalf>();
  #over = false;

  constructor(protocol: string) {
    this.protocol = protocol;
    this.closed = new Promise((resolve) => (this.#settle = resolve));
    this.incomingBidirectionalStreams = new ReadableStream({ start: (controller) => void (this.#bidi = controller) });
    this.incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => void (this.#uni = controller) });
  }

  async createBidirectionalStream(): Promise<BidiStream> {
    const peer = this.#live();
    const there = this.#half();
    const back = this.#half();
    peer.#bidi.enqueue({ readable: there.readable, writable: back.writable });
    return { readable: back.readable, writable: there.writable };
  }

  async createUnidirectionalStream(): Promise<WritableStream<Uint8Array>> {
    const peer = this.#live();
    const half = this.#half();
    peer.#uni.enqueue(half.readable);
    return half.writable;
  }

  close(code: number, reason: string): void {
    if (this.peer) this.peer.#end({ code, reason, clean: true });
    this.#end({ code, reason, clean: true });
  }

  streamError(code: number): Error {
    return new PipeStreamError(code);
  }

  streamCode(error: unknown): number | undefined {
    return error instanceof PipeStreamError ? error.streamCode : undefined;
  }

  #live(): PipeTransport {
    if (this.#over || !this.peer) throw new Error('transport is closed');
    return this.peer;
  }

  #half(): PipeHalf {
    const half = new PipeHalf(() => this.#open.delete(half));
    this.#open.add(half);
    return half;
  }

  #end(close: TransportClose): void {
    if (this.#over) return;
    this.#over = true;
    for (const half of this.#open) half.fail(new Error('transport is closed'));
    this.#bidi.close();
    this.#uni.close();
    this.#settle(close);
  }
}

/** One direction of a stream: at most HIGH_WATER bytes wait between the writer and the reader. */
class PipeHalf {
  static readonly HIGH_WATER = 64 * 1024;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  #reader!: ReadableStreamDefaultController<Uint8Array>;
  #writer!: WritableStreamDefaultController;
  #wanted: (() => void) | undefined;
  #ended = false;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#reader = controller),
        pull: () => {
          this.#wanted?.();
          this.#wanted = undefined;
        },
        cancel: (reason: unknown) => this.#finish(() => this.#writer.error(reason)),
      },
      { highWaterMark: PipeHalf.HIGH_WATER, size: (chunk) => chunk.byteLength },
    );
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => void (this.#writer = controller),
      write: async (chunk, controller) => {
        while ((this.#reader.desiredSize ?? 0) <= 0 && !this.#ended) {
          await Promise.race([new Promise<void>((resolve) => (this.#wanted = resolve)), aborted(controller.signal)]);
          controller.signal.throwIfAborted();
        }
        if (!this.#ended) this.#reader.enqueue(chunk.slice());
      },
      close: () => this.#finish(() => this.#reader.close()),
      abort: (reason: unknown) => this.#finish(() => this.#reader.error(reason)),
    });
  }

  fail(error: Error): void {
    this.#finish(() => {
      this.#reader.error(error);
      this.#writer.error(error);
    });
  }

  #finish(effect: () => void): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#wanted?.();
    this.#onEnd();
    effect();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
