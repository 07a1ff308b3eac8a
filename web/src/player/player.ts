import { fetchConfig } from '../api/config.ts';
import type { LatencyMode } from './clock.ts';
import { noStats, type Engine, type EngineEvents, type Transport } from './engine.ts';
import { canPlayInHls, HlsEngine, hlsSupport } from './hls_engine.ts';
import type { PlaybackStats, WatchStatus } from './messages.ts';
import { canPlayMoq, MoqEngine, startMoqWorker } from './moq_engine.ts';
import { codecName } from '../ui/format.ts';
import { loadPreferences, savePreferences } from './preferences.ts';
import { Sound } from './sound.ts';
import type { SoundMeasure } from './sound_measure.ts';

/** After neither way of playing worked, MoQ is tried again. */
const startOverMs = 10_000;

/** What the page shows of a player. */
export interface PlayerView {
  readonly transport: Transport;
  readonly status: WatchStatus;
  readonly stats: PlaybackStats;
  /** Something the viewer should know that is no state. */
  readonly notice: string | undefined;
  readonly paused: boolean;
  readonly volume: number;
  readonly muted: boolean;
  /** The browser keeps the sound back until the viewer touches the page. */
  readonly soundBlocked: boolean;
  readonly mode: LatencyMode;
}

/** How to play a room. */
export interface PlayerOptions {
  readonly room: string;
  /** Play only this way. */
  readonly transport?: Transport | undefined;
  /** Where the picture goes. */
  readonly stage: HTMLElement;
  readonly onChange: (view: PlayerView) => void;
  /** Starts the MoQ worker; another than the usual one plays without a server. */
  readonly startWorker?: () => Worker;
}

/** Plays a room in the way that works: MoQ where the browser and the network allow it, else LL-HLS. */
export class Player {
  private readonly sound = new Sound();
  private readonly listening = new AbortController();
  private engine: Engine | undefined;
  private status: WatchStatus = { kind: 'connecting' };
  private notice: string | undefined;
  private paused = false;
  private mode: LatencyMode;
  private measuring = false;
  private closed = false;
  private startOver: ReturnType<typeof setTimeout> | undefined;
  private readonly refresh: ReturnType<typeof setInterval>;

  constructor(private readonly options: PlayerOptions) {
    const { volume, muted, mode } = loadPreferences();
    this.mode = mode;
    this.sound.setVolume(volume, muted);
    this.sound.onChange = () => {
      this.engine?.soundChanged();
      this.changed();
    };
    // Any touch of the page is what the browser waits for.
    for (const type of ['pointerdown', 'keydown']) {
      document.addEventListener(type, () => void this.unblock(), { signal: this.listening.signal });
    }
    this.refresh = setInterval(() => this.changed(), 250);
    // Who leaves is told to the server at once, which would else count a viewer until the silence is noticed; and who
    // comes back to a page that the browser has kept finds it playing again.
    window.addEventListener('pagehide', () => this.leave(), { signal: this.listening.signal });
    window.addEventListener('pageshow', ({ persisted }) => persisted && this.start(), { signal: this.listening.signal });
    void this.unblock();
    this.start();
  }

  /** What to show. */
  get view(): PlayerView {
    const { level, muted } = this.sound.volume;
    return {
      transport: this.engine?.transport ?? 'moq',
      status: this.status,
      stats: this.engine?.stats ?? noStats,
      notice: this.notice,
      paused: this.paused,
      volume: level,
      muted,
      soundBlocked: this.sound.blocked,
      mode: this.mode,
    };
  }

  /** Lets the sound be heard, when called because the viewer did something. */
  async unblock(): Promise<void> {
    try {
      await this.sound.resume();
    } catch {
      // Still refused; the next touch tries again.
    }
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    this.engine?.setPaused(paused);
    this.changed();
  }

  setVolume(level: number, muted: boolean): void {
    this.sound.setVolume(Math.min(1, Math.max(0, level)), muted);
    this.keepPreferences();
  }

  setMode(mode: LatencyMode): void {
    this.mode = mode;
    this.engine?.setMode(mode);
    this.keepPreferences();
  }

  /** What is heard now. */
  measureSound(): SoundMeasure {
    return this.sound.measure();
  }

  /** The counter in the picture on show. */
  counter(): number | null {
    return this.engine?.counter() ?? null;
  }

  /** The time from drawing to painting; the first call begins the measurement. */
  glassToGlass(): { p50: number; p90: number; n: number } {
    this.measure();
    return { ...(this.engine?.glassToGlass() ?? noStats.glassToGlass) };
  }

  /** Reads the counter of every picture from now on. */
  measure(): void {
    if (this.measuring) return;
    this.measuring = true;
    this.engine?.measure();
  }

  /** Ends playing and lets go of everything. */
  close(): void {
    this.closed = true;
    clearInterval(this.refresh);
    this.listening.abort();
    this.leave();
    void this.sound.close();
  }

  private leave(): void {
    clearTimeout(this.startOver);
    this.engine?.close();
    this.engine?.element.remove();
    this.engine = undefined;
  }

  private start(): void {
    const { transport } = this.options;
    if (transport === 'hls' || (transport === undefined && !canPlayMoq())) void this.startHls();
    else this.startMoq();
  }

  private startMoq(): void {
    const { room } = this.options;
    const startWorker = this.options.startWorker ?? startMoqWorker;
    if (!canPlayMoq()) {
      this.setStatus({ kind: 'failed', reason: 'this browser lacks WebTransport or WebCodecs' });
      return;
    }
    this.install((events) => new MoqEngine({ room, mode: this.mode, sound: this.sound, events, startWorker }));
  }

  private async startHls(): Promise<void> {
    const { room } = this.options;
    let base: string | undefined;
    try {
      base = (await fetchConfig()).hls;
    } catch {
      this.again('the server cannot be reached');
      return;
    }
    if (this.closed) return;
    if (base === undefined || hlsSupport() === undefined) {
      this.again('this browser can play neither MoQ nor HLS');
      return;
    }
    const path = base;
    this.install((events) => new HlsEngine({ room, base: path, mode: this.mode, sound: this.sound, events }));
  }

  private install(create: (events: EngineEvents) => Engine): void {
    // An engine that has been replaced may still speak; only the one installed is heard.
    const current = (): boolean => engine !== undefined && engine === this.engine;
    let engine: Engine | undefined;
    const events: EngineEvents = {
      status: (status) => {
        if (current() || engine === undefined) this.engineStatus(status);
      },
      undecodable: (codecs) => {
        if (current()) this.undecodable(codecs);
      },
    };
    const before = this.engine;
    engine = create(events);
    this.engine = engine;
    before?.close();
    this.options.stage.replaceChildren(engine.element);
    if (this.paused) engine.setPaused(true);
    if (this.measuring) engine.measure();
    engine.soundChanged();
    this.changed();
  }

  private engineStatus(status: WatchStatus): void {
    if (status.kind === 'failed' && this.engine?.transport === 'moq') {
      if (this.options.transport === undefined && hlsSupport() !== undefined) void this.startHls();
      else this.again(status.reason);
      return;
    }
    if (status.kind === 'live' && this.engine?.transport === 'hls') this.notice = undefined;
    this.setStatus(status);
  }

  /** MoQ plays what it can; HLS is better only where it can play what MoQ cannot. */
  private undecodable(codecs: readonly string[]): void {
    if (this.engine?.transport === 'moq' && this.options.transport === undefined && codecs.some(canPlayInHls)) {
      void this.startHls();
      return;
    }
    this.notice = codecs.length === 0 ? undefined : `This browser cannot decode ${codecs.map(codecName).join(', ')}.`;
    this.changed();
  }

  private again(reason: string): void {
    this.setStatus({ kind: 'failed', reason });
    clearTimeout(this.startOver);
    this.startOver = setTimeout(() => this.start(), startOverMs);
  }

  private setStatus(status: WatchStatus): void {
    this.status = status;
    this.changed();
  }

  private keepPreferences(): void {
    const { level, muted } = this.sound.volume;
    savePreferences({ volume: level, muted, mode: this.mode });
    this.changed();
  }

  private changed(): void {
    if (!this.closed) this.options.onChange(this.view);
  }
}
