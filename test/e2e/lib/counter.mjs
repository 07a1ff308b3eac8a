// The machine-readable counter that clips carry in their pictures: a row of 32
// square blocks of width/40 pixels, from block column 4 and block row 1 on.
// Block i is white when bit i, the most significant first, of a 32-bit value is
// set; the row below has the inverted bits.

/**
 * An ffmpeg filter that burns the frame number into a width x height picture.
 * `offset` is added to it.
 */
export function counterFilter(width, offset = 0) {
  const b = width / 40;
  const boxes = [`drawbox=x=${4 * b}:y=${b}:w=${32 * b}:h=${2 * b}:color=black:t=fill`];
  for (let i = 0; i < 32; i++) {
    const bit = `mod(floor((n+${offset})/${2 ** (31 - i)})\\,2)`;
    boxes.push(`drawbox=x=${(4 + i) * b}:y=${b}:w=${b}:h=${b}:color=white:t=fill:enable=${bit}`);
    boxes.push(`drawbox=x=${(4 + i) * b}:y=${2 * b}:w=${b}:h=${b}:color=white:t=fill:enable=1-${bit}`);
  }
  return boxes.join(',');
}

/**
 * Reads the counter of a greyscale picture, one byte a pixel; null when its
 * rows do not agree.
 */
export function readCounter(grey, width) {
  const b = width / 40;
  const at = (col, row) => grey[Math.floor((row + 0.5) * b) * width + Math.floor((col + 0.5) * b)] > 127;
  let value = 0;
  for (let i = 0; i < 32; i++) {
    const bit = at(4 + i, 1);
    if (bit === at(4 + i, 2)) return null;
    value = value * 2 + (bit ? 1 : 0);
  }
  return value;
}
