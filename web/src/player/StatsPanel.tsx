import { createMemo, createSignal, onCleanup, type JSX } from 'solid-js';
import { Facts } from '../ui/Facts.tsx';
import { codecName, milliseconds } from '../ui/format.ts';
import type { PlayerView } from './player.ts';

/** The bit rate is taken over this time. */
const rateMs = 2000;

/** The numbers of a player, for whoever wants to know. */
export function StatsPanel(props: { view: PlayerView; onClose: () => void }): JSX.Element {
  const [rate, setRate] = createSignal(0);
  let before = { bytes: props.view.stats.bytesReceived, atMs: performance.now() };
  const timer = setInterval(() => {
    const now = performance.now();
    const bytes = props.view.stats.bytesReceived;
    setRate(Math.max(0, ((bytes - before.bytes) * 8) / (now - before.atMs)));
    before = { bytes, atMs: now };
  }, rateMs);
  onCleanup(() => clearInterval(timer));

  const rows = createMemo((): readonly (readonly [string, string])[] => {
    const { stats, transport } = props.view;
    const codecs = [stats.videoCodec, stats.audioCodec].filter((codec) => codec !== undefined);
    return [
      ['Transport', transport === 'moq' ? 'MoQ over WebTransport' : 'LL-HLS'],
      ['Latency', stats.latencyMs === null ? 'unknown' : milliseconds(stats.latencyMs)],
      ['Picture', stats.height === 0 ? 'none' : `${stats.width} × ${stats.height}, ${stats.fps.toFixed(1)} fps`],
      ['Codecs', codecs.length === 0 ? 'none' : codecs.map((codec) => `${codecName(codec)} (${codec})`).join(', ')],
      ['Bit rate', `${(rate() / 1000).toFixed(2)} Mbit/s`],
      ['Buffered', `picture ${milliseconds(stats.videoBufferMs)}, sound ${milliseconds(stats.audioBufferMs)}`],
      ['Jitter', milliseconds(stats.jitterMs)],
      ['Sound against picture', stats.audioLagMs === null ? 'no sound' : milliseconds(stats.audioLagMs)],
      ['Painted', `${stats.paintedFrames}, ${stats.droppedFrames} dropped`],
      ['Stalls', `${stats.stalls}, ${stats.reconnects} reconnects`],
    ];
  });

  return (
    <section class="player-stats" aria-label="Statistics">
      <Facts rows={rows()} />
      <button type="button" class="button" onClick={() => props.onClose()}>
        Close
      </button>
    </section>
  );
}
