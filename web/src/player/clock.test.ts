import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latencyModes, PlayoutClock, punctuality } from './clock.ts';

const epoch = 1_764_000_000_000;

/** Feeds one Track with pictures every 33 ms whose transit the function decides; returns the time of the last. */
function feed(
  clock: PlayoutClock,
  fromMs: number,
  count: number,
  transit: (index: number) => number,
  track = 'video0',
): number {
  let now = fromMs;
  for (let i = 0; i < count; i++) {
    const media = fromMs + i * 33;
    now = media + transit(i);
    clock.observe(track, media, now);
    clock.targetOffset(now);
  }
  return now;
}

test('on a steady path the delay falls to the least allowed', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 100, () => 20);
  assert.equal(clock.targetOffset(now + 200), 20 + latencyModes.low.minMs);
});

test('until enough has arrived the delay is the start value', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 10, () => 20);
  assert.equal(clock.targetOffset(now + 200), 20 + latencyModes.low.startMs);
});

test('the delay follows jitter up at once and down when it has left the window', () => {
  const clock = new PlayoutClock();
  let now = feed(clock, epoch, 200, () => 20);
  now = feed(clock, now, 90, (i) => 20 + (i % 10 === 0 ? 300 : 0));
  const shaken = clock.targetOffset(now + 200);
  assert.ok(shaken !== undefined && shaken >= 320 && shaken <= 340, `${shaken}`);
  now = feed(clock, now + 200, 600, () => 20);
  assert.equal(clock.targetOffset(now + 200), 70);
});

test('jitter never delays beyond the bound', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 200, (i) => (i % 2 === 0 ? 0 : 2500));
  assert.equal(clock.targetOffset(now + 200), latencyModes.low.maxMs);
});

test('the backlog of a joined Group is not taken for jitter', () => {
  const clock = new PlayoutClock();
  // A Group of two seconds comes within 80 ms, in three bursts with pauses between them; then it is live.
  let now = epoch;
  for (let i = 0; i < 60; i++) {
    now = epoch + 2000 + (i < 20 ? 0 : i < 40 ? 40 : 80);
    clock.observe('video0', epoch + i * 33, now);
    assert.ok((clock.position(now) ?? 0) < now);
  }
  for (let i = 0; i < 60; i++) {
    now = epoch + 2080 + i * 33;
    clock.observe('video0', epoch + 2000 + i * 33, now);
    clock.targetOffset(now);
  }
  const target = clock.targetOffset(now + 200);
  assert.ok(target !== undefined && target <= 80 + latencyModes.low.startMs, `${target}`);
});

test('nor is a backlog that comes after what is live', () => {
  const clock = new PlayoutClock();
  for (let i = 0; i < 60; i++) {
    const now = epoch + 2000 + i * 33;
    clock.observe('video0', now - 20, now);
    if (i === 4) for (let late = 0; late < 40; late++) clock.observe('video0', epoch + late * 33, now);
    clock.targetOffset(now);
  }
  assert.equal(clock.targetOffset(epoch + 4200), 20 + latencyModes.low.minMs);
});

test('nothing is due before arrivals are live', () => {
  const clock = new PlayoutClock();
  for (let i = 0; i < 60; i++) clock.observe('video0', epoch + i * 33, epoch + 2000 + i);
  assert.equal(clock.position(epoch + 2060), undefined);
  assert.notEqual(clock.position(epoch + 2200), undefined);
});

test('Tracks share the offset of the slowest, and one that fell silent stops counting', () => {
  const clock = new PlayoutClock();
  feed(clock, epoch, 100, () => 10, 'audio0');
  let now = feed(clock, epoch, 100, () => 90, 'video0');
  assert.equal(clock.targetOffset(now + 200), 140);
  now = feed(clock, now, 200, () => 10, 'audio0');
  assert.equal(clock.targetOffset(now + 200), 60);
});

test('a margin for decoding adds to the jitter', () => {
  const clock = new PlayoutClock();
  clock.setNeeds('video0', 35, punctuality.picture);
  const now = feed(clock, epoch, 200, (i) => 20 + (i % 4) * 20);
  assert.equal(clock.targetOffset(now + 200), 20 + 60 + 35);
});

test('one late picture in hundreds is let go, one late sound is not', () => {
  for (const [part, wanted] of [
    [punctuality.picture, 20 + latencyModes.low.minMs],
    [punctuality.sound, 20 + 400],
  ] as const) {
    const clock = new PlayoutClock();
    clock.setNeeds('track', 0, part);
    const now = feed(clock, epoch, 300, (i) => (i === 250 ? 420 : 20), 'track');
    assert.equal(clock.targetOffset(now + 200), wanted);
  }
});

test('a publisher whose clock is set anew is followed', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 200, () => 20);
  for (let i = 0; i < 100; i++) {
    clock.observe('video0', epoch - 3_600_000 + i * 33, now + i * 33);
    clock.targetOffset(now + i * 33);
  }
  const at = now + 3600;
  const position = clock.position(at);
  assert.ok(position !== undefined);
  assert.ok(Math.abs(position - (epoch - 3_600_000 + 3600)) < 200, `${position - epoch}`);
});

test('without audio, pictures glide to a new offset and never run backwards', () => {
  const clock = new PlayoutClock();
  let now = feed(clock, epoch, 200, () => 20);
  let last = clock.position(now + 200) ?? 0;
  now = feed(clock, now + 200, 60, (i) => (i % 3 === 0 ? 170 : 20));
  let slowest = Infinity;
  for (let i = 1; i <= 600; i++) {
    const position = clock.position(now + i * 10) ?? 0;
    if (i > 1) slowest = Math.min(slowest, position - last);
    assert.ok(position >= last || i === 1);
    last = position;
  }
  assert.ok(slowest > 9.5, `${slowest}`);
  assert.ok(Math.abs(now + 6000 - last - 170) < 1, 'the new offset is reached');
});

test('pictures follow the audio while it plays', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 200, () => 20);
  const due = now + 200 - 70;
  clock.followAudio({ lagMs: 42, atMs: now + 200, playing: true });
  assert.equal(clock.position(now + 200), due - 42);
  clock.followAudio({ lagMs: 42, atMs: now + 200, playing: false });
  const gliding = clock.position(now + 300) ?? 0;
  assert.ok(gliding > due - 42 + 100 && gliding <= due + 100, `${gliding - due}`);
  clock.followAudio(undefined);
  assert.equal(clock.position(now + 3000), due + 2800);
});

test('a viewer who chooses smoothness gets more delay', () => {
  const clock = new PlayoutClock();
  const now = feed(clock, epoch, 200, () => 20);
  clock.setMode('smooth');
  assert.equal(clock.targetOffset(now), 20 + latencyModes.smooth.minMs);
});
