/**
 * The counter that test pictures carry in their pixels, so that whoever looks at a painted picture can tell which frame
 * it is. It is a row of 32 square blocks, white for 1 and black for 0, most significant bit first, and under it a row
 * with every bit inverted: a picture that merely looks like a counter fails that check. A block is a 40th of the
 * picture's width; the first one starts four blocks from the left and one from the top.
 *
 * The studio's test pattern writes the clock (milliseconds since the Unix epoch, the lower 32 bits), which makes the
 * time from drawing to painting measurable.
 */

/** How many blocks a row has. */
export const counterBits = 32;

/** The number of blocks that fit across a picture. */
const blocksAcross = 40;
const firstColumn = 4;
const firstRow = 1;

/** Half way between black and white; codecs move a block's centre by far less than that. */
const lumaThreshold = 128;

/** A rectangle in pixels of the picture. */
export interface Region {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Where both rows of a counter lie in a picture of this width. */
export function counterRegion(pictureWidth: number): Region {
  const block = pictureWidth / blocksAcross;
  return { x: firstColumn * block, y: firstRow * block, width: counterBits * block, height: 2 * block };
}

/** Pixels as a canvas gives them: rows of red, green, blue and alpha bytes. */
export interface Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/**
 * Reads the counter from an image that shows exactly {@link counterRegion}, at any scale.
 * Null when the second row is not the inverse of the first.
 */
export function readCounter(image: Pixels): number | null {
  const block = image.width / counterBits;
  let value = 0;
  for (let bit = 0; bit < counterBits; bit++) {
    const x = (bit + 0.5) * block;
    const set = lumaAround(image, x, image.height * 0.25, block / 4) > lumaThreshold;
    const inverse = lumaAround(image, x, image.height * 0.75, block / 4) > lumaThreshold;
    if (set === inverse) return null;
    value = value * 2 + (set ? 1 : 0);
  }
  return value;
}

/** The part of a 2D context that {@link drawCounter} needs. */
export interface FillContext {
  fillStyle: string | CanvasGradient | CanvasPattern;
  fillRect(x: number, y: number, width: number, height: number): void;
}

/** Draws the lower 32 bits of value into a picture of the given width. */
export function drawCounter(context: FillContext, value: number, pictureWidth: number): void {
  const region = counterRegion(pictureWidth);
  const block = region.width / counterBits;
  for (let bit = 0; bit < counterBits; bit++) {
    const set = (Math.floor(value / 2 ** (counterBits - 1 - bit)) & 1) === 1;
    const x = region.x + bit * block;
    context.fillStyle = set ? '#fff' : '#000';
    context.fillRect(x, region.y, block, block);
    context.fillStyle = set ? '#000' : '#fff';
    context.fillRect(x, region.y + block, block, block);
  }
}

/**
 * Milliseconds between a counter that holds the clock and now, or undefined when it cannot be a recent clock (a counter
 * may as well hold frame numbers).
 */
export function ageOfClock(counter: number, nowMs: number): number | undefined {
  const age = (nowMs - counter) % 2 ** counterBits;
  return age >= 0 && age < 60_000 ? age : undefined;
}

/** The mean luma (BT.601 weights) of a square around a point. */
function lumaAround(image: Pixels, x: number, y: number, reach: number): number {
  const left = Math.max(0, Math.floor(x - reach));
  const right = Math.min(image.width - 1, Math.floor(x + reach));
  const top = Math.max(0, Math.floor(y - reach));
  const bottom = Math.min(image.height - 1, Math.floor(y + reach));
  let sum = 0;
  let count = 0;
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const at = (row * image.width + column) * 4;
      const red = image.data[at] ?? 0;
      const green = image.data[at + 1] ?? 0;
      const blue = image.data[at + 2] ?? 0;
      sum += 0.299 * red + 0.587 * green + 0.114 * blue;
      count++;
    }
  }
  return count === 0 ? 0 : sum / count;
}
