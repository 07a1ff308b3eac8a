// Renditions of an HLS stream as files, and what other parsers say of them.
import { readFile, writeFile } from 'node:fs/promises';
import { Child } from './freshet.mjs';

const attribute = (line, name) => line.match(new RegExp(`[:,]${name}="?([^",]+)"?`))?.[1];

/** The media playlists that a multivariant playlist names: [{url, codecs, kind}]. */
export async function renditions(url) {
  const lines = (await text(url)).split('\n');
  const found = new Map();
  lines.forEach((line, i) => {
    if (line.startsWith('#EXT-X-STREAM-INF')) found.set(new URL(lines[i + 1], url).href, 'video');
    if (line.startsWith('#EXT-X-MEDIA') && attribute(line, 'URI') && attribute(line, 'TYPE') === 'AUDIO') found.set(new URL(attribute(line, 'URI'), url).href, 'audio');
  });
  return [...found].map(([href, kind]) => ({ url: href, kind }));
}

/**
 * What a media playlist lists: the URLs of its initialization section,
 * segments and parts, oldest first, each segment's sequence number and date.
 */
export function parse(playlist, url) {
  const found = { maps: [], segments: [], parts: [], dates: new Map() };
  let sequence = 0;
  let date;
  for (const line of playlist.split('\n')) {
    if (line.startsWith('#EXT-X-MEDIA-SEQUENCE:')) found.first = sequence = Number(line.split(':')[1]);
    if (line.startsWith('#EXT-X-SKIP:')) throw new Error('a delta update');
    if (line.startsWith('#EXT-X-MAP:')) found.maps.push(new URL(attribute(line, 'URI'), url).href);
    if (line.startsWith('#EXT-X-PART:')) found.parts.push({ url: new URL(attribute(line, 'URI'), url).href, sequence });
    if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) date = line.slice(line.indexOf(':') + 1);
    if (line && !line.startsWith('#')) {
      found.segments.push({ url: new URL(line, url).href, sequence });
      if (date) found.dates.set(sequence, date);
      date = undefined;
      sequence++;
    }
  }
  found.next = sequence;
  return found;
}

/** The text of a playlist. */
export async function text(url, init) {
  const r = await fetch(url, init);
  if (!r.ok) throw new Error(`${url}: ${r.status} ${await r.text()}`);
  return r.text();
}

/** Downloads the urls, one after the other, into one file. */
export async function save(urls, file) {
  const pieces = [];
  for (const url of urls) {
    const r = await fetch(url);
    if (!r.ok) throw new Error(`${url}: ${r.status}`);
    pieces.push(Buffer.from(await r.arrayBuffer()));
  }
  await writeFile(file, Buffer.concat(pieces));
}

/** Everything that ffprobe and ffmpeg say of a file at the level of warnings. */
export async function ffmpegSays(file) {
  const probe = new Child('ffprobe', 'ffprobe', ['-v', 'warning', '-count_packets', file]);
  const probed = await probe.exited;
  // The times are left as they are: rounded to a frame rate, two of a rate that varies may become one.
  const decode = new Child('ffmpeg', 'ffmpeg', ['-nostdin', '-v', 'warning', '-i', file, '-fps_mode', 'passthrough', '-enc_time_base', '-1', '-f', 'null', '-']);
  const decoded = await decode.exited;
  return `${probe.output}${decode.output}${probed.code || decoded.code ? `exit ${probed.code}, ${decoded.code}` : ''}`;
}

// A segment begins with styp and each of its chunks may have a prft (ISO/IEC
// 14496-12, 8.16.2 and 8.16.5); mp4box tells how it stores what comes twice.
const bookkeeping = /Found multiple boxes of type (styp|prft) but no array exists/;

/** Everything that mp4box.js says of a file at the level of warnings, and the samples that it finds. */
export async function mp4boxSays(file) {
  const { createFile, Log } = await import('mp4box');
  const said = [];
  const kept = { warn: console.warn, error: console.error };
  for (const level of Object.keys(kept)) console[level] = (...words) => said.push(words.join(' '));
  try {
    Log.setLogLevel(Log.warn);
    const mp4 = createFile(true); // with the bytes of samples
    mp4.onError = (module, message) => said.push(`${module}: ${message}`);
    let samples = [];
    mp4.onReady = ({ tracks }) => {
      for (const { id } of tracks) mp4.setExtractionOptions(id, null, { nbSamples: 1 });
      mp4.start();
    };
    mp4.onSamples = (id, user, list) => (samples = samples.concat(list.map(({ dts, cts, duration, timescale, is_sync, data }) => ({ dts, cts, duration, timescale, key: is_sync, size: data.length }))));
    const data = await readFile(file);
    const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
    buffer.fileStart = 0;
    mp4.appendBuffer(buffer, true);
    mp4.flush();
    return { said: said.filter((line) => !bookkeeping.test(line)), samples };
  } finally {
    Object.assign(console, kept);
    Log.setLogLevel(Log.error);
  }
}
