import { SessionError } from '../errors.ts';
import { SessionCode } from '../wire/codes.ts';
import type { BidiStream, Transport, TransportClose } from './transport.ts';

/** The draft this client speaks, as a WebTransport subprotocol. */
export const PROTOCOL = 'moqt-18';

/** The longest close reason that a WebTransport session carries, in bytes. */
const MAX_REASON_BYTES = 1024;

export interface DialOptions {
  /** SHA-256 of the server's certificate in hex. */
  readonly certificateHash?: string;
  readonly signal?: AbortSignal;
}

/**
 * Opens a WebTransport session with the subprotocol of this client's draft. Rejects with SessionError: code
 * VersionNegotiationFailed when the server chose another, InternalError when it could not be reached.
 */
export async function dialWebTransport(url: string, options: DialOptions): Promise<Transport> {
  if (typeof WebTransport === 'undefined') {
    throw new SessionError(SessionCode.InternalError, 'this browser has no WebTransport', false);
  }
  options.signal?.throwIfAborted();
  const init: WebTransportOptions & { protocols: string[] } = { protocols: [PROTOCOL] };
  if (options.certificateHash) {
    init.serverCertificateHashes = [{ algorithm: 'sha-256', value: parseHex(options.certificateHash) }];
  }
  const wt = new WebTransport(namingDraft(url), init) as WebTransport & { readonly protocol?: string };
  const abort = (): void => wt.close();
  options.signal?.addEventListener('abort', abort, { once: true });
  // Observed from the start: a session that fails rejects `closed` as well as `ready`.
  const closed: Promise<TransportClose> = wt.closed.then(
    (info) => ({ code: info.closeCode ?? 0, reason: info.reason ?? '', clean: true }),
    (error: unknown) => ({ code: SessionCode.InternalError, reason: messageOf(error), clean: false }),
  );
  try {
    await wt.ready;
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new SessionError(SessionCode.InternalError, `cannot connect: ${messageOf(error)}`, true);
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
  const protocol = wt.protocol ?? '';
  if (protocol !== '' && protocol !== PROTOCOL) {
    wt.close({ closeCode: SessionCode.VersionNegotiationFailed, reason: `no ${PROTOCOL}` });
    throw new SessionError(SessionCode.VersionNegotiationFailed, `the server speaks ${protocol}`, false);
  }
  return new BrowserTransport(wt, closed, protocol);
}

class BrowserTransport implements Transport {
  readonly #wt: WebTransport;
  readonly closed: Promise<TransportClose>;
  readonly protocol: string;

  constructor(wt: WebTransport, closed: Promise<TransportClose>, protocol: string) {
    this.#wt = wt;
    this.closed = closed;
    this.protocol = protocol;
  }

  get incomingBidirectionalStreams(): ReadableStream<BidiStream> {
    return this.#wt.incomingBidirectionalStreams as ReadableStream<BidiStream>;
  }

  get incomingUnidirectionalStreams(): ReadableStream<ReadableStream<Uint8Array>> {
    return this.#wt.incomingUnidirectionalStreams as ReadableStream<ReadableStream<Uint8Array>>;
  }

  createBidirectionalStream(): Promise<BidiStream> {
    return this.#wt.createBidirectionalStream();
  }

  createUnidirectionalStream(options: { sendOrder: number }): Promise<WritableStream<Uint8Array>> {
    return this.#wt.createUnidirectionalStream(options);
  }

  close(code: number, reason: string): void {
    let text = reason;
    while (new TextEncoder().encode(text).length > MAX_REASON_BYTES) text = text.slice(0, -1);
    try {
      this.#wt.close({ closeCode: code, reason: text });
    } catch {
      // Already over: `closed` tells how.
    }
  }

  streamError(code: number): Error {
    return makeStreamError(code);
  }

  streamCode(error: unknown): number | undefined {
    return error instanceof WebTransportError ? (error.streamErrorCode ?? undefined) : undefined;
  }
}

/**
 * WebTransportError took one dictionary before it took a message and options; Chromium 156 still does. Each form is a
 * TypeError or loses the code in the other.
 */
const makeStreamError: (code: number) => WebTransportError = (() => {
  const current = (code: number): WebTransportError => new WebTransportError('stream given up', { streamErrorCode: code });
  const older = (code: number): WebTransportError => {
    const Older = WebTransportError as unknown as new (init: object) => WebTransportError;
    return new Older({ message: 'stream given up', streamErrorCode: code });
  };
  let form: typeof current | undefined;
  return (code) => {
    if (!form) {
      try {
        form = current(code).streamErrorCode === code ? current : older;
      } catch {
        form = older;
      }
    }
    return form(code);
  };
})();

/** Adds the draft to the URL for Firefox 153, which offers no subprotocols; a server that gets an offer ignores it. */
function namingDraft(url: string): string {
  const named = new URL(url);
  if (!named.searchParams.has('draft')) named.searchParams.set('draft', PROTOCOL);
  return named.href;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function parseHex(hex: string): Uint8Array<ArrayBuffer> {
  const digits = hex.replaceAll(':', '');
  if (!/^(?:[0-9a-f]{2}){32}$/i.test(digits)) {
    throw new SessionError(SessionCode.InternalError, 'the certificate hash is not 32 bytes in hex', false);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
