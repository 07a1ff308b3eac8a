import { useBeforeLeave, useParams } from '@solidjs/router';
import { createMemo, createSignal, For, onCleanup, onMount, Show, type JSX } from 'solid-js';
import { fetchRoom } from '../api/rooms.ts';
import { canCapture, missingForPublishing, openCapture, type Capture, type SourceKind } from './capture.ts';
import type {
  CodecChoice,
  FromWorker,
  StudioFailure,
  StudioState,
  StudioStats,
  ToWorker,
  VideoSettings,
  WorkerSource,
} from './messages.ts';
import { loadPreferences, loadStreamKey, savePreferences, saveStreamKey } from './studio_store.ts';
import { Facts } from '../ui/Facts.tsx';
import './studio.css';

const SOURCES: readonly { kind: SourceKind; name: string }[] = [
  { kind: 'camera', name: 'Camera and microphone' },
  { kind: 'screen', name: 'Screen and its sound' },
  { kind: 'pattern', name: 'Test pattern' },
];

const CODECS: readonly { value: CodecChoice; name: string }[] = [
  { value: 'auto', name: 'Automatic' },
  { value: 'av1', name: 'AV1' },
  { value: 'hevc', name: 'HEVC' },
  { value: 'h264', name: 'H.264' },
  { value: 'vp9', name: 'VP9' },
  { value: 'vp8', name: 'VP8' },
];

const VIEWERS_EVERY_MS = 5000;
const LEAVE_WARNING = 'You are live. Leaving this page ends the broadcast.';

/** The page from which a streamer goes live in a room. */
export default function StudioPage(): JSX.Element {
  const params = useParams<{ room: string }>();
  document.title = `Studio ${params.room} – freshet`;
  const saved = loadPreferences();
  const [source, setSource] = createSignal<SourceKind>(canCapture() ? saved.source : 'pattern');
  const [codec, setCodec] = createSignal<CodecChoice>(saved.codec);
  const [height, setHeight] = createSignal(saved.height);
  const [framerate, setFramerate] = createSignal(saved.framerate);
  const [kilobits, setKilobits] = createSignal(saved.kilobits);
  const [streamKey, setStreamKey] = createSignal(loadStreamKey(params.room));
  const [state, setState] = createSignal<StudioState>({ kind: 'idle' });
  const [stats, setStats] = createSignal<StudioStats>();
  const [viewers, setViewers] = createSignal<number>();
  const [now, setNow] = createSignal(Date.now());
  const [stopping, setStopping] = createSignal(false);
  const missing = missingForPublishing();

  const running = createMemo(() => state().kind !== 'idle' && state().kind !== 'ended');
  const failure = createMemo((): StudioFailure | undefined => {
    const current = state();
    return current.kind === 'ended' ? current.failure : undefined;
  });

  let stage!: HTMLDivElement;
  let worker: Worker | undefined;
  let capture: Capture | undefined;

  const settings = (): VideoSettings => ({
    codec: codec(),
    width: 2 * Math.round((height() * 16) / 9 / 2),
    height: height(),
    framerate: framerate(),
    bitrate: kilobits() * 1000,
  });

  const start = async (takeover: boolean): Promise<void> => {
    if (running()) return;
    savePreferences({
      source: source(),
      codec: codec(),
      height: height(),
      framerate: framerate(),
      kilobits: kilobits(),
    });
    saveStreamKey(params.room, streamKey());
    setStopping(false);
    setStats(undefined);
    setState({ kind: 'connecting' });
    let input: { source: WorkerSource; transfer: Transferable[] };
    try {
      input = await openSource();
    } catch (error) {
      end({ kind: 'source', message: error instanceof Error ? error.message : String(error) });
      return;
    }
    worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'freshet-studio' });
    worker.onmessage = (event: MessageEvent<FromWorker>) => {
      if (event.data.type === 'stats') setStats(event.data.stats);
      else if (event.data.state.kind === 'ended') end(event.data.state.failure);
      else setState(event.data.state);
    };
    worker.onerror = (event) => end({ kind: 'other', message: event.message || 'The studio could not be started.' });
    const message: ToWorker = {
      type: 'start',
      room: params.room,
      streamKey: streamKey(),
      takeover,
      video: settings(),
      audio: { bitrate: 96_000 },
      source: input.source,
    };
    worker.postMessage(message, input.transfer);
  };

  /** Opens what the streamer chose and shows it. */
  const openSource = async (): Promise<{ source: WorkerSource; transfer: Transferable[] }> => {
    const kind = source();
    if (kind === 'pattern') {
      const element = document.createElement('canvas');
      show(element);
      const canvas = element.transferControlToOffscreen();
      return { source: { kind: 'pattern', canvas }, transfer: [canvas] };
    }
    capture = await openCapture(kind, settings());
    const element = document.createElement('video');
    element.muted = true;
    element.autoplay = true;
    element.playsInline = true;
    element.srcObject = capture.stream;
    show(element);
    const { video, audio } = capture;
    const transfer = [video, audio].filter((stream) => stream !== undefined) as unknown as Transferable[];
    return { source: { kind: 'capture', video, audio }, transfer };
  };

  const show = (element: HTMLElement): void => {
    element.setAttribute('aria-label', 'Preview');
    stage.replaceChildren(element);
  };

  /** Ends the broadcast in order: the worker lets its last frames leave, and says when it is done. */
  const stop = (): void => {
    if (!running()) return;
    setStopping(true);
    if (worker) worker.postMessage({ type: 'stop' } satisfies ToWorker);
    else end(undefined);
  };

  const end = (reason: StudioFailure | undefined): void => {
    worker?.terminate();
    worker = undefined;
    capture?.stop();
    capture = undefined;
    stage.replaceChildren();
    setStopping(false);
    setViewers(undefined);
    setState({ kind: 'ended', failure: reason });
  };

  const warn = (event: BeforeUnloadEvent): void => {
    if (running()) event.preventDefault();
  };
  useBeforeLeave((event) => {
    if (!running() || event.defaultPrevented) return;
    event.preventDefault();
    if (window.confirm(LEAVE_WARNING)) event.retry(true);
  });
  // What the worker has no time for any more is lost with the page: the node sees the session end all the same.
  const leave = (): void => void worker?.postMessage({ type: 'stop' } satisfies ToWorker);
  onMount(() => {
    window.addEventListener('beforeunload', warn);
    window.addEventListener('pagehide', leave);
  });
  const clock = setInterval(() => setNow(Date.now()), 500);
  const count = setInterval(() => {
    if (state().kind !== 'live') return;
    // A room that is not open to all has no public count, and a failed look is made again soon.
    const looked = fetchRoom(params.room).then(
      (room) => room.viewers,
      () => undefined,
    );
    void looked.then((known) => {
      if (state().kind === 'live') setViewers(known);
    });
  }, VIEWERS_EVERY_MS);
  onCleanup(() => {
    document.title = 'freshet';
    window.removeEventListener('beforeunload', warn);
    window.removeEventListener('pagehide', leave);
    clearInterval(clock);
    clearInterval(count);
    worker?.terminate();
    capture?.stop();
  });

  return (
    <div class="studio">
      <section class="studio-stage" aria-label="Preview and state">
        <div class="studio-preview" classList={{ 'is-live': state().kind === 'live' }}>
          <div ref={stage} class="studio-picture" />
          <Show when={!running()}>
            <p class="studio-empty">{missing ?? 'Your picture appears here when you go live.'}</p>
          </Show>
          <StateBadge state={state()} now={now()} stopping={stopping()} />
        </div>
        <Show when={failure()}>
          {(failed) => (
            <div class="studio-failure" role="alert">
              <p>{failed().message}</p>
              <Show when={failed().kind === 'busy'}>
                <button type="button" onClick={() => void start(true)}>
                  Take the room over
                </button>
              </Show>
            </div>
          )}
        </Show>
        <Numbers stats={running() ? stats() : undefined} viewers={viewers()} />
      </section>

      <form
        class="studio-controls"
        onSubmit={(event) => {
          event.preventDefault();
          if (running()) stop();
          else void start(false);
        }}
      >
        <h1>
          Studio <span class="studio-room">{params.room}</span>
        </h1>

        <label class="studio-field">
          <span>Stream key</span>
          <input
            type="password"
            name="stream-key"
            autocomplete="off"
            required
            value={streamKey()}
            disabled={running()}
            onInput={(event) => setStreamKey(event.currentTarget.value.trim())}
          />
        </label>

        <label class="studio-field">
          <span>Source</span>
          <select
            name="source"
            disabled={running()}
            onChange={(event) => setSource(event.currentTarget.value as SourceKind)}
          >
            <For each={SOURCES}>
              {(option) => (
                <option
                  value={option.kind}
                  selected={source() === option.kind}
                  disabled={option.kind !== 'pattern' && !canCapture()}
                >
                  {option.name}
                </option>
              )}
            </For>
          </select>
        </label>
        <Show when={!missing && !canCapture()}>
          <p class="studio-hint">This browser cannot hand its camera to an encoder. Use Chrome or Edge, or OBS.</p>
        </Show>

        <fieldset class="studio-settings" disabled={running()}>
          <legend>Picture</legend>
          <label class="studio-field">
            <span>Codec</span>
            <select name="codec" onChange={(event) => setCodec(event.currentTarget.value as CodecChoice)}>
              <For each={CODECS}>
                {(option) => (
                  <option value={option.value} selected={codec() === option.value}>
                    {option.name}
                  </option>
                )}
              </For>
            </select>
          </label>
          <NumberChoice name="height" label="Size" value={height()} options={[360, 480, 720, 1080]} unit="p" onChange={setHeight} />
          <NumberChoice
            name="framerate"
            label="Frames"
            value={framerate()}
            options={[15, 30, 60]}
            unit="/s"
            onChange={setFramerate}
          />
          <label class="studio-field">
            <span>Bitrate (kbit/s)</span>
            <input
              type="number"
              name="bitrate"
              min="100"
              max="20000"
              step="50"
              value={kilobits()}
              onChange={(event) => setKilobits(event.currentTarget.valueAsNumber)}
            />
          </label>
        </fieldset>

        <button
          type="submit"
          class="studio-go"
          classList={{ 'is-stop': running() }}
          disabled={missing !== undefined || stopping()}
        >
          {stopping() ? 'Ending…' : running() ? 'End broadcast' : 'Go live'}
        </button>
        <p class="studio-hint">
          Viewers watch at{' '}
          <a href={`/r/${encodeURIComponent(params.room)}`} target="_blank" rel="noopener">
            /r/{params.room}
          </a>
          .
        </p>
      </form>
    </div>
  );
}

function StateBadge(props: { state: StudioState; now: number; stopping: boolean }): JSX.Element {
  const text = (): string => {
    const { state, now } = props;
    if (props.stopping) return 'Ending';
    switch (state.kind) {
      case 'idle':
        return 'Offline';
      case 'ended':
        return state.failure ? 'Failed' : 'Ended';
      case 'connecting':
        return 'Connecting';
      case 'live':
        return `Live ${duration(now - state.since)}`;
      case 'reconnecting':
        return `Connection lost, trying again in ${Math.max(0, Math.ceil((state.retryAt - now) / 1000))} s`;
    }
  };
  return (
    <>
      <p class="studio-badge" data-state={props.state.kind}>
        {text()}
      </p>
      {/* The badge counts; what is read aloud changes only with the state. */}
      <p class="studio-aloud" role="status">
        {props.state.kind === 'reconnecting' ? `Connection lost: ${props.state.reason}` : props.state.kind}
      </p>
    </>
  );
}

function Numbers(props: { stats: StudioStats | undefined; viewers: number | undefined }): JSX.Element {
  const rows = (): readonly (readonly [string, string])[] => {
    const { stats } = props;
    if (!stats) return [];
    return [
      ...(props.viewers === undefined ? [] : ([['Viewers', String(props.viewers)]] as const)),
      ['Sending', `${(stats.bitrate / 1000).toFixed(0)} kbit/s`],
      ['Encoder', `${stats.framesPerSecond.toFixed(0)} frames/s`],
      ['Picture', stats.width > 0 ? `${stats.width}×${stats.height}` : '–'],
      ['Codec', stats.codec || '–'],
      ['Target', `${(stats.targetBitrate / 1000).toFixed(0)} kbit/s`],
      ['Waiting', `${stats.queueMs.toFixed(0)} ms`],
      ['Dropped', `${stats.framesDropped} frames, ${stats.groupsDropped} groups`],
    ];
  };
  return <Facts class="studio-numbers" label="Figures" rows={rows()} />;
}

function NumberChoice(props: {
  name: string;
  label: string;
  value: number;
  options: readonly number[];
  unit: string;
  onChange: (value: number) => void;
}): JSX.Element {
  return (
    <label class="studio-field">
      <span>{props.label}</span>
      <select name={props.name} onChange={(event) => props.onChange(Number(event.currentTarget.value))}>
        <For each={props.options}>
          {(option) => (
            <option value={option} selected={props.value === option}>
              {option}
              {props.unit}
            </option>
          )}
        </For>
      </select>
    </label>
  );
}

/** Hours, minutes and seconds, for example 1:02:03. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
