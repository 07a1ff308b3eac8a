import type { MoqObject, Properties } from '../moq/model.ts';

/**
 * What the Low Overhead Container (draft-ietf-moq-loc-04, section 2.3) says about an Object beside its payload.
 */
export interface LocInfo {
  /**
   * Presentation time in microseconds. Without a timescale it is the origin's wall clock since the Unix epoch, which is
   * what a latency can be computed from.
   */
  readonly timestampUs: number;
  /** Whether the timestamp is wall-clock time. */
  readonly wallClock: boolean;
  /** The decoder's configuration record, on Objects that carry one. */
  readonly config: Uint8Array | undefined;
}

/** Property IDs of draft-ietf-moq-loc-04, section 5. */
export const LocProperty = {
  Timescale: 0x08,
  VideoFrameMarking: 0x09,
  AudioLevel: 0x0c,
  VideoConfig: 0x0d,
  AudioConfig: 0x0f,
  Timestamp: 0x10,
} as const;

/**
 * Reads an Object's LOC properties. `track` are the Track's own, of which a TIMESCALE and a configuration hold for every
 * Object that does not carry its own. Undefined when the Object has no timestamp, without which it cannot be placed.
 */
export function readLoc(object: Pick<MoqObject, 'properties'>, track: Properties = []): LocInfo | undefined {
  const timestamp = integer(object.properties, LocProperty.Timestamp);
  if (timestamp === undefined) return undefined;
  const timescale = integer(object.properties, LocProperty.Timescale) ?? integer(track, LocProperty.Timescale);
  if (timescale === 0) return undefined;
  return {
    timestampUs: timescale === undefined ? timestamp : (timestamp / timescale) * 1e6,
    wallClock: timescale === undefined,
    config: configOf(object.properties) ?? configOf(track),
  };
}

/** The video or audio configuration among Properties. */
function configOf(properties: Properties): Uint8Array | undefined {
  for (const { type, value } of properties) {
    if ((type === LocProperty.VideoConfig || type === LocProperty.AudioConfig) && value instanceof Uint8Array) return value;
  }
  return undefined;
}

function integer(properties: Properties, wanted: number): number | undefined {
  for (const { type, value } of properties) {
    // A time beyond 2^53 µs is in the year 2255: whoever sends it has no usable clock.
    if (type === wanted && typeof value === 'number') return value;
  }
  return undefined;
}
