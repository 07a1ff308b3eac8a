import { useParams, useSearchParams } from '@solidjs/router';
import { createEffect, createResource, onCleanup, Show, type JSX } from 'solid-js';
import { fetchRooms } from '../api/rooms.ts';
import { duration, viewerCount } from '../ui/format.ts';
import { Icon } from '../ui/Icon.tsx';
import './player.css';
import { RoomPlayer } from './RoomPlayer.tsx';
import type { Transport } from './engine.ts';

/** The room's title and its viewers are asked for this often. */
const pollMs = 10_000;

/** The page on which a viewer watches a room. */
export default function PlayerPage(): JSX.Element {
  const params = useParams<{ room: string }>();
  const [search] = useSearchParams<{ transport?: string; measure?: string }>();
  const [rooms, { refetch }] = createResource(() => fetchRooms('live').catch(() => undefined));
  const poll = setInterval(() => void refetch(), pollMs);
  onCleanup(() => clearInterval(poll));
  // The latest answer stays on show while the next is on its way.
  const live = () => rooms.latest?.find((entry) => entry.room === params.room);
  const transport = (): Transport | undefined =>
    search.transport === 'moq' || search.transport === 'hls' ? search.transport : undefined;

  createEffect(() => {
    document.title = `${live()?.title ?? params.room} – freshet`;
  });
  onCleanup(() => (document.title = 'freshet'));

  return (
    <article class="room">
      {/* Another room, or another way to play it, is another player. */}
      <Show when={`${params.room} ${transport() ?? ''}`} keyed>
        {(_key) => <RoomPlayer room={params.room} transport={transport()} measure={search.measure !== undefined} />}
      </Show>
      <header class="room-head">
        <div>
          <h1>{live()?.title ?? params.room}</h1>
          <p class="room-meta">
            <Show when={live() !== undefined && live()?.title !== params.room}>
              <span>{params.room}</span>
            </Show>
            <Show when={live()}>
              {(entry) => (
                <>
                  <Show when={entry().viewers}>
                    {(viewers) => (
                      <span class="room-viewers">
                        <Icon name="viewers" />
                        {viewerCount(viewers())}
                      </span>
                    )}
                  </Show>
                  <Show when={entry().startedAt}>{(at) => <span>live for {duration(Date.now() - at().getTime())}</span>}</Show>
                </>
              )}
            </Show>
          </p>
        </div>
        <a class="button" href={`/studio/${encodeURIComponent(params.room)}`}>
          Go live here
        </a>
      </header>
    </article>
  );
}
