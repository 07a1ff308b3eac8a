import { FLASH_MS } from './pattern.ts';

export const TONE_SAMPLE_RATE = 48_000;
const HUM_HZ = 440;
const HUM_LEVEL = 0.08;
const BEEP_HZ = 880;
const BEEP_LEVEL = 0.3;

/**
 * The test tone: a quiet 440 Hz sine, and a beep of 880 Hz at each full second while the pattern's square flashes, so
 * that lips and words can be compared. Returns mono samples from a moment on, given as samples since the Unix epoch,
 * so that consecutive pieces fit together.
 */
export function toneSamples(firstSample: number, count: number): Float32Array<ArrayBuffer> {
  const samples = new Float32Array(count);
  const beepSamples = (FLASH_MS / 1000) * TONE_SAMPLE_RATE;
  for (let i = 0; i < count; i++) {
    // Both tones have whole periods in a second, so the place in the second is all that matters.
    const place = (firstSample + i) % TONE_SAMPLE_RATE;
    const turns = (2 * Math.PI * place) / TONE_SAMPLE_RATE;
    samples[i] = HUM_LEVEL * Math.sin(HUM_HZ * turns);
    if (place < beepSamples) samples[i]! += BEEP_LEVEL * Math.sin(BEEP_HZ * turns) * edge(place, beepSamples);
  }
  return samples;
}

/** Lets the beep rise and fall within 2 ms, without which it would click. */
function edge(place: number, length: number): number {
  const ramp = 0.002 * TONE_SAMPLE_RATE;
  return Math.min(1, place / ramp, (length - place) / ramp);
}
