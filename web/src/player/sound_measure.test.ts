import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mixDown } from './audio_pipeline.ts';
import { measureSound } from './sound_measure.ts';

const rate = 48_000;

function tone(hz: number, level: number, length = 9600): Float32Array {
  return Float32Array.from({ length }, (_, i) => level * Math.sin((2 * Math.PI * hz * i) / rate));
}

test('level and frequency of a tone', () => {
  for (const hz of [100, 440, 1000, 5000]) {
    const { level, frequencyHz } = measureSound(tone(hz, 0.5), rate);
    assert.ok(Math.abs(level - 0.5 / Math.SQRT2) < 0.01, `${level}`);
    assert.ok(Math.abs(frequencyHz - hz) < hz * 0.002, `${frequencyHz}`);
  }
});

test('silence has no frequency', () => {
  assert.deepEqual(measureSound(new Float32Array(9600), rate), { level: 0, frequencyHz: 0 });
  assert.equal(measureSound(tone(1000, 0.0005), rate).frequencyHz, 0);
});

test('a little noise does not add crossings', () => {
  const noisy = tone(1000, 0.5).map((sample, i) => sample + (i % 2 === 0 ? 0.02 : -0.02));
  assert.ok(Math.abs(measureSound(noisy, rate).frequencyHz - 1000) < 5);
});

test('six channels become two that cannot clip, with the centre on both sides', () => {
  const full = (value: number): Float32Array => new Float32Array(4).fill(value);
  // Left, right, centre, low frequencies, left and right surround.
  const loud = mixDown([full(1), full(1), full(1), full(1), full(1), full(1)]);
  for (const side of loud) for (const sample of side) assert.ok(Math.abs(sample - 1) < 1e-6);
  const centre = mixDown([full(0), full(0), full(0.5), full(1), full(0), full(0)]);
  assert.deepEqual(centre[0], centre[1]);
  assert.ok((centre[0]?.[0] ?? 0) > 0.1);
  const behind = mixDown([full(0), full(0), full(0), full(0), full(0.5), full(0)]);
  assert.ok((behind[0]?.[0] ?? 0) > 0.1);
  assert.equal(behind[1]?.[0], 0);
});

test('four channels are two in front and two behind', () => {
  const full = (value: number): Float32Array => new Float32Array(2).fill(value);
  const [left, right] = mixDown([full(0), full(0), full(0.5), full(0)]);
  assert.ok((left?.[0] ?? 0) > 0.1);
  assert.equal(right?.[0], 0);
});
