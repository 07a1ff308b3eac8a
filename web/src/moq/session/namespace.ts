import type { Namespace, NamespaceEvent, NamespaceSubscription } from '../model.ts';
import { RequestError } from '../errors.ts';
import { MessageType, RequestCode, SessionCode } from '../wire/codes.ts';
import { violation } from '../wire/varint.ts';
import { AsyncQueue } from './queue.ts';
import type { Host, OpenRequest } from './request.ts';
import { receiveAnswer } from './subscribe.ts';

/** The most Namespaces under one prefix, and the most events that wait for a consumer; beyond, the request is given up. */
const MAX_NAMESPACES = 10_000;

/** A SUBSCRIBE_NAMESPACE request (section 10.18) and the Namespaces that it reported. */
export class NamespaceReceiver implements NamespaceSubscription {
  readonly prefix: Namespace;
  readonly #host: Host;
  readonly #events = new AsyncQueue<NamespaceEvent>();
  readonly #live = new Map<string, Namespace>();
  #request: OpenRequest | undefined;
  #over = false;

  constructor(host: Host, prefix: Namespace) {
    this.#host = host;
    this.prefix = prefix;
    void this.#run();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NamespaceEvent, void, undefined> {
    try {
      for (;;) {
        const event = await this.#events.next();
        if (!event) return;
        yield event;
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#request?.stream.cancel();
    this.#events.clear();
    this.#events.end();
  }

  async #run(): Promise<void> {
    try {
      this.#request = await this.#host.openRequest((requestId) => ({
        type: MessageType.SubscribeNamespace,
        requestId,
        namespace: this.prefix,
        params: {},
      }));
      if (this.#over) {
        this.#request.stream.cancel();
        return;
      }
      const answer = await receiveAnswer(this.#host, this.#request);
      if (answer.type !== MessageType.RequestOk) {
        throw this.#host.fail(SessionCode.ProtocolViolation, 'wrong answer to SUBSCRIBE_NAMESPACE');
      }
      for (;;) {
        const message = await this.#request.stream.receive();
        if (!message) break;
        switch (message.type) {
          case MessageType.Namespace:
            this.#announce([...this.prefix, ...message.suffix]);
            break;
          case MessageType.NamespaceDone:
            this.#withdraw([...this.prefix, ...message.suffix]);
            break;
          case MessageType.GoAway:
            break;
          default:
            throw violation(`message 0x${message.type.toString(16)} on a namespace subscription`);
        }
      }
      this.#withdrawAll();
      this.#end();
    } catch (error) {
      if (this.#over) return;
      if (error instanceof RequestError) {
        this.#end(error);
        return;
      }
      this.#host.judge(error);
      this.#withdrawAll();
      this.#end();
    }
  }

  #announce(namespace: Namespace): void {
    const key = JSON.stringify(namespace);
    if (this.#live.has(key)) return;
    this.#live.set(key, namespace);
    if (this.#live.size > MAX_NAMESPACES || this.#events.length > MAX_NAMESPACES) {
      this.#request?.stream.cancel();
      throw new RequestError(RequestCode.NamespaceTooLarge, `more than ${MAX_NAMESPACES} namespaces`);
    }
    this.#events.push({ namespace, live: true });
  }

  #withdraw(namespace: Namespace): void {
    // "If a subscriber receives a NAMESPACE_DONE before the corresponding NAMESPACE, it MUST close the session".
    if (!this.#live.delete(JSON.stringify(namespace))) throw violation('NAMESPACE_DONE before NAMESPACE');
    this.#events.push({ namespace, live: false });
  }

  /** "it SHOULD treat this as though each active namespace received a NAMESPACE_DONE" (section 10.18). */
  #withdrawAll(): void {
    for (const namespace of this.#live.values()) this.#events.push({ namespace, live: false });
    this.#live.clear();
  }

  #end(error?: Error): void {
    this.#over = true;
    this.#events.end(error);
  }
}
