import { drawCounter } from '../player/counter.ts';

/** What a 2D context of a window's or a worker's canvas have in common. */
type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** How long the square beside the clock flashes at each full second, in milliseconds; the test tone beeps for as long. */
export const FLASH_MS = 60;

/** Bars of the pattern: each differs from its neighbours in luma, so that a codec's mistakes show. */
const BARS = ['#c0c0c0', '#c0c000', '#00c0c0', '#00c000', '#c000c0', '#c00000', '#0000c0', '#202020'];

/**
 * Draws the test pattern for a moment: moving bars and a sweeping hand, the clock in figures, a square that flashes with
 * each full second, and the clock's lower 32 bits as blocks that a machine can read back (see player/counter).
 */
export function drawPattern(context: Context, width: number, height: number, nowMs: number, label: string): void {
  const seconds = nowMs / 1000;
  drawBars(context, width, height, seconds);
  drawHand(context, width, height, seconds);
  drawClock(context, width, height, nowMs, label);
  drawCounterPanel(context, width, nowMs);
}

function drawBars(context: Context, width: number, height: number, seconds: number): void {
  const bar = width / BARS.length;
  const shift = (seconds * bar) % width;
  BARS.forEach((color, i) => {
    context.fillStyle = color;
    const x = (i * bar + shift) % width;
    context.fillRect(x, 0, bar + 1, height);
    // The bar that leaves on the right comes in on the left.
    if (x + bar > width) context.fillRect(x - width, 0, bar + 1, height);
  });
}

function drawHand(context: Context, width: number, height: number, seconds: number): void {
  const radius = height * 0.22;
  const x = width * 0.8;
  const y = height * 0.6;
  context.fillStyle = '#10141a';
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = '#39c5cf';
  context.beginPath();
  context.moveTo(x, y);
  // One turn a second, starting at the top.
  const start = -Math.PI / 2;
  context.arc(x, y, radius * 0.92, start, start + (seconds % 1) * 2 * Math.PI);
  context.fill();
}

function drawClock(context: Context, width: number, height: number, nowMs: number, label: string): void {
  const size = height * 0.12;
  const x = width * 0.06;
  const y = height * 0.48;
  const panel = width * 0.54;
  context.fillStyle = '#10141a';
  context.fillRect(x - size * 0.3, y - size * 0.2, panel, size * 2.3);
  context.fillStyle = '#ffffff';
  context.textBaseline = 'top';
  context.font = `600 ${Math.round(size)}px ui-monospace, monospace`;
  context.fillText(new Date(nowMs).toISOString().slice(11, 23), x, y, panel - size * 0.6);
  context.font = `${Math.round(size * 0.5)}px system-ui, sans-serif`;
  context.fillText(label, x, y + size * 1.3, panel - size * 0.6);
  if (nowMs % 1000 < FLASH_MS) {
    context.fillStyle = '#ffffff';
    context.fillRect(x - size * 0.3, y + size * 2.3, panel, size * 0.4);
  }
}

function drawCounterPanel(context: Context, width: number, nowMs: number): void {
  const block = width / 40;
  // A quiet surround keeps the codec from smearing the bars into the blocks.
  context.fillStyle = '#808080';
  context.fillRect(block * 3, 0, block * 34, block * 4);
  drawCounter(context, nowMs % 2 ** 32, width);
}
