import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ageOfClock, counterRegion, drawCounter, readCounter, type Pixels } from './counter.ts';

/** A picture that understands just enough of a 2D context to be drawn on. */
class Picture {
  fillStyle = '#000';
  readonly data: Uint8ClampedArray;

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.data = new Uint8ClampedArray(width * height * 4);
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    const level = this.fillStyle === '#fff' ? 255 : 0;
    for (let row = Math.round(y); row < Math.round(y + height); row++) {
      for (let column = Math.round(x); column < Math.round(x + width); column++) {
        this.data.fill(level, (row * this.width + column) * 4, (row * this.width + column) * 4 + 4);
      }
    }
  }

  crop(): Pixels {
    const region = counterRegion(this.width);
    const width = Math.round(region.width);
    const height = Math.round(region.height);
    const data = new Uint8ClampedArray(width * height * 4);
    for (let row = 0; row < height; row++) {
      const from = ((Math.round(region.y) + row) * this.width + Math.round(region.x)) * 4;
      data.set(this.data.subarray(from, from + width * 4), row * width * 4);
    }
    return { data, width, height };
  }
}

for (const width of [320, 640, 854, 1280, 1920]) {
  test(`a counter drawn in a picture ${width} pixels wide reads back`, () => {
    for (const value of [0, 1, 0x80000000, 0xffffffff, 0x12345678, 0xdeadbeef]) {
      const picture = new Picture(width, Math.round((width * 9) / 16));
      drawCounter(picture, value, width);
      assert.equal(readCounter(picture.crop()), value);
    }
  });
}

test('the first block is four blocks from the left and one from the top', () => {
  assert.deepEqual(counterRegion(640), { x: 64, y: 16, width: 512, height: 32 });
});

test('noise well inside a block does not change the value', () => {
  const picture = new Picture(640, 120);
  drawCounter(picture, 0xcafe1234, 640);
  const image = picture.crop();
  for (let at = 0; at < image.data.length; at++) image.data[at] = (image.data[at] ?? 0) > 128 ? 180 : 70;
  assert.equal(readCounter(image), 0xcafe1234);
});

test('a picture whose second row is not the inverse holds no counter', () => {
  const picture = new Picture(640, 120);
  assert.equal(readCounter(picture.crop()), null);
  drawCounter(picture, 0x0f0f0f0f, 640);
  picture.fillStyle = '#fff';
  picture.fillRect(64 + 16 * 31, 16, 16, 32);
  assert.equal(readCounter(picture.crop()), null);
});

test('the age of a clock survives the wrap of 32 bits and refuses frame numbers', () => {
  const now = 2 ** 32 * 407 + 5;
  assert.equal(ageOfClock((now - 120) % 2 ** 32, now), 120);
  assert.equal(ageOfClock(2 ** 32 - 95, now), 100);
  assert.equal(ageOfClock(now + 20_000, now), undefined);
  assert.equal(ageOfClock(17, 1_764_000_000_000), undefined);
});
