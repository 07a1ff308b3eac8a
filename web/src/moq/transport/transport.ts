/**
 * What a session needs from its transport: the part of the WebTransport interface that it uses. A stream that the peer
 * resets or stops fails with an error from which {@link Transport.streamCode} reads the code.
 */
export interface Transport {
  /** The negotiated subprotocol, for example `moqt-18`; empty when the peer chose none. */
  readonly protocol: string;
  readonly incomingBidirectionalStreams: ReadableStream<BidiStream>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  /** Settles, and never rejects, when the transport is over. */
  readonly closed: Promise<TransportClose>;
  createBidirectionalStream(): Promise<BidiStream>;
  /** sendOrder: streams with a higher one are sent first, where the transport can. */
  createUnidirectionalStream(options: { sendOrder: number }): Promise<WritableStream<Uint8Array>>;
  close(code: number, reason: string): void;
  /** The reason with which to abort or cancel a stream so that the peer sees the code. */
  streamError(code: number): Error;
  /** The code of a reset or stop by the peer, or undefined when the error is of another kind. */
  streamCode(error: unknown): number | undefined;
}

export interface BidiStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** How a transport ended. `clean` is false when the connection was lost. */
export interface TransportClose {
  readonly code: number;
  readonly reason: string;
  readonly clean: boolean;
}
