// ffmpeg as a publisher and as a decoder.
import { Child } from './freshet.mjs';
import { clockFilter, counterFilter, readCounter } from './counter.mjs';

export const width = 640;
export const height = 360;
export const tone = 440; // Hz

/** Inputs of a test source with counter, tone and, if asked for, clock; `size` is its [width, height]. */
export function testSource({ offset = 0, rate = 30, realtime = true, size: [w, h] = [width, height], clock = false } = {}) {
  const burnt = clock ? `${counterFilter(w, offset)},${clockFilter(w, rate)}` : counterFilter(w, offset);
  return [
    '-hide_banner', '-nostdin', '-loglevel', 'warning',
    // A reader of its own makes pictures ahead of their time, for as long as its queue has room.
    ...(clock ? ['-thread_queue_size', '1'] : []), ...(realtime ? ['-re'] : []), '-f', 'lavfi', '-i', `testsrc2=size=${w}x${h}:rate=${rate},${burnt}`,
    ...(realtime ? ['-re'] : []), '-f', 'lavfi', '-i', `sine=frequency=${tone}:sample_rate=48000`,
  ];
}

export const h264 = (gop = 60) => ['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', String(gop), '-b:v', '1500k'];
export const hevc = (gop = 60) => ['-c:v', 'libx265', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-x265-params', `keyint=${gop}:log-level=error`, '-b:v', '1500k'];
export const aac = ['-c:a', 'aac', '-ar', '48000', '-ac', '2', '-b:a', '96k'];
export const opus = ['-c:a', 'libopus', '-ar', '48000', '-ac', '2', '-b:a', '96k'];

/** Publishes by RTSP over TCP. */
export function publishRtsp(url, codecs, options) {
  return new Child('ffmpeg', 'ffmpeg', [...testSource(options), ...codecs, '-f', 'rtsp', '-rtsp_transport', 'tcp', url]);
}

/**
 * Decodes what comes at `input` (a URL, or "-" for stdin) and collects the
 * counters of its pictures until `count` have been read.
 */
export async function decodeCounters(input, { count = 60, stdin = null, timeout = 40_000, args = [] } = {}) {
  const child = new Child('ffmpeg decoder', 'ffmpeg', [
    '-hide_banner', '-nostdin', '-loglevel', 'warning', ...args, '-i', input, '-map', '0:v:0', '-fps_mode', 'passthrough', '-vf', `scale=${width}:${height},format=gray`, '-f', 'rawvideo', '-',
  ], { rawStdout: true });
  if (stdin) {
    stdin.pipe(child.process.stdin);
    child.process.stdin.on('close', () => stdin.unpipe(child.process.stdin));
  }
  const size = width * height;
  const counters = [];
  let rest = Buffer.alloc(0);
  const timer = setTimeout(() => child.process.kill('SIGKILL'), timeout);
  try {
    for await (const data of child.process.stdout) {
      rest = Buffer.concat([rest, data]);
      while (rest.length >= size) {
        counters.push(readCounter(rest, width));
        rest = rest.subarray(size);
      }
      if (counters.length >= count) break;
    }
  } finally {
    clearTimeout(timer);
    await child.kill();
  }
  if (counters.length < count) throw new Error(`only ${counters.length} of ${count} pictures were decoded:\n${child.output}`);
  return counters;
}

/** Fails unless the counters are those of consecutive frames. */
export function assertConsecutive(assert, counters) {
  assert.ok(!counters.includes(null), `a counter could not be read: ${counters}`);
  for (let i = 1; i < counters.length; i++) assert.equal(counters[i], counters[i - 1] + 1, `frame ${i} of ${counters}`);
}
