import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FallbackPolicy } from './fallback.ts';

test('a network that never carried MoQ is given up sooner than a relay that went away', () => {
  const fresh = new FallbackPolicy();
  assert.deepEqual([fresh.connectFailed(), fresh.connectFailed(), fresh.connectFailed()], [false, false, true]);
  const known = new FallbackPolicy();
  known.connected();
  for (let i = 0; i < 9; i++) assert.equal(known.connectFailed(), false);
  known.connected();
  for (let i = 0; i < 9; i++) assert.equal(known.connectFailed(), false);
  assert.equal(known.connectFailed(), true);
});
