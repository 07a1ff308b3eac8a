/** Remembers what the streamer entered. The stream key stays in this tab only; the settings stay in this browser. */

import type { CodecChoice } from './messages.ts';
import type { SourceKind } from './capture.ts';

export interface StudioPreferences {
  readonly source: SourceKind;
  readonly codec: CodecChoice;
  /** Lines of the picture. */
  readonly height: number;
  readonly framerate: number;
  /** Kilobits per second. */
  readonly kilobits: number;
}

export const DEFAULTS: StudioPreferences = {
  source: 'camera',
  codec: 'auto',
  // Without a hardware encoder, and with two cores or fewer, 720 lines leave no time for anything else.
  height: (globalThis.navigator?.hardwareConcurrency ?? 4) > 2 ? 720 : 360,
  framerate: 30,
  kilobits: 2500,
};

const PREFERENCES = 'freshet.studio';
const keyName = (room: string): string => `freshet.stream-key.${room}`;

/** The settings of last time, with what is missing or out of range replaced by defaults. */
export function loadPreferences(storage: Pick<Storage, 'getItem'> = localStorage): StudioPreferences {
  let saved: Partial<Record<keyof StudioPreferences, unknown>> = {};
  try {
    const parsed: unknown = JSON.parse(storage.getItem(PREFERENCES) ?? '{}');
    if (typeof parsed === 'object' && parsed !== null) saved = parsed;
  } catch {
    // Storage that is forbidden or holds something else counts as empty.
  }
  const one = <T>(value: unknown, allowed: readonly T[], fallback: T): T =>
    allowed.includes(value as T) ? (value as T) : fallback;
  const kilobits = typeof saved.kilobits === 'number' ? Math.round(saved.kilobits) : DEFAULTS.kilobits;
  return {
    source: one(saved.source, ['camera', 'screen', 'pattern'], DEFAULTS.source),
    codec: one(saved.codec, ['auto', 'av1', 'hevc', 'h264', 'vp9', 'vp8'], DEFAULTS.codec),
    height: one(saved.height, [360, 480, 720, 1080], DEFAULTS.height),
    framerate: one(saved.framerate, [15, 30, 60], DEFAULTS.framerate),
    kilobits: Math.min(20_000, Math.max(100, kilobits)),
  };
}

export function savePreferences(preferences: StudioPreferences): void {
  try {
    localStorage.setItem(PREFERENCES, JSON.stringify(preferences));
  } catch {
    // Remembering is a convenience; going live does not depend on it.
  }
}

/**
 * The stream key for a room: from the address's fragment (`#key=…`), which is then cleared so that the key is neither
 * shown nor bookmarked, else from this tab's memory.
 */
export function loadStreamKey(room: string): string {
  const fragment = new URLSearchParams(location.hash.replace(/^#\??/, ''));
  const given = fragment.get('key');
  if (given) {
    saveStreamKey(room, given);
    history.replaceState(history.state, '', location.pathname + location.search);
    return given;
  }
  try {
    return sessionStorage.getItem(keyName(room)) ?? '';
  } catch {
    return '';
  }
}

export function saveStreamKey(room: string, key: string): void {
  try {
    sessionStorage.setItem(keyName(room), key);
  } catch {
    // It is asked for again after a reload.
  }
}
