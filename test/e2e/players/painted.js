// Watches what a video element paints: every new picture's counter and clock
// (see ../lib/counter.mjs), and the events that tell of trouble.

const width = 320; // of the strip that is read, whatever the video's size
const block = width / 40;
const events = ['playing', 'waiting', 'stalled', 'pause', 'seeking', 'ended', 'error'];

function readRow(grey, row) {
  let value = 0;
  for (let i = 0; i < 32; i++) {
    const at = (r) => grey[4 * (Math.floor((r + 0.5) * block) * width + Math.floor((4 + i + 0.5) * block))] > 127;
    if (at(row) === at(row + 1)) return null;
    value = value * 2 + (at(row) ? 1 : 0);
  }
  return value;
}

export function watch(video) {
  const seen = { samples: [], events: [], unreadable: 0 };
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = 7 * block;
  const g = canvas.getContext('2d', { willReadFrequently: true });
  const read = () => {
    const at = Date.now();
    // The strip's rows are as high as its blocks are wide.
    g.drawImage(video, 0, 0, video.videoWidth, (video.videoWidth / width) * canvas.height, 0, 0, canvas.width, canvas.height);
    const { data } = g.getImageData(0, 0, canvas.width, canvas.height);
    const counter = readRow(data, 1);
    const clock = readRow(data, 4);
    if (counter === null) seen.unreadable++;
    else if (seen.samples.length < 50_000) seen.samples.push([at, counter, clock, video.videoWidth]);
  };
  const each = () => {
    read();
    video.requestVideoFrameCallback(each);
  };
  video.requestVideoFrameCallback(each);
  for (const type of events) video.addEventListener(type, () => seen.events.length < 10_000 && seen.events.push([Date.now(), type]));
  return seen;
}

/** What the page was asked to play, and how. */
export function asked() {
  const q = new URLSearchParams(location.search);
  return { src: q.get('src'), config: JSON.parse(q.get('config') ?? '{}') };
}

/** Tells which kind of media source a player makes. */
export function watchMediaSource(seen) {
  seen.mediaSources = [];
  for (const name of ['ManagedMediaSource', 'MediaSource']) {
    if (!(name in window)) continue;
    window[name] = new Proxy(window[name], {
      construct(target, args) {
        seen.mediaSources.push(name);
        return new target(...args);
      },
    });
  }
}
