import { createSignal, Match, onCleanup, onMount, Show, Switch, type JSX } from 'solid-js';
import { codecName } from '../ui/format.ts';
import { Icon } from '../ui/Icon.tsx';
import type { LatencyMode } from './clock.ts';
import { installDiagnostics } from './diagnostics.ts';
import { noStats, type Transport } from './engine.ts';
import { Player, type PlayerView } from './player.ts';
import { StatsPanel } from './StatsPanel.tsx';

/** The controls hide this long after the last movement, while a picture plays. */
const idleMs = 3000;

const volumeStep = 0.05;

const initialView: PlayerView = {
  transport: 'moq',
  status: { kind: 'connecting' },
  stats: noStats,
  notice: undefined,
  paused: false,
  volume: 1,
  muted: false,
  soundBlocked: false,
  mode: 'low',
};

/** A room's picture with its controls. */
export function RoomPlayer(props: {
  room: string;
  transport?: Transport | undefined;
  measure?: boolean;
  startWorker?: () => Worker;
}): JSX.Element {
  const [view, setView] = createSignal<PlayerView>(initialView);
  const [showStats, setShowStats] = createSignal(false);
  const [fullscreen, setFullscreen] = createSignal(false);
  const [idle, setIdle] = createSignal(false);
  const [said, setSaid] = createSignal('');
  let frame!: HTMLElement;
  let stage!: HTMLDivElement;
  let player: Player | undefined;
  let idleTimer: ReturnType<typeof setTimeout> | undefined;

  const stir = (): void => {
    setIdle(false);
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => setIdle(true), idleMs);
  };

  onMount(() => {
    const { room, transport, startWorker } = props;
    const created = new Player({
      room,
      transport,
      stage,
      onChange: setView,
      ...(startWorker === undefined ? {} : { startWorker }),
    });
    player = created;
    setView(created.view);
    if (props.measure === true) created.measure();
    const uninstall = installDiagnostics(created);
    const followFullscreen = (): void => void setFullscreen(document.fullscreenElement === frame);
    document.addEventListener('fullscreenchange', followFullscreen);
    document.addEventListener('keydown', onKey);
    stir();
    onCleanup(() => {
      document.removeEventListener('fullscreenchange', followFullscreen);
      document.removeEventListener('keydown', onKey);
      clearTimeout(idleTimer);
      uninstall();
      created.close();
    });
  });

  const togglePaused = (): void => player?.setPaused(!view().paused);
  const unblock = (): void => {
    void player?.unblock();
    player?.setVolume(view().volume || 1, false);
  };
  const toggleMuted = (): void => {
    if (view().soundBlocked) unblock();
    else player?.setVolume(view().volume || 0.5, !view().muted);
  };
  const changeVolume = (by: number): void => {
    const volume = Math.min(1, Math.max(0, view().volume + by));
    player?.setVolume(volume, volume === 0);
    setSaid(`Volume ${Math.round(volume * 100)} percent`);
  };
  const toggleFullscreen = (): void => {
    // An iPhone has full screen for videos only, and refuses the frame.
    if (document.fullscreenElement !== null) void document.exitFullscreen();
    else void frame.requestFullscreen?.().catch(() => undefined);
  };

  function onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof HTMLElement ? event.target : undefined;
    // Keys belong to what is being typed in, and a button or slider has its own use for some.
    if (target?.closest('input, select, textarea, [contenteditable]') != null) return;
    const pressed = event.key.toLowerCase();
    const onButton = target?.closest('button, a') != null;
    if (pressed === 'k' || (pressed === ' ' && !onButton)) togglePaused();
    else if (pressed === 'm') toggleMuted();
    else if (pressed === 'f') toggleFullscreen();
    else if (pressed === 's') setShowStats((shown) => !shown);
    else if (pressed === 'arrowup' && target === frame) changeVolume(volumeStep);
    else if (pressed === 'arrowdown' && target === frame) changeVolume(-volumeStep);
    else return;
    event.preventDefault();
    stir();
  }

  const status = (): PlayerView['status']['kind'] => view().status.kind;
  const silent = (): boolean => view().muted || view().soundBlocked || view().volume === 0;

  return (
    <section
      class="player"
      classList={{ 'player-idle': idle() && status() === 'live' && !view().paused && !showStats() }}
      aria-label="Player"
      tabindex="0"
      ref={frame}
      onPointerMove={stir}
      onFocusIn={stir}
    >
      <div class="player-stage" ref={stage} onDblClick={toggleFullscreen} />
      <div class="player-top">
        <StatusBadge view={view()} />
        <Show when={view().stats.height > 0}>
          <span class="badge">
            {view().stats.height}p {view().stats.videoCodec === undefined ? '' : codecName(view().stats.videoCodec ?? '')}
          </span>
        </Show>
        <Show when={status() === 'live' && !view().paused && view().stats.latencyMs}>
          {(latency) => (
            <span class="badge" title="Age of the picture on show">
              {Math.round(latency())} ms
            </span>
          )}
        </Show>
      </div>
      <Overlay view={view()} room={props.room} onPlay={togglePaused} />
      <Show when={view().soundBlocked && status() === 'live'}>
        <button type="button" class="button button-primary player-unmute" onClick={unblock}>
          <Icon name="muted" /> Unmute
        </button>
      </Show>
      <Show when={showStats()}>
        <StatsPanel view={view()} onClose={() => setShowStats(false)} />
      </Show>
      <Show when={view().notice}>{(notice) => <p class="player-notice">{notice()}</p>}</Show>
      <div class="player-controls">
        <button type="button" class="player-button" onClick={togglePaused} aria-label={view().paused ? 'Play (k)' : 'Pause (k)'}>
          <Icon name={view().paused ? 'play' : 'pause'} />
        </button>
        <button type="button" class="player-button" onClick={toggleMuted} aria-label={silent() ? 'Unmute (m)' : 'Mute (m)'}>
          <Icon name={silent() ? 'muted' : 'volume'} />
        </button>
        <input
          class="player-volume"
          type="range"
          min="0"
          max="1"
          step={volumeStep}
          value={view().muted ? 0 : view().volume}
          aria-label="Volume"
          onInput={(event) => {
            const volume = event.currentTarget.valueAsNumber;
            player?.setVolume(volume, volume === 0);
          }}
        />
        <span class="player-gap" />
        <span class="player-mode">
          <span aria-hidden="true">Delay</span>
          <select
            aria-label="Delay"
            value={view().mode}
            onChange={(event) => player?.setMode(event.currentTarget.value as LatencyMode)}
          >
            <option value="low">Lowest</option>
            <option value="balanced">Balanced</option>
            <option value="smooth">Smoothest</option>
          </select>
        </span>
        <button
          type="button"
          class="player-button"
          aria-label="Statistics (s)"
          aria-pressed={showStats()}
          onClick={() => setShowStats((shown) => !shown)}
        >
          <Icon name="stats" />
        </button>
        <button
          type="button"
          class="player-button"
          onClick={toggleFullscreen}
          aria-label={fullscreen() ? 'Leave full screen (f)' : 'Full screen (f)'}
        >
          <Icon name={fullscreen() ? 'shrink' : 'expand'} />
        </button>
      </div>
      <p class="visually-hidden" role="status">
        {said()}
      </p>
    </section>
  );
}

/** Whether the room is live, in a word. */
function StatusBadge(props: { view: PlayerView }): JSX.Element {
  return (
    <Switch fallback={<span class="badge">Offline</span>}>
      <Match when={props.view.paused}>
        <span class="badge">Paused</span>
      </Match>
      <Match when={props.view.status.kind === 'live'}>
        <span class="badge badge-live">Live</span>
      </Match>
      <Match when={props.view.status.kind === 'reconnecting'}>
        <span class="badge badge-warn">Reconnecting</span>
      </Match>
      <Match when={props.view.status.kind === 'connecting'}>
        <span class="badge">Connecting</span>
      </Match>
    </Switch>
  );
}

/** What lies over the picture, or in its place, when there is no live one. */
function Overlay(props: { view: PlayerView; room: string; onPlay: () => void }): JSX.Element {
  const kind = (): PlayerView['status']['kind'] => props.view.status.kind;
  const reason = (): string => {
    const status = props.view.status;
    return status.kind === 'failed' ? status.reason : '';
  };
  return (
    <Switch>
      <Match when={props.view.paused}>
        <button type="button" class="player-overlay player-overlay-button" onClick={() => props.onPlay()} aria-label="Play">
          <span class="player-big">
            <Icon name="play" />
          </span>
        </button>
      </Match>
      <Match when={kind() === 'connecting'}>
        <div class="player-overlay" role="status">
          <span class="player-spinner" />
          <p>Connecting…</p>
        </div>
      </Match>
      <Match when={kind() === 'reconnecting'}>
        <div class="player-overlay player-overlay-light" role="status">
          <span class="player-spinner" />
          <p>Reconnecting…</p>
        </div>
      </Match>
      <Match when={kind() === 'offline'}>
        <div class="player-overlay" role="status">
          <p class="player-title">Nobody is live here</p>
          <p class="player-soft">The picture starts by itself when somebody is.</p>
        </div>
      </Match>
      <Match when={kind() === 'notFound'}>
        <div class="player-overlay" role="alert">
          <p class="player-title">There is no room “{props.room}”</p>
          <p class="player-soft">
            The <a href="/">list of rooms</a> shows what is live.
          </p>
        </div>
      </Match>
      <Match when={kind() === 'denied'}>
        <div class="player-overlay" role="alert">
          <p class="player-title">This room is not open to everybody</p>
          <p class="player-soft">Ask its host for an invitation.</p>
        </div>
      </Match>
      <Match when={kind() === 'failed'}>
        <div class="player-overlay" role="alert">
          <p class="player-title">This does not play here</p>
          <p class="player-soft">{reason()}. It is tried again in a moment.</p>
        </div>
      </Match>
    </Switch>
  );
}
