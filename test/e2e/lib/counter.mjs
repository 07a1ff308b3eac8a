// The machine-readable counter that clips carry in their pictures: a row of 32
// square blocks of width/40 pixels, from block column 4 and block row 1 on.
// Block i is white when bit i, the most significant first, of a 32-bit value is
// set; the row below has the inverted bits.

/**
 * Drawn below it, from block row 4 on, is the clock: milliseconds since 1970
 * modulo 2^32, of the moment in which the picture was made.
 */
export const clockRow = 4;

/**
 * An ffmpeg filter that burns the frame number into a picture of this width.
 * `offset` is added to it.
 */
export function counterFilter(width, offset = 0) {
  return valueFilter(width, 1, `n+${offset}`);
}

/** An ffmpeg filter that burns in the clock, for `rate` pictures a second. */
export function clockFilter(width, rate) {
  // The boxes are drawn one after the other; what they share is the picture's
  // time, which holds the clock's while they draw.
  return `settb=1/1000,setpts=floor(time(0)*1000),${valueFilter(width, clockRow, 'floor(t*1000+0.5)')},settb=1/${rate},setpts=N`;
}

function valueFilter(width, row, value) {
  const b = width / 40;
  const boxes = [`drawbox=x=${4 * b}:y=${row * b}:w=${32 * b}:h=${2 * b}:color=black:t=fill`];
  for (let i = 0; i < 32; i++) {
    const bit = `mod(floor((${value})/${2 ** (31 - i)})\\,2)`;
    boxes.push(`drawbox=x=${(4 + i) * b}:y=${row * b}:w=${b}:h=${b}:color=white:t=fill:enable=${bit}`);
    boxes.push(`drawbox=x=${(4 + i) * b}:y=${(row + 1) * b}:w=${b}:h=${b}:color=white:t=fill:enable=1-${bit}`);
  }
  return boxes.join(',');
}

/**
 * Reads the counter, or what begins at another row, of a greyscale picture,
 * one byte a pixel; null when its rows do not agree.
 */
export function readCounter(grey, width, row = 1) {
  const b = width / 40;
  const at = (col, r) => grey[Math.floor((r + 0.5) * b) * width + Math.floor((col + 0.5) * b)] > 127;
  let value = 0;
  for (let i = 0; i < 32; i++) {
    const bit = at(4 + i, row);
    if (bit === at(4 + i, row + 1)) return null;
    value = value * 2 + (bit ? 1 : 0);
  }
  return value;
}
