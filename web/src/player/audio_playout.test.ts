import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AudioPlayout } from './audio_playout.ts';

const epoch = 1_764_000_000_000;
const rate = 48_000;
const quantum = 128;
const toneHz = 1000;

/** A bench that plays a tone through a playout in virtual time, rendering in bursts as a sound card does. */
class Bench {
  nowMs = epoch;
  readonly heard: number[] = [];
  private pushedMs: number;
  private renderedFrames = 0;

  constructor(
    readonly playout: AudioPlayout,
    private readonly options: { sampleRate?: number; transitMs?: number; burst?: number; outputRate?: number } = {},
  ) {
    this.pushedMs = epoch;
  }

  /** Runs until the given time, pushing 20 ms blocks as they "arrive". */
  runUntil(endMs: number, arrives: (mediaMs: number) => boolean = () => true): void {
    const sampleRate = this.options.sampleRate ?? rate;
    const outputRate = this.options.outputRate ?? rate;
    const burst = this.options.burst ?? 4;
    const transit = this.options.transitMs ?? 10;
    while (this.nowMs < endMs) {
      while (this.pushedMs + 20 + transit <= this.nowMs) {
        if (arrives(this.pushedMs)) this.playout.push(tone(this.pushedMs, sampleRate));
        this.pushedMs += 20;
      }
      for (let i = 0; i < burst; i++) {
        const out = [new Float32Array(quantum), new Float32Array(quantum)];
        this.playout.render(out, this.nowMs);
        this.heard.push(...(out[0] ?? []));
      }
      this.renderedFrames += burst * quantum;
      this.nowMs = epoch + (this.renderedFrames * 1000) / outputRate;
    }
  }

  last(seconds: number): number[] {
    return this.heard.slice(-seconds * rate);
  }
}

function tone(mediaMs: number, sampleRate: number): { mediaMs: number; sampleRate: number; planes: Float32Array[] } {
  const plane = new Float32Array((sampleRate * 20) / 1000);
  for (let i = 0; i < plane.length; i++) {
    const seconds = (mediaMs - epoch) / 1000 + i / sampleRate;
    plane[i] = 0.5 * Math.sin(2 * Math.PI * toneHz * seconds);
  }
  return { mediaMs, sampleRate, planes: [plane, plane] };
}

function level(samples: readonly number[]): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

function crossings(samples: readonly number[]): number {
  let count = 0;
  for (let i = 1; i < samples.length; i++) if ((samples[i - 1] ?? 0) < 0 && (samples[i] ?? 0) >= 0) count++;
  return count;
}

/** The largest step between neighbours; a 1 kHz tone of 0.5 at 48 kHz moves by 0.066 at most. */
function roughness(samples: readonly number[]): number {
  let most = 0;
  for (let i = 1; i < samples.length; i++) most = Math.max(most, Math.abs((samples[i] ?? 0) - (samples[i - 1] ?? 0)));
  return most;
}

test('sound is heard at the offset, unchanged', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(100, 0);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 3000);
  const report = playout.report(bench.nowMs);
  assert.ok(report.playing);
  assert.ok(Math.abs(report.lagMs) < 12, `${report.lagMs}`);
  assert.equal(report.starvations, 0);
  assert.ok(Math.abs(level(bench.last(1)) - 0.5 / Math.SQRT2) < 0.005);
  assert.ok(roughness(bench.heard) < 0.08);
  assert.equal(level(bench.heard.slice(0, rate * 0.09)), 0, 'silence before it is due');
});

test('without an offset there is silence', () => {
  const playout = new AudioPlayout(rate);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 500);
  assert.equal(level(bench.heard), 0);
  assert.equal(playout.report(bench.nowMs).playing, false);
});

test('a sound card that runs fast or slow is compensated', () => {
  for (const outputRate of [48_000 * 1.001, 48_000 * 0.999]) {
    const playout = new AudioPlayout(rate);
    playout.setOffset(120, 0);
    const bench = new Bench(playout, { outputRate });
    bench.runUntil(epoch + 60_000);
    const report = playout.report(bench.nowMs);
    assert.equal(report.starvations, 0);
    assert.ok(Math.abs(report.lagMs) < 15, `${report.lagMs}`);
    assert.ok(roughness(bench.last(30)) < 0.08);
  }
});

test('a changed offset is reached without a click, by playing a little slower', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(100, 0);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 2000);
  playout.setOffset(200, 0);
  bench.runUntil(epoch + 20_000);
  const report = playout.report(bench.nowMs);
  assert.ok(Math.abs(report.lagMs) < 12, `${report.lagMs}`);
  assert.ok(roughness(bench.heard.slice(rate)) < 0.08);
  const tones = crossings(bench.heard.slice(rate * 3, rate * 4));
  assert.ok(tones >= 983 && tones < 1000, `${tones}`);
});

test('a lag too large to make up is jumped over', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(1000, 0);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 3000);
  playout.setOffset(100, 0);
  bench.runUntil(epoch + 4500);
  const report = playout.report(bench.nowMs);
  assert.ok(Math.abs(report.lagMs) < 30, `${report.lagMs}`);
  assert.ok(report.bufferedMs < 150, `${report.bufferedMs}`);
  assert.equal(report.starvations, 0);
});

test('sound that runs dry fades out and comes back in time', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(100, 0);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 4500, (mediaMs) => mediaMs < epoch + 2000 || mediaMs >= epoch + 3000);
  const report = playout.report(bench.nowMs);
  assert.equal(report.starvations, 1);
  assert.ok(report.playing);
  assert.ok(Math.abs(report.lagMs) < 12, `${report.lagMs}`);
  assert.ok(level(bench.heard.slice(rate * 2.5, rate * 2.9)) < 0.001);
  assert.ok(level(bench.last(0.5)) > 0.34);
  assert.ok(roughness(bench.heard) < 0.08, 'no click at either edge');
});

test('a lost packet is silence of its own length and moves nothing', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(150, 0);
  const bench = new Bench(playout);
  bench.runUntil(epoch + 3000, (mediaMs) => mediaMs !== epoch + 1000);
  const report = playout.report(bench.nowMs);
  assert.equal(report.starvations, 0);
  assert.ok(Math.abs(report.lagMs) < 12, `${report.lagMs}`);
});

test('sound at another rate is resampled to the right pitch and level', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(100, 0);
  const bench = new Bench(playout, { sampleRate: 44_100 });
  bench.runUntil(epoch + 3000);
  const tones = crossings(bench.last(1));
  assert.ok(Math.abs(tones - toneHz) <= 15, `${tones}`);
  assert.ok(Math.abs(level(bench.last(1)) - 0.5 / Math.SQRT2) < 0.01);
});

test('timestamps that wander by a few milliseconds are smoothed over', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(120, 0);
  let frames = 0;
  const heard: number[] = [];
  for (let block = 0; block < 200; block++) {
    const exact = tone(epoch + block * 20, rate);
    playout.push({ ...exact, mediaMs: exact.mediaMs + (block % 2 === 0 ? 6 : -6) });
    while (frames < (block * 20 * rate) / 1000) {
      const out = [new Float32Array(quantum)];
      playout.render(out, epoch + 40 + (frames * 1000) / rate);
      heard.push(...(out[0] ?? []));
      frames += quantum;
    }
  }
  assert.ok(roughness(heard) < 0.09, `${roughness(heard)}`);
  assert.equal(playout.report(epoch).starvations, 0);
});

test('mono is heard on both sides', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(0, 0);
  playout.push({ mediaMs: epoch, sampleRate: rate, planes: [new Float32Array(4800).fill(0.25)] });
  const out = [new Float32Array(quantum), new Float32Array(quantum)];
  for (let i = 0; i < 4; i++) playout.render(out, epoch + (i * quantum * 1000) / rate);
  assert.deepEqual(out[0], out[1]);
  assert.equal(out[0]?.[quantum - 1], 0.25);
});

test('what is never played does not pile up', () => {
  const playout = new AudioPlayout(rate);
  for (let block = 0; block < 3000; block++) playout.push(tone(epoch + block * 20, rate));
  assert.ok(playout.report(epoch).bufferedMs <= 6000);
});

test('a step back in time starts over', () => {
  const playout = new AudioPlayout(rate);
  playout.setOffset(0, 0);
  for (let block = 0; block < 20; block++) playout.push(tone(epoch + block * 20, rate));
  playout.push(tone(epoch - 60_000, rate));
  assert.ok(Math.abs(playout.report(epoch).bufferedMs - 20) < 0.1);
});
