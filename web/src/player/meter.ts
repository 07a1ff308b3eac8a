import { ageOfClock, counterBits, counterRegion, readCounter } from './counter.ts';
import type { GlassToGlass } from './messages.ts';

/** Pixels per block when a counter is read: enough to keep clear of a block's edges. */
const pixelsPerBlock = 4;

/** Latencies kept for the percentiles: half a minute of 30 pictures a second. */
const samplesKept = 900;

/**
 * Reads the counter that a test picture carries from what has been painted, and keeps the time from drawing to painting
 * where the counter holds the clock. It draws the counter's part of the picture into a side canvas that lives in main
 * memory, so that the canvas on show stays where the browser paints fastest.
 */
export class CounterMeter {
  private readonly context: OffscreenCanvasRenderingContext2D;
  private readonly samples: number[] = [];
  private count = 0;

  constructor() {
    const side = new OffscreenCanvas(counterBits * pixelsPerBlock, 2 * pixelsPerBlock);
    const context = side.getContext('2d', { willReadFrequently: true, alpha: false });
    if (context === null) throw new Error('the side canvas has no 2D context');
    this.context = context;
  }

  /** The counter in a picture of the given width, or null when it shows none. */
  read(picture: CanvasImageSource, pictureWidth: number): number | null {
    if (pictureWidth === 0) return null;
    const { x, y, width, height } = counterRegion(pictureWidth);
    const side = this.context.canvas;
    this.context.drawImage(picture, x, y, width, height, 0, 0, side.width, side.height);
    return readCounter(this.context.getImageData(0, 0, side.width, side.height));
  }

  /** Reads the counter of a picture painted at nowMs and keeps its age. */
  sample(picture: CanvasImageSource, pictureWidth: number, nowMs: number): void {
    const counter = this.read(picture, pictureWidth);
    const age = counter === null ? undefined : ageOfClock(counter, nowMs);
    if (age !== undefined) this.samples[this.count++ % samplesKept] = age;
  }

  /** The percentiles of what has been sampled; NaN while there is nothing. */
  get percentiles(): GlassToGlass {
    const sorted = [...this.samples].sort((a, b) => a - b);
    const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
    return { p50: at(0.5), p90: at(0.9), n: sorted.length };
  }
}
