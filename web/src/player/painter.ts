import type { GlassToGlass } from './messages.ts';
import { CounterMeter } from './meter.ts';
import type { Painter } from './video_pipeline.ts';

/** Paint times kept for the frame rate. */
const rateWindowMs = 2000;

/**
 * Paints pictures on a canvas with its 2D context. drawImage takes a VideoFrame as it is, in whatever format and memory
 * the decoder left it, and converts its colours as the browser does for video; WebGL would have us do that, and a bitmap
 * renderer would have each picture wait for createImageBitmap.
 */
export class CanvasPainter implements Painter {
  width = 0;
  height = 0;
  /** Wall-clock age of the picture painted last, in milliseconds; null when its timestamp is no wall clock. */
  latencyMs: number | null = null;
  private readonly context: OffscreenCanvasRenderingContext2D;
  private readonly paintTimes: number[] = [];
  private meter: CounterMeter | undefined;

  constructor(private readonly canvas: OffscreenCanvas) {
    const context = canvas.getContext('2d', { alpha: false });
    if (context === null) throw new Error('the canvas has no 2D context');
    this.context = context;
  }

  paint(frame: VideoFrame, wallClock: boolean): void {
    if (frame.displayWidth !== this.width || frame.displayHeight !== this.height) {
      this.width = this.canvas.width = frame.displayWidth;
      this.height = this.canvas.height = frame.displayHeight;
    }
    this.context.drawImage(frame, 0, 0, this.width, this.height);
    const now = Date.now();
    this.latencyMs = wallClock ? now - frame.timestamp / 1000 : null;
    this.paintTimes.push(now);
    while ((this.paintTimes[0] ?? now) < now - rateWindowMs) this.paintTimes.shift();
    this.meter?.sample(this.canvas, this.width, now);
  }

  /** Pictures painted per second over the last two seconds. */
  fps(nowMs: number): number {
    while ((this.paintTimes[0] ?? nowMs) < nowMs - rateWindowMs) this.paintTimes.shift();
    return (this.paintTimes.length * 1000) / rateWindowMs;
  }

  /** Reads the counter of each picture from now on. Reading pixels back is slow, so it is not done unasked. */
  measure(): void {
    this.meter ??= new CounterMeter();
  }

  /** Percentiles of the time from drawing to painting. */
  get glassToGlass(): GlassToGlass {
    return this.meter?.percentiles ?? { p50: NaN, p90: NaN, n: 0 };
  }
}
