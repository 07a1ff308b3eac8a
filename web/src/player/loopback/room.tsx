import { render } from 'solid-js/web';
import '../../ui/style.css';
import '../player.css';
import { RoomPlayer } from '../RoomPlayer.tsx';

/** The player with its controls, around the loopback worker. */
render(
  () => (
    <main class="room">
      <RoomPlayer
        room="loopback"
        transport="moq"
        startWorker={() => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })}
      />
    </main>
  ),
  document.body,
);
