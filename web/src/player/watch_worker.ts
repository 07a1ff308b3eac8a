import { AudioPipeline } from './audio_pipeline.ts';
import { BroadcastPlayer } from './broadcast_player.ts';
import { PlayoutClock, punctuality } from './clock.ts';
import type { MediaSession } from './media_session.ts';
import type { PlaybackStats, SoundReport, SoundRequest, WorkerReport, WorkerRequest } from './messages.ts';
import { CanvasPainter } from './painter.ts';
import { VideoPipeline } from './video_pipeline.ts';
import { Viewer, type ViewerParts } from './viewer.ts';

/** What a dedicated worker's global scope is used for; TypeScript's DOM library describes a window's. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<WorkerRequest>) => void) | null;
  postMessage(report: WorkerReport): void;
  close(): void;
}

/** Time passes in steps of this length for what does not hang on the screen's refresh. */
const stepMs = 20;

/** The screen is taken not to refresh (a hidden tab) when it has not for so long. */
const refreshMs = 100;

/** How often numbers go to the page. */
const statsMs = 250;

/** A viewer who looks away for so long is sent no pictures. */
const inattentionMs = 5000;

/** From the moment it is due, a picture waits for the next refresh of the screen. */
const refreshMarginMs = 12;

/** The audio thread asks for sound in bursts, and a block has to cross two threads. */
const soundMarginMs = 25;

/** The server as the worker sees it. */
export type WatchServer = Pick<ViewerParts, 'connect' | 'fetchConfig' | 'requestToken'>;

/** Runs the player in a dedicated worker, against a server. */
export function serveWatchWorker(server: WatchServer): void {
  const scope = globalThis as unknown as WorkerScope;
  let watching: Watching | undefined;
  scope.onmessage = ({ data: request }) => {
    if (request.type === 'start') watching ??= new Watching(request, server, (report) => scope.postMessage(report));
    else if (request.type !== 'stop') watching?.handle(request);
    else void watching?.stop().then(() => scope.close());
  };
}

/** One room being watched. */
class Watching {
  private readonly clock: PlayoutClock;
  private readonly painter: CanvasPainter;
  private readonly video: VideoPipeline;
  private readonly audio: AudioPipeline;
  private readonly broadcast: BroadcastPlayer;
  private readonly viewer: Viewer;
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;
  private readonly sound: MessagePort;
  private readonly timers: ReturnType<typeof setInterval>[];
  private session: MediaSession | undefined;
  private bytesBefore = 0;
  private soundReport: SoundReport | undefined;
  private audible = { running: false, outputLatencyMs: 0 };
  private sentOffset: number | undefined;
  private refreshedMs = -Infinity;
  private lookedAway: ReturnType<typeof setTimeout> | undefined;
  private wanted = { video: true, audio: true };

  constructor(
    start: Extract<WorkerRequest, { type: 'start' }>,
    server: WatchServer,
    private readonly report: (report: WorkerReport) => void,
  ) {
    this.clock = new PlayoutClock(start.mode);
    this.painter = new CanvasPainter(start.canvas);
    const undecodable = (codec: string): void => report({ type: 'undecodable', codecs: [codec] });
    this.video = new VideoPipeline(this.clock, this.painter, undecodable);
    this.audio = new AudioPipeline((block) => {
      this.tellSound(
        { type: 'block', block },
        block.planes.map((plane) => plane.buffer as ArrayBuffer),
      );
    }, undecodable);
    this.broadcast = new BroadcastPlayer({
      clock: this.clock,
      video: this.video,
      audio: this.audio,
      events: {
        flowing: (flowing) => this.viewer.setFlowing(flowing),
        undecodable: (codecs) => report({ type: 'undecodable', codecs }),
      },
    });
    this.viewer = new Viewer(start.room, {
      ...server,
      connect: async (url, options) => {
        const session = await server.connect(url, options);
        this.bytesBefore += this.session?.stats().bytesReceived ?? 0;
        this.session = session;
        return session;
      },
      broadcast: this.broadcast,
      report: (status) => report({ type: 'status', status }),
    });
    this.sound = start.sound;
    this.sound.onmessage = (event: MessageEvent<SoundReport>) => {
      this.soundReport = event.data;
      this.clock.followAudio(this.audible.running ? event.data : undefined);
    };
    this.timers = [setInterval(() => this.step(), stepMs), setInterval(() => this.tellStats(), statsMs)];
    requestAnimationFrame(this.refresh);
    this.running = this.viewer.run(this.stopping.signal);
  }

  handle(request: Exclude<WorkerRequest, { type: 'start' | 'stop' }>): void {
    switch (request.type) {
      case 'mode':
        this.clock.setMode(request.mode);
        break;
      case 'audible':
        this.audible = request;
        this.sentOffset = undefined;
        this.audio.setEnabled(request.running);
        if (!request.running) this.clock.followAudio(undefined);
        break;
      case 'attention':
        this.attend(request.visible, request.paused);
        break;
      case 'measure':
        this.painter.measure();
        break;
    }
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    // Before all else: the page may be on its way out, and this worker with it.
    this.session?.close();
    for (const timer of this.timers) clearInterval(timer);
    clearTimeout(this.lookedAway);
    await this.running;
    this.video.end();
    this.audio.end();
    this.sound.close();
  }

  /** Who pauses wants nothing; who looks away for long wants no pictures. Both join anew at the current Group. */
  private attend(visible: boolean, paused: boolean): void {
    clearTimeout(this.lookedAway);
    const want = (video: boolean): void => {
      const wanted = { video: video && !paused, audio: !paused };
      if (wanted.video === this.wanted.video && wanted.audio === this.wanted.audio) return;
      if (!wanted.audio) this.tellSound({ type: 'flush' });
      this.wanted = wanted;
      this.broadcast.setWanted(wanted);
    };
    if (visible || paused) want(visible);
    else this.lookedAway = setTimeout(() => want(false), inattentionMs);
  }

  private readonly refresh = (): void => {
    if (this.stopping.signal.aborted) return;
    requestAnimationFrame(this.refresh);
    this.refreshedMs = Date.now();
    this.video.tick(this.refreshedMs);
  };

  private step(): void {
    const now = Date.now();
    const { video, audio } = this.broadcast.tracks;
    if (video !== undefined) this.clock.setNeeds(video.name, this.video.decodeMs + refreshMarginMs, punctuality.picture);
    if (audio !== undefined) {
      const latency = this.audible.running ? this.audible.outputLatencyMs : 0;
      this.clock.setNeeds(audio.name, latency + soundMarginMs, punctuality.sound);
    }
    this.broadcast.poll();
    if (now - this.refreshedMs > refreshMs) this.video.tick(now);
    const offset = this.clock.targetOffset(now);
    if (offset !== this.sentOffset) {
      this.sentOffset = offset;
      this.tellSound({ type: 'offset', offsetMs: offset, outputLatencyMs: this.audible.outputLatencyMs });
    }
  }

  private tellSound(request: SoundRequest, transfer: Transferable[] = []): void {
    this.sound.postMessage(request, transfer);
  }

  private tellStats(): void {
    const { video, audio } = this.broadcast.tracks;
    const stats: PlaybackStats = {
      videoCodec: video?.codec,
      audioCodec: audio?.codec,
      width: this.painter.width,
      height: this.painter.height,
      fps: this.painter.fps(Date.now()),
      latencyMs: this.painter.latencyMs,
      jitterMs: this.clock.jitterMs,
      videoBufferMs: this.video.bufferedMs,
      audioBufferMs: this.soundReport?.bufferedMs ?? 0,
      audioLagMs: this.soundReport?.playing === true ? this.soundReport.lagMs : null,
      decodeMs: this.video.decodeMs,
      paintedFrames: this.video.counts.painted,
      droppedFrames: this.video.counts.dropped,
      decodeErrors: this.video.counts.decodeErrors + this.audio.decodeErrors,
      stalls: this.video.counts.stalls + (this.soundReport?.starvations ?? 0),
      reconnects: this.viewer.reconnects,
      skippedGroups: this.broadcast.skippedGroups,
      bytesReceived: this.bytesBefore + (this.session?.stats().bytesReceived ?? 0),
      glassToGlass: this.painter.glassToGlass,
    };
    this.report({ type: 'stats', stats });
  }
}
