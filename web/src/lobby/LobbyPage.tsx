import { createSignal, For, onCleanup, onMount, Show, type JSX } from 'solid-js';
import { fetchRooms, type Room } from '../api/rooms.ts';
import { codecName, duration, viewerCount } from '../ui/format.ts';
import { Icon } from '../ui/Icon.tsx';
import './lobby.css';
import { StartGuide } from './StartGuide.tsx';

/** The list is asked for this often while it is looked at. */
const pollMs = 3000;

/** The list of rooms that are live. */
export default function LobbyPage(): JSX.Element {
  const [rooms, setRooms] = createSignal<readonly Room[] | undefined>();
  const [failed, setFailed] = createSignal(false);
  const ended = new AbortController();

  const refresh = async (): Promise<void> => {
    try {
      setRooms(await fetchRooms('live', ended.signal));
      setFailed(false);
    } catch {
      // What was live a moment ago stays on show; the next answer corrects it.
      if (!ended.signal.aborted) setFailed(true);
    }
  };

  onMount(() => {
    document.title = 'freshet – live rooms';
    void refresh();
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void refresh();
    }, pollMs);
    onCleanup(() => {
      clearInterval(timer);
      ended.abort();
    });
  });

  return (
    <div class="lobby">
      <header class="lobby-head">
        <h1>Live now</h1>
        <p role="status">
          <Show when={!failed()} fallback="The server cannot be reached. Trying again…">
            <Show when={rooms()} fallback="Looking for rooms…">
              {(list) => (list().length === 1 ? '1 room' : `${list().length} rooms`)}
            </Show>
          </Show>
        </p>
      </header>
      <Show when={(rooms()?.length ?? 0) > 0}>
        <ul class="lobby-rooms">
          <For each={rooms()}>{(room) => <RoomCard room={room} />}</For>
        </ul>
      </Show>
      <Show when={rooms()?.length === 0}>
        <p class="lobby-empty">Nobody is live at the moment. It takes one line to change that.</p>
      </Show>
      <Show when={rooms()}>
        <StartGuide room="demo" />
      </Show>
    </div>
  );
}

function RoomCard(props: { room: Room }): JSX.Element {
  return (
    <li class="card lobby-room">
      <a href={`/r/${encodeURIComponent(props.room.room)}`}>
        <span class="lobby-still" aria-hidden="true">
          <Icon name="play" />
        </span>
        <span class="lobby-room-text">
          <span class="lobby-room-state">
            <span class="badge badge-live">Live</span>
            <Show when={props.room.startedAt}>
              {(at) => <span class="lobby-soft">for {duration(Date.now() - at().getTime())}</span>}
            </Show>
          </span>
          <strong>{props.room.title}</strong>
          <span class="lobby-soft">
            {[
              props.room.room,
              ...(props.room.viewers === undefined ? [] : [viewerCount(props.room.viewers)]),
              ...props.room.codecs.map(codecName),
            ].join(' · ')}
          </span>
        </span>
      </a>
    </li>
  );
}
