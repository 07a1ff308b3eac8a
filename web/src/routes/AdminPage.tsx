import { createSignal, For, onCleanup, Show, type JSX } from 'solid-js';
import type { Room } from '../api/rooms.ts';
import { Facts } from '../ui/Facts.tsx';
import { duration } from '../ui/format.ts';
import { loadDashboard, type Dashboard } from './dashboard.ts';
import './admin.css';

const EVERY_MS = 3000;

/** The operator's dashboard: what this node serves, and which rooms are live. */
export default function AdminPage(): JSX.Element {
  const [dashboard, setDashboard] = createSignal<Dashboard>();
  const [failure, setFailure] = createSignal<string>();
  const [now, setNow] = createSignal(Date.now());

  document.title = 'Dashboard – freshet';
  const stop = new AbortController();
  const refresh = async (): Promise<void> => {
    try {
      setDashboard(await loadDashboard(stop.signal));
      setFailure(undefined);
    } catch (error) {
      if (!stop.signal.aborted) setFailure(error instanceof Error ? error.message : String(error));
    }
    setNow(Date.now());
  };
  void refresh();
  const timer = setInterval(() => void refresh(), EVERY_MS);
  onCleanup(() => {
    document.title = 'freshet';
    clearInterval(timer);
    stop.abort();
  });

  return (
    <div class="admin">
      <h1>Dashboard</h1>
      <Show when={failure()}>
        {(reason) => (
          <p class="admin-failure" role="alert">
            {reason()} What follows may be out of date.
          </p>
        )}
      </Show>
      <Show when={dashboard()} fallback={<p class="admin-note">Asking the node…</p>}>
        {(known) => (
          <>
            <section aria-labelledby="rooms">
              <h2 id="rooms">
                Rooms <span class="admin-count">{known().rooms.filter((room) => room.live).length} live</span>
              </h2>
              <Show when={known().rooms.length > 0} fallback={<p class="admin-note">There are no open rooms.</p>}>
                <div class="admin-table" tabindex="0" role="region" aria-label="Table of rooms">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Room</th>
                        <th scope="col">State</th>
                        <th scope="col">Viewers</th>
                        <th scope="col">Codecs</th>
                        <th scope="col">Open</th>
                      </tr>
                    </thead>
                    <tbody>
                      <For each={known().rooms}>
                        {(room) => (
                          <tr>
                            <th scope="row">
                              {room.title}
                              <Show when={room.title !== room.room}>
                                <small> {room.room}</small>
                              </Show>
                            </th>
                            <td>
                              <span class="admin-state" classList={{ 'is-live': room.live }}>
                                {liveFor(room, now())}
                              </span>
                            </td>
                            <td>{room.live ? (room.viewers ?? '–') : '–'}</td>
                            <td>{room.codecs.join(', ') || '–'}</td>
                            <td>
                              <a href={`/r/${encodeURIComponent(room.room)}`}>Watch</a>{' '}
                              <a href={`/studio/${encodeURIComponent(room.room)}`}>Studio</a>
                            </td>
                          </tr>
                        )}
                      </For>
                    </tbody>
                  </table>
                </div>
              </Show>
            </section>
            <section aria-labelledby="node">
              <h2 id="node">Node</h2>
              <Facts class="admin-facts" rows={known().facts} />
            </section>
          </>
        )}
      </Show>
    </div>
  );
}

/** The state of a room in words. */
function liveFor({ live, startedAt }: Room, now: number): string {
  if (!live) return 'Offline';
  return startedAt === undefined ? 'Live' : `Live for ${duration(now - startedAt.getTime())}`;
}
