import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Backoff, sleep } from './backoff.ts';

const options = { firstMs: 250, maxMs: 5000, steadyMs: 10_000 };

test('the wait doubles up to the limit', () => {
  const backoff = new Backoff(options, () => 1);
  const waits = Array.from({ length: 8 }, () => backoff.next(0));
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
});

test('the random part takes away up to half', () => {
  assert.equal(new Backoff(options, () => 0).next(0), 125);
  const many = Array.from({ length: 200 }, () => new Backoff(options).next(0));
  assert.ok(Math.min(...many) >= 125 && Math.max(...many) <= 250);
  assert.ok(new Set(many).size > 100, 'viewers do not come back in step');
});

test('only what worked for a while makes the next failure a first one', () => {
  const backoff = new Backoff(options, () => 1);
  backoff.next(0);
  backoff.next(0);
  backoff.works(1000);
  assert.equal(backoff.next(2000), 1000, 'a session that broke after a second');
  backoff.works(5000);
  assert.equal(backoff.next(20_000), 250, 'one that stood for fifteen');
});

test('thousands of failures do not overflow', () => {
  const backoff = new Backoff(options, () => 1);
  for (let i = 0; i < 5000; i++) backoff.next(0);
  assert.equal(backoff.next(0), 5000);
});

test('a sleep ends with its time or with its signal', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const whole = sleep(1000);
    mock.timers.tick(1000);
    assert.equal(await whole, true);
    const controller = new AbortController();
    const cut = sleep(1000, controller.signal);
    controller.abort();
    assert.equal(await cut, false);
    assert.equal(await sleep(1000, controller.signal), false);
  } finally {
    mock.timers.reset();
  }
});
