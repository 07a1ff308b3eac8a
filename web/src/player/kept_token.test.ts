import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptToken } from './kept_token.ts';

test('a token is renewed before it ends, and kept when that fails', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  let asked = 0;
  let fails = false;
  const kept = new KeptToken(async () => {
    asked++;
    if (fails) throw new Error('unreachable');
    return { token: `token ${asked}`, url: undefined, expiresMs: Date.now() + 600_000 };
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  await kept.ready();
  await kept.ready();
  assert.equal(asked, 1);
  assert.equal(kept.value, 'token 1');
  t.mock.timers.tick(449_000);
  await settle();
  assert.equal(asked, 1);
  fails = true;
  t.mock.timers.tick(1_000);
  await settle();
  assert.equal(asked, 2);
  assert.equal(kept.value, 'token 1');
  fails = false;
  t.mock.timers.tick(5_000);
  await settle();
  assert.equal(kept.value, 'token 3');
  kept.close();
  t.mock.timers.tick(10_000_000);
  await settle();
  assert.equal(asked, 3);
});
