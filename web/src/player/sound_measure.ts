/** What is measured of sound. */
export interface SoundMeasure {
  /** Root mean square of the samples, 1 being full scale. */
  readonly level: number;
  /** The frequency of a plain tone, by its zero crossings; 0 in silence. */
  readonly frequencyHz: number;
}

/** Below this level there is nothing to take a frequency of. */
const silence = 0.001;

/** The level of samples, and the frequency at which they cross zero upwards. */
export function measureSound(samples: Float32Array, sampleRate: number): SoundMeasure {
  let squares = 0;
  for (const sample of samples) squares += sample * sample;
  const level = Math.sqrt(squares / Math.max(1, samples.length));
  if (level < silence) return { level, frequencyHz: 0 };
  // Only a crossing out of a trough counts, so that noise around zero does not.
  const trough = -level / 4;
  let armed = false;
  let first: number | undefined;
  let last = 0;
  let periods = -1;
  for (let i = 1; i < samples.length; i++) {
    const before = samples[i - 1] ?? 0;
    const after = samples[i] ?? 0;
    if (after < trough) armed = true;
    if (!armed || before >= 0 || after < 0) continue;
    armed = false;
    last = i - 1 + before / (before - after);
    first ??= last;
    periods++;
  }
  return { level, frequencyHz: periods > 0 && first !== undefined ? (periods * sampleRate) / (last - first) : 0 };
}
