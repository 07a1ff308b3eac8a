import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocProperty, readLoc, writeLoc } from './loc.ts';

test('without a timescale the timestamp is wall-clock microseconds', () => {
  // LOC-04, Timestamp: "If no timescale property is present, the timestamp is interpreted as wall-clock time in
  // microseconds since the Unix epoch."
  const info = readLoc({ properties: [{ type: LocProperty.Timestamp, value: 1_764_000_000_000_123 }] });
  assert.deepEqual(info, { timestampUs: 1_764_000_000_000_123, wallClock: true, config: undefined });
});

test('a timescale of the Track holds for its Objects, and one on the Object overrules it', () => {
  const track = [{ type: LocProperty.Timescale, value: 48_000 }];
  assert.equal(readLoc({ properties: [{ type: LocProperty.Timestamp, value: 24_000 }] }, track)?.timestampUs, 500_000);
  const own = [
    { type: LocProperty.Timescale, value: 90_000 },
    { type: LocProperty.Timestamp, value: 45_000 },
  ];
  const info = readLoc({ properties: own }, track);
  assert.equal(info?.timestampUs, 500_000);
  assert.equal(info?.wallClock, false);
});

test('the configuration comes from the Object, else from the Track', () => {
  const own = new Uint8Array([1, 2]);
  const inherited = new Uint8Array([3]);
  const timestamp = { type: LocProperty.Timestamp, value: 1 };
  const track = [{ type: LocProperty.AudioConfig, value: inherited }];
  assert.equal(readLoc({ properties: [{ type: LocProperty.VideoConfig, value: own }, timestamp] }, track)?.config, own);
  assert.equal(readLoc({ properties: [timestamp] }, track)?.config, inherited);
});

test('an Object that cannot be placed in time is refused', () => {
  assert.equal(readLoc({ properties: [] }), undefined);
  assert.equal(readLoc({ properties: [{ type: LocProperty.Timestamp, value: 2n ** 60n }] }), undefined);
  assert.equal(
    readLoc({
      properties: [
        { type: LocProperty.Timescale, value: 0 },
        { type: LocProperty.Timestamp, value: 5 },
      ],
    }),
    undefined,
  );
});

test('what is written can be read, and is in the order of its types', () => {
  const config = Uint8Array.of(1, 0x64);
  const properties = writeLoc({ timestampUs: 1_764_000_000_000_123.25, videoConfig: config });
  assert.deepEqual(readLoc({ properties }), { timestampUs: 1_764_000_000_000_123, wallClock: true, config });
  const types = properties.map(({ type }) => type);
  assert.deepEqual(types, [...types].sort((a, b) => a - b));
});
