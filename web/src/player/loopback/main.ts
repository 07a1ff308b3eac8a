import { installDiagnostics } from '../diagnostics.ts';
import { Player } from '../player.ts';

/** A bare page around a player whose server and broadcaster live in its own worker. */

const stage = document.createElement('div');
stage.style.width = '640px';
document.body.append(stage);
const player = new Player({
  room: 'loopback',
  transport: 'moq',
  stage,
  startWorker: () => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }),
  onChange: (view) => {
    document.title = view.status.kind;
  },
});
installDiagnostics(player);
