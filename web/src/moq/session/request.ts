import { RequestError, SessionError } from '../errors.ts';
import type { BidiStream, Transport } from '../transport/transport.ts';
import { ResetCode, type MessageType } from '../wire/codes.ts';
import { encodeMessage, readMessage, type Message, type RequestErrorMessage } from '../wire/message.ts';
import { ByteReader } from './reader.ts';

/** What the requests of a session need of it. */
export interface Host {
  readonly transport: Transport;
  readonly counters: Counters;
  /** Resolves when the session is over, and never rejects. */
  readonly over: Promise<SessionError>;
  /** Opens a bidirectional stream and sends on it the message that `first` makes of a fresh Request ID. */
  openRequest(first: (requestId: number) => Message): Promise<OpenRequest>;
  /** A fresh Request ID, for REQUEST_UPDATE. */
  nextRequestId(): number;
  /**
   * Tells what an exception means: closes the session for a WireError, and leaves stream failures to the caller. Returns
   * the stream's code if it has one.
   */
  judge(error: unknown): number | undefined;
  /** Closes the session because of what the peer did. */
  fail(code: number, reason: string): SessionError;
}

export interface OpenRequest {
  readonly id: number;
  readonly stream: RequestStream;
}

/** Counts that a session keeps. */
export interface Counters {
  bytesReceived: number;
  bytesSent: number;
  objectsReceived: number;
  objectsSent: number;
  groupsReset: number;
  groupsSkipped: number;
}

/** A request stream (section 3.3): control messages both ways until one side ends it. */
export class RequestStream {
  readonly #host: Pick<Host, 'transport' | 'counters'>;
  readonly #reader: ByteReader;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** The type of the message that opened the stream, ours or the peer's. */
  #opened: MessageType | undefined;
  /** Resolves when the peer no longer reads (STOP_SENDING), or the stream is over. */
  readonly stopped: Promise<void>;

  constructor(host: Pick<Host, 'transport' | 'counters'>, stream: BidiStream) {
    this.#host = host;
    this.#reader = new ByteReader(stream.readable);
    this.#writer = stream.writable.getWriter();
    this.stopped = this.#writer.closed.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Queues a message. A failure to send it is seen by whoever waits for the answer. */
  send(message: Message): void {
    this.#opened ??= message.type;
    const bytes = encodeMessage(message);
    this.#host.counters.bytesSent += bytes.length;
    this.#writer.write(bytes).catch(() => undefined);
  }

  /** The next message, or undefined at the end of the stream. Rejects with WireError, or the stream's failure. */
  async receive(): Promise<Message | undefined> {
    const before = this.#reader.received;
    try {
      const message = await this.#reader.read((cursor) => readMessage(cursor, this.#opened));
      this.#opened ??= message?.type;
      return message;
    } finally {
      this.#host.counters.bytesReceived += this.#reader.received - before;
    }
  }

  /** Ends the sending side after what is queued. */
  finish(): void {
    this.#writer.close().catch(() => undefined);
  }

  /** Gives the request up in both directions (section 3.3.2). */
  cancel(code: number = ResetCode.Cancelled): void {
    const reason = this.#host.transport.streamError(code);
    this.#writer.abort(reason).catch(() => undefined);
    this.#reader.cancel(reason);
  }
}

/** The exception for a REQUEST_ERROR. */
export function requestErrorOf(message: RequestErrorMessage): RequestError {
  return new RequestError(message.code, message.reason, {
    ...(message.retryInterval > 0 ? { retryAfterMs: message.retryInterval - 1 } : {}),
    ...(message.redirect ? { redirectUri: message.redirect.uri } : {}),
  });
}
