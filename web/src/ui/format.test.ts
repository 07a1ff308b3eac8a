import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecName, duration, milliseconds, viewerCount } from './format.ts';

test('codecs have their common names, unknown ones keep theirs', () => {
  const names = ['avc1.64001f', 'hvc1.1.6.L93.B0', 'av01.0.04M.08', 'vp09.00.10.08', 'vp8', 'opus', 'mp4a.40.2', 'xyz.1'];
  assert.deepEqual(names.map(codecName), ['H.264', 'H.265', 'AV1', 'VP9', 'VP8', 'Opus', 'AAC', 'xyz.1']);
});

test('durations are told in their two largest units', () => {
  assert.equal(duration(59_000), 'less than a minute');
  assert.equal(duration(61_000), '1 min');
  assert.equal(duration(3_725_000), '1 h 2 min');
  assert.equal(duration(-5), 'less than a minute');
});

test('counts and latencies read well', () => {
  assert.equal(viewerCount(0), '0 viewers');
  assert.equal(viewerCount(1), '1 viewer');
  assert.equal(viewerCount(12_345), '12,345 viewers');
  assert.equal(milliseconds(123.4), '123 ms');
  assert.equal(milliseconds(12_345), '12.3 s');
});
