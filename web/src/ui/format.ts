/** A codec string as people say it. */
export function codecName(codec: string): string {
  switch (codec.split('.')[0]?.toLowerCase()) {
    case 'avc1':
    case 'avc3':
    case 'h264':
      return 'H.264';
    case 'hvc1':
    case 'hev1':
    case 'h265':
      return 'H.265';
    case 'av01':
    case 'av1':
      return 'AV1';
    case 'vp09':
    case 'vp9':
      return 'VP9';
    case 'vp08':
    case 'vp8':
      return 'VP8';
    case 'opus':
      return 'Opus';
    case 'mp4a':
    case 'aac':
      return 'AAC';
    default:
      return codec;
  }
}

/** A length of time in its two largest units. */
export function duration(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 1) return 'less than a minute';
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A number of viewers in words. */
export function viewerCount(viewers: number): string {
  return viewers === 1 ? '1 viewer' : `${viewers.toLocaleString('en')} viewers`;
}

/** Milliseconds for reading: whole below ten seconds, else seconds. */
export function milliseconds(ms: number): string {
  return Math.abs(ms) < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
