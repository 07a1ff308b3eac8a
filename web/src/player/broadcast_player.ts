import { Backoff, sleep } from '../backoff.ts';
import { CATALOG_TRACK, type Catalog, type CatalogTrack } from '../media/catalog.ts';
import { MsfReader } from '../media/msf.ts';
import type { Namespace, Subscription } from '../moq/model.ts';
import { canDecodeAudio, type AudioPipeline } from './audio_pipeline.ts';
import { chooseTracks, sameEncoding } from './choice.ts';
import type { PlayoutClock } from './clock.ts';
import type { MediaSession } from './media_session.ts';
import type { Released } from './sequencer.ts';
import { TrackFeed, type MediaObject } from './track_feed.ts';
import { canDecodeVideo, type VideoPipeline } from './video_pipeline.ts';

/** The catalog is needed before all else, and sound is missed sooner than a picture. */
const priority = { catalog: 0, audio: 64, video: 128 } as const;

/** How long a relay may take to answer a SUBSCRIBE; it may have to ask its own upstream first. */
const answerMs = 6000;

/** No media for so long, although some is wanted, is an interruption; for long enough, a reason to subscribe anew. */
const silentMs = 2000;
const staleMs = 5000;

/** A relay that lost its publisher unawares hands its last Group out again, all of it well within this time. */
const burstMs = 500;

/** Pictures are wanted by their decoder this much before they are due, sound by its own. */
const leadMs = { video: 40, audio: 60 } as const;

/** Why a broadcast is no longer played. */
export type BroadcastEnd = 'complete' | 'ended' | 'stale' | 'closed';

/** What a broadcast player tells. */
export interface BroadcastEvents {
  /** Media arrives, or has stopped arriving though nothing ended. */
  flowing(flowing: boolean): void;
  /** The codecs of which this browser decodes none: after each catalog, empty when all is well. */
  undecodable(codecs: readonly string[]): void;
}

/** What of a broadcast is wanted now. */
export interface Wanted {
  readonly video: boolean;
  readonly audio: boolean;
}

/** What a broadcast is played with. */
export interface BroadcastParts {
  readonly clock: PlayoutClock;
  readonly video: VideoPipeline;
  readonly audio: AudioPipeline;
  readonly events: BroadcastEvents;
}

/**
 * Plays broadcasts, one at a time: follows the catalog, keeps the Tracks subscribed that are wanted and can be decoded,
 * and feeds their pipelines.
 */
export class BroadcastPlayer {
  private wanted: Wanted = { video: true, audio: true };
  private run: Run | undefined;
  private skipped = 0;
  private lastEnd: BroadcastEnd | undefined;

  constructor(private readonly parts: BroadcastParts) {}

  /** Groups given up before they were complete. */
  get skippedGroups(): number {
    return this.skipped + (this.run?.skippedGroups ?? 0);
  }

  /** The Tracks that are played. */
  get tracks(): { readonly video: CatalogTrack | undefined; readonly audio: CatalogTrack | undefined } {
    return { video: this.run?.video.track, audio: this.run?.audio.track };
  }

  /** Changes what is wanted: a Track that is not is unsubscribed, and joined anew when it is again. */
  setWanted(wanted: Wanted): void {
    this.wanted = wanted;
    this.run?.want(wanted);
  }

  /** Lets time pass: Objects that were held back may be due now. */
  poll(): void {
    this.run?.video.feed?.poll();
    this.run?.audio.feed?.poll();
  }

  /**
   * Plays until the broadcast ends, goes silent for long, or the signal ends it. Rejects when the catalog cannot be
   * subscribed to. Everything it started has ended when it returns.
   */
  async play(session: MediaSession, namespace: Namespace, signal: AbortSignal): Promise<BroadcastEnd> {
    const catalogTrack = await subscribe(session, namespace, CATALOG_TRACK.msf, priority.catalog, signal);
    const run = new Run(this.parts, session, namespace, this.wanted, this.lastEnd === 'stale');
    this.run = run;
    const finish = (end: BroadcastEnd): void => {
      run.end = end;
      catalogTrack.close();
    };
    const closed = (): void => finish('closed');
    signal.addEventListener('abort', closed, { once: true });
    const watch = setInterval(() => {
      if (run.watch() === 'stale') finish('stale');
    }, 250);
    if (signal.aborted) closed();
    try {
      await followCatalog(catalogTrack, (catalog) => run.follow(catalog));
    } finally {
      clearInterval(watch);
      signal.removeEventListener('abort', closed);
      await run.stop();
      this.skipped += run.skippedGroups;
      this.lastEnd = run.end;
      this.run = undefined;
    }
    return run.end;
  }
}

type Chosen = { readonly video: CatalogTrack | undefined; readonly audio: CatalogTrack | undefined };

/** One Track being played. */
interface Part {
  track: CatalogTrack | undefined;
  feed: TrackFeed | undefined;
  stop: AbortController | undefined;
  done: Promise<void>;
}

/** One broadcast while it is played. */
class Run {
  readonly video: Part = { track: undefined, feed: undefined, stop: undefined, done: Promise.resolve() };
  readonly audio: Part = { track: undefined, feed: undefined, stop: undefined, done: Promise.resolve() };
  end: BroadcastEnd = 'ended';
  private chosen: Chosen = { video: undefined, audio: undefined };
  private mediaAtMs = Date.now();
  private firstMediaAtMs: number | undefined;
  private flowing = false;
  private stopped = false;
  private skipped = 0;

  constructor(
    private readonly parts: BroadcastParts,
    private readonly session: MediaSession,
    private readonly namespace: Namespace,
    private wanted: Wanted,
    /** Media had dried up before: what comes in one burst may be what there was before. */
    private readonly afterSilence: boolean,
  ) {}

  get skippedGroups(): number {
    return this.skipped + (this.video.feed?.skippedGroups ?? 0) + (this.audio.feed?.skippedGroups ?? 0);
  }

  async follow(catalog: Catalog): Promise<void> {
    const { video, audio, undecodable } = await chooseTracks(catalog, (track) =>
      track.kind === 'video' ? canDecodeVideo(track) : canDecodeAudio(track),
    );
    if (catalog.complete) this.end = 'complete';
    this.chosen = { video, audio };
    this.parts.events.undecodable(undecodable);
    this.review();
  }

  want(wanted: Wanted): void {
    this.wanted = wanted;
    this.review();
  }

  /** Looks whether media still comes. */
  watch(): 'well' | 'silent' | 'stale' {
    const active = this.video.track !== undefined || this.audio.track !== undefined;
    if (!active) {
      this.mediaAtMs = Date.now();
      return 'well';
    }
    const silence = Date.now() - this.mediaAtMs;
    if (silence > staleMs) return 'stale';
    if (silence < silentMs) return 'well';
    this.setFlowing(false);
    return 'silent';
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.adjust(this.video, undefined);
    this.adjust(this.audio, undefined);
    await Promise.all([this.video.done, this.audio.done]);
  }

  /** Brings what is subscribed in line with what is chosen and wanted. */
  private review(): void {
    if (this.stopped) return;
    this.adjust(this.video, this.wanted.video ? this.chosen.video : undefined);
    this.adjust(this.audio, this.wanted.audio ? this.chosen.audio : undefined);
  }

  private adjust(part: Part, track: CatalogTrack | undefined): void {
    if (sameEncoding(part.track, track)) return;
    part.stop?.abort();
    part.track = track;
    part.stop = undefined;
    if (track === undefined) return;
    const stop = new AbortController();
    part.stop = stop;
    // One after the other: the pipeline belongs to one run at a time.
    part.done = part.done.then(() => this.run(part, track, stop.signal));
  }

  /** Keeps a Track subscribed and its pipeline fed until the signal ends it. */
  private async run(part: Part, track: CatalogTrack, signal: AbortSignal): Promise<void> {
    const { clock, video, audio } = this.parts;
    const pipeline = track.kind === 'video' ? video : audio;
    const backoff = new Backoff({ firstMs: 300, maxMs: 3000, steadyMs: 5000 });
    while (!signal.aborted) {
      try {
        const subscription = await subscribe(this.session, this.namespace, track.name, priority[track.kind], signal);
        const close = (): void => subscription.close();
        signal.addEventListener('abort', close, { once: true });
        if (signal.aborted) close();
        pipeline.begin(track);
        const feed = new TrackFeed(subscription, clock, {
          leadMs: leadMs[track.kind],
          receive: (objects) => this.receive(pipeline, objects, backoff),
        });
        part.feed = feed;
        await feed.run();
        this.skipped += feed.skippedGroups;
        signal.removeEventListener('abort', close);
      } catch {
        // The Track may come back, or the catalog will tell that it does not; the session's end ends the signal.
      } finally {
        part.feed = undefined;
        clock.forget(track.name);
      }
      if (!signal.aborted) await sleep(backoff.next(Date.now()), signal);
    }
    pipeline.end();
  }

  private receive(pipeline: VideoPipeline | AudioPipeline, objects: readonly Released<MediaObject>[], backoff: Backoff): void {
    this.mediaAtMs = Date.now();
    backoff.works(this.mediaAtMs);
    this.firstMediaAtMs ??= this.mediaAtMs;
    if (!this.afterSilence || this.mediaAtMs - this.firstMediaAtMs > burstMs) this.setFlowing(true);
    pipeline.receive(objects);
  }

  private setFlowing(flowing: boolean): void {
    if (flowing === this.flowing || this.stopped) return;
    this.flowing = flowing;
    this.parts.events.flowing(flowing);
  }
}

/** Subscribes from the current Group's first Object, giving up when no answer comes. */
async function subscribe(
  session: MediaSession,
  namespace: Namespace,
  track: string,
  urgency: number,
  signal: AbortSignal,
): Promise<Subscription> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
  return session.subscribe(namespace, track, { join: true, priority: urgency, signal: limit });
}

/** Reads a catalog Track until its subscription ends. A newer Group begins a new catalog; an older one is ignored. */
async function followCatalog(subscription: Subscription, follow: (catalog: Catalog) => Promise<void>): Promise<void> {
  let newest = -1;
  let following = Promise.resolve();
  const readers: Promise<void>[] = [];
  for await (const group of subscription) {
    if (group.id < newest) {
      group.skip();
      continue;
    }
    newest = group.id;
    readers.push(
      (async () => {
        const reader = new MsfReader();
        for await (const object of group) {
          if (group.id < newest || object.payload.length === 0) continue;
          const catalog = reader.read(object.objectId, object.payload);
          following = following.then(() => (group.id < newest ? undefined : follow(catalog)));
        }
      })().catch((error: unknown) => {
        // A catalog that cannot be read leaves what plays alone; the next Group has a whole one again.
        console.warn('catalog:', error);
      }),
    );
    if (readers.length > 16) readers.splice(0, readers.length - 16);
  }
  await Promise.all(readers);
  await following;
}
