import type { Group, GroupEnd, MoqObject } from '../model.ts';
import { AsyncQueue } from './queue.ts';

/** Bytes of Objects that wait for the consumer of one Group before its streams are held back: a few key frames. */
const HIGH_WATER_BYTES = 4 << 20;

/** A source of a Group's Objects: one Subgroup's stream, or the FETCH that brings the Group's beginning. */
export interface GroupSource {
  /** Tells the publisher that no more is wanted. */
  stop(): void;
}

/** The receiving side of a Group: collects what its sources bring for the consumer that iterates. */
export class GroupReceiver implements Group {
  readonly id: number;
  readonly #queue = new AsyncQueue<MoqObject>();
  readonly #sources = new Set<GroupSource>();
  readonly #onEnd: (group: GroupReceiver, end: GroupEnd) => void;
  #end: GroupEnd | undefined;
  #queuedBytes = 0;
  #drained: (() => void)[] = [];
  #complete = false;
  #superseded = false;
  #resetCode: number | undefined;

  constructor(id: number, onEnd: (group: GroupReceiver, end: GroupEnd) => void) {
    this.id = id;
    this.#onEnd = onEnd;
  }

  get end(): GroupEnd | undefined {
    return this.#end;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MoqObject, void, undefined> {
    try {
      for (;;) {
        const object = await this.#queue.next();
        if (!object) return;
        this.#queuedBytes -= object.payload.length;
        if (this.#queuedBytes < HIGH_WATER_BYTES) this.#release();
        yield object;
      }
    } finally {
      this.skip();
    }
  }

  skip(): void {
    this.#giveUp('skipped');
  }

  /** Ends the Group because the subscription ended. */
  close(): void {
    this.#giveUp('closed');
  }

  addSource(source: GroupSource): void {
    if (this.#end) source.stop();
    else this.#sources.add(source);
  }

  /** Takes an Object from a source. Resolves when the source may go on. */
  async push(object: MoqObject): Promise<void> {
    if (this.#end) return;
    this.#queue.push(object);
    this.#queuedBytes += object.payload.length;
    while (this.#queuedBytes >= HIGH_WATER_BYTES && !this.#end) {
      await new Promise<void>((resolve) => this.#drained.push(resolve));
    }
  }

  /** A source brought all that it had; `last` tells that it held the Group's last Object. */
  sourceDone(source: GroupSource, last: boolean): void {
    this.#sources.delete(source);
    if (last) this.#complete = true;
    this.#settle();
  }

  /** A source was reset, so that Objects are missing. */
  sourceReset(source: GroupSource, code: number): void {
    this.#sources.delete(source);
    this.#resetCode ??= code;
    this.#settle();
  }

  /** Ends the Group because Objects are missing without which the rest is worth nothing. */
  abandon(code: number): void {
    if (this.#end) return;
    const sources = [...this.#sources];
    this.#sources.clear();
    this.#finish({ kind: 'reset', code });
    for (const source of sources) source.stop();
  }

  /** Nothing but the present sources will bring Objects: a newer Group has begun, or the Track has ended. */
  supersede(): void {
    this.#superseded = true;
    this.#settle();
  }

  #settle(): void {
    if (this.#end || this.#sources.size > 0) return;
    if (this.#resetCode !== undefined) this.#finish({ kind: 'reset', code: this.#resetCode });
    else if (this.#complete || this.#superseded) this.#finish({ kind: 'complete' });
  }

  #giveUp(kind: 'skipped' | 'closed'): void {
    this.#queue.clear();
    this.#queuedBytes = 0;
    if (this.#end) return;
    const sources = [...this.#sources];
    this.#sources.clear();
    this.#finish({ kind });
    for (const source of sources) source.stop();
  }

  #finish(end: GroupEnd): void {
    this.#end = end;
    this.#queue.end();
    this.#release();
    this.#onEnd(this, end);
  }

  #release(): void {
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
  }
}
