/** The Low Overhead Container (draft-ietf-moq-loc-04): what an Object says of its frame beside the payload. */

import { bytesProperty, integerProperty, type MoqObject, type Properties } from '../moq/index.ts';

/** Property types (section 5). */
export const LocProperty = {
  Timescale: 0x08,
  VideoFrameMarking: 0x09,
  AudioLevel: 0x0c,
  VideoConfig: 0x0d,
  AudioConfig: 0x0f,
  Timestamp: 0x10,
} as const;

/** What an encoded frame carries beside its payload. */
export interface LocFields {
  /**
   * Microseconds since the Unix epoch on the publisher's wall clock. No timescale is sent with it: "If no timescale
   * property is present, the timestamp is interpreted as wall-clock time in microseconds".
   */
  readonly timestampUs: number;
  /** The decoder's configuration record, on the first Object of a Group: avcC, hvcC and so on. */
  readonly videoConfig?: Uint8Array | undefined;
  /** The same for audio: OpusHead, AudioSpecificConfig. */
  readonly audioConfig?: Uint8Array | undefined;
}

/** The Object Properties for a frame, in the order of their types as Key-Value-Pairs need it. */
export function writeLoc(fields: LocFields): Properties {
  return [
    ...(fields.videoConfig ? [{ type: LocProperty.VideoConfig, value: fields.videoConfig }] : []),
    ...(fields.audioConfig ? [{ type: LocProperty.AudioConfig, value: fields.audioConfig }] : []),
    { type: LocProperty.Timestamp, value: Math.max(0, Math.round(fields.timestampUs)) },
  ];
}

/** What was read of an Object's frame. */
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

/**
 * Reads an Object's LOC properties. `track` are the Track's own, of which a TIMESCALE and a configuration hold for every
 * Object that does not carry its own. Undefined when the Object has no timestamp, without which it cannot be placed.
 */
export function readLoc(object: Pick<MoqObject, 'properties'>, track: Properties = []): LocInfo | undefined {
  // One beyond 2^53 µs is read as none: that is in the year 2255, and whoever sends it has no usable clock.
  const timestamp = integerProperty(object.properties, LocProperty.Timestamp);
  if (timestamp === undefined) return undefined;
  const timescale =
    integerProperty(object.properties, LocProperty.Timescale) ?? integerProperty(track, LocProperty.Timescale);
  if (timescale === 0) return undefined;
  return {
    timestampUs: timescale === undefined ? timestamp : (timestamp / timescale) * 1e6,
    wallClock: timescale === undefined,
    config: configOf(object.properties) ?? configOf(track),
  };
}

function configOf(properties: Properties): Uint8Array | undefined {
  return bytesProperty(properties, LocProperty.VideoConfig) ?? bytesProperty(properties, LocProperty.AudioConfig);
}
