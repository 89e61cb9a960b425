/** What four languages read and write in turn: a weather station. The declarations for the others are made from this file by `twz sdk`. */
import { f32, f64, hashMap, oneOf, optional, ref, struct, text, u32, vec } from '../../src/index.ts';

export const Place = struct('Place', { x: f32, y: f32 });

export const Reading = struct('Reading', { sensor: text, value: f64, kind: oneOf('rain', 'wind', 'warmth'), checked: optional(u32) });

export const Station = struct('Station', {
  name: text,
  turns: u32,
  place: Place,
  /** In the order in which they came. */
  readings: vec(Reading),
  /** The last value of each sensor. */
  latest: hashMap(text, f64),
  /** Who wrote, and how often. */
  writers: hashMap(text, u32),
  get next() {
    return ref(Station);
  },
});
