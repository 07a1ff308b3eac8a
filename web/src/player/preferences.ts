import { latencyModes, type LatencyMode } from './clock.ts';

/** What a viewer has chosen, kept in this browser. */
export interface Preferences {
  /** 0 to 1. */
  readonly volume: number;
  readonly muted: boolean;
  readonly mode: LatencyMode;
}

const key = 'freshet.player';

const defaults: Preferences = { volume: 1, muted: false, mode: 'low' };

/** Reads what was kept; the defaults where there is nothing usable. */
export function loadPreferences(): Preferences {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Record<keyof Preferences, unknown>>;
    const { volume, muted, mode } = kept;
    return {
      volume: typeof volume === 'number' && volume >= 0 && volume <= 1 ? volume : defaults.volume,
      muted: muted === true,
      mode: typeof mode === 'string' && Object.hasOwn(latencyModes, mode) ? (mode as LatencyMode) : defaults.mode,
    };
  } catch {
    // Storage may be forbidden, or hold what another version wrote.
    return defaults;
  }
}

/** Keeps what the viewer has chosen, where the browser lets us. */
export function savePreferences(preferences: Preferences): void {
  try {
    localStorage.setItem(key, JSON.stringify(preferences));
  } catch {
    // It then lasts as long as the page.
  }
}
