import type { LatencyMode } from './clock.ts';
import { noStats, type Engine, type EngineEvents } from './engine.ts';
import type { GlassToGlass, PlaybackStats, WorkerReport, WorkerRequest } from './messages.ts';
import { CounterMeter } from './meter.ts';
import type { Sound } from './sound.ts';

/** Whether this browser has all that playing over MoQ takes. */
export function canPlayMoq(): boolean {
  return (
    typeof WebTransport !== 'undefined' &&
    typeof VideoDecoder !== 'undefined' &&
    typeof AudioDecoder !== 'undefined' &&
    typeof AudioWorkletNode !== 'undefined' &&
    'transferControlToOffscreen' in HTMLCanvasElement.prototype
  );
}

/** Starts the worker that plays over WebTransport. */
export function startMoqWorker(): Worker {
  return new Worker(new URL('./moq_worker.ts', import.meta.url), { type: 'module', name: 'freshet-player' });
}

/** Plays a room over MoQ: the worker does all the work, this keeps the page's end of it. */
export class MoqEngine implements Engine {
  readonly transport = 'moq';
  readonly element = document.createElement('canvas');
  stats: PlaybackStats = noStats;
  private readonly worker: Worker;
  private started = false;
  private closed = false;
  private paused = false;
  private measuring = false;
  private mode: LatencyMode;
  private meter: CounterMeter | undefined;

  constructor(
    private readonly options: {
      readonly room: string;
      readonly mode: LatencyMode;
      readonly sound: Sound;
      readonly events: EngineEvents;
      readonly startWorker: () => Worker;
    },
  ) {
    this.mode = options.mode;
    this.worker = options.startWorker();
    this.worker.onmessage = (event: MessageEvent<WorkerReport>) => this.handle(event.data);
    this.worker.onerror = (event) => {
      options.events.status({ kind: 'failed', reason: event.message || 'the player could not be started' });
    };
    document.addEventListener('visibilitychange', this.attend);
    void this.start();
  }

  setMode(mode: LatencyMode): void {
    this.mode = mode;
    this.post({ type: 'mode', mode });
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    this.attend();
  }

  soundChanged(): void {
    const { running, outputLatencyMs } = this.options.sound;
    this.post({ type: 'audible', running, outputLatencyMs });
  }

  counter(): number | null {
    this.meter ??= new CounterMeter();
    return this.meter.read(this.element, this.element.width);
  }

  measure(): void {
    this.measuring = true;
    this.post({ type: 'measure' });
  }

  glassToGlass(): GlassToGlass {
    return this.stats.glassToGlass;
  }

  close(): void {
    document.removeEventListener('visibilitychange', this.attend);
    this.worker.onmessage = null;
    // The worker ends its session in order and then itself.
    if (this.started) this.post({ type: 'stop' });
    else this.worker.terminate();
    this.closed = true;
  }

  private async start(): Promise<void> {
    const canvas = this.element.transferControlToOffscreen();
    // A page without sound still shows the picture.
    const sound = await this.options.sound.openPlayout().catch(() => new MessageChannel().port1);
    if (this.closed) return;
    this.started = true;
    this.post({ type: 'start', room: this.options.room, canvas, sound, mode: this.mode }, [canvas, sound]);
    this.soundChanged();
    this.attend();
    if (this.measuring) this.measure();
  }

  private handle(report: WorkerReport): void {
    switch (report.type) {
      case 'status':
        // The sound card's delay is known once it runs; it is sent along when there is something to play.
        if (report.status.kind === 'live') this.soundChanged();
        this.options.events.status(report.status);
        break;
      case 'stats':
        this.stats = report.stats;
        break;
      case 'undecodable':
        this.options.events.undecodable(report.codecs);
        break;
    }
  }

  private readonly attend = (): void => {
    this.post({ type: 'attention', visible: document.visibilityState === 'visible', paused: this.paused });
  };

  /** Before the start there is nobody to tell: what has been asked by then goes with it. */
  private post(request: WorkerRequest, transfer: Transferable[] = []): void {
    if (this.started) this.worker.postMessage(request, transfer);
  }
}
