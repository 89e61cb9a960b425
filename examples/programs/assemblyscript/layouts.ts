/** Made by `twz sdk` from the structs of a TypeScript module. Do not change it: change those. */
import { MapOf, Obj, VecOfStructs, allocate, failed, follow, rootOf, setReference, setText, textOf } from 'twizzler';

/** 8 bytes, version 1. An address: it is good while its object is mapped. */
@unmanaged
export class Place {
  static readonly SIZE: u32 = 8;
  static readonly FINGERPRINT: u64 = 0xbe5258c8ce05a687;
  static readonly SCHEMA: string = '{"root":"Place","types":{"Place":{"size":8,"version":1,"fields":[{"name":"x","offset":0,"shape":{"kind":"number","type":"f32"}},{"name":"y","offset":4,"shape":{"kind":"number","type":"f32"}}]}}}';

  /** The root of an object, where it is of this type. */
  static root(object: Obj | null): Place | null {
    return changetype<Place | null>(rootOf(object === null ? 0 : object.base, Place.FINGERPRINT));
  }

  /** A new object whose root is of this type, all zeros; in a transaction. `reserve`: bytes to keep room for. */
  static create(reserve: u32 = 0): Place | null {
    const object = Obj.create(reserve);
    if (object === null) return null;
    const at = object.allocate(Place.SIZE);
    return at == 0 || failed(object.setRoot(at, Place.SCHEMA)) ? null : changetype<Place>(at);
  }

  /** A new one, all zeros, in the object that `near` lies in; in a transaction. */
  static near(near: usize): Place | null {
    return changetype<Place | null>(allocate(near, Place.SIZE));
  }

  /** Where it lies. */
  @inline get $at(): usize { return changetype<usize>(this); }

  // Place.x: f32, at 0
  @inline get x(): f32 { return load<f32>(changetype<usize>(this) + 0); }
  @inline set x(value: f32) { store<f32>(changetype<usize>(this) + 0, value); }

  // Place.y: f32, at 4
  @inline get y(): f32 { return load<f32>(changetype<usize>(this) + 4); }
  @inline set y(value: f32) { store<f32>(changetype<usize>(this) + 4, value); }
}

/** 32 bytes, version 1. An address: it is good while its object is mapped. */
@unmanaged
export class Reading {
  static readonly SIZE: u32 = 32;
  static readonly FINGERPRINT: u64 = 0xa72c21f3a918f452;
  static readonly SCHEMA: string = '{"root":"Reading","types":{"Reading":{"size":32,"version":1,"fields":[{"name":"sensor","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"value","offset":8,"shape":{"kind":"number","type":"f64"}},{"name":"kind","offset":16,"shape":{"kind":"oneOf","type":"oneOf(\\"rain\\"|\\"wind\\"|\\"warmth\\")","values":["rain","wind","warmth"]}},{"name":"checked","offset":20,"shape":{"kind":"optional","type":"optional(u32)","of":{"kind":"number","type":"u32"},"at":4}}]}}}';

  /** The root of an object, where it is of this type. */
  static root(object: Obj | null): Reading | null {
    return changetype<Reading | null>(rootOf(object === null ? 0 : object.base, Reading.FINGERPRINT));
  }

  /** A new object whose root is of this type, all zeros; in a transaction. `reserve`: bytes to keep room for. */
  static create(reserve: u32 = 0): Reading | null {
    const object = Obj.create(reserve);
    if (object === null) return null;
    const at = object.allocate(Reading.SIZE);
    return at == 0 || failed(object.setRoot(at, Reading.SCHEMA)) ? null : changetype<Reading>(at);
  }

  /** A new one, all zeros, in the object that `near` lies in; in a transaction. */
  static near(near: usize): Reading | null {
    return changetype<Reading | null>(allocate(near, Reading.SIZE));
  }

  /** Where it lies. */
  @inline get $at(): usize { return changetype<usize>(this); }

  // Reading.sensor: text, at 0
  @inline get sensor(): string { return textOf(changetype<usize>(this) + 0); }
  @inline set sensor(value: string) { failed(setText(changetype<usize>(this) + 0, value)); }

  // Reading.value: f64, at 8
  @inline get value(): f64 { return load<f64>(changetype<usize>(this) + 8); }
  @inline set value(value: f64) { store<f64>(changetype<usize>(this) + 8, value); }

  // Reading.kind: oneOf("rain"|"wind"|"warmth"), at 16
  @inline get kind(): u8 { return load<u8>(changetype<usize>(this) + 16); }
  @inline set kind(value: u8) { store<u8>(changetype<usize>(this) + 16, value); }

  // Reading.checked: optional(u32), at 20
  @inline get hasChecked(): bool { return load<u8>(changetype<usize>(this) + 20) != 0; }
  @inline set hasChecked(value: bool) { store<u8>(changetype<usize>(this) + 20, value ? 1 : 0); }
  @inline get checked(): u32 { return load<u32>(changetype<usize>(this) + 20 + 4); }
  @inline set checked(value: u32) { store<u8>(changetype<usize>(this) + 20, 1); store<u32>(changetype<usize>(this) + 20 + 4, value); }
}

/** What Reading.kind may be. */
export namespace ReadingKind {
  export const rain: u8 = 0;
  export const wind: u8 = 1;
  export const warmth: u8 = 2;
}

/** 176 bytes, version 1. An address: it is good while its object is mapped. */
@unmanaged
export class Station {
  static readonly SIZE: u32 = 176;
  static readonly FINGERPRINT: u64 = 0x4800d341137478a9;
  static readonly SCHEMA: string = '{"root":"Station","types":{"Station":{"size":176,"version":1,"fields":[{"name":"name","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"turns","offset":8,"shape":{"kind":"number","type":"u32"}},{"name":"place","offset":12,"shape":{"kind":"struct","type":"Place"}},{"name":"readings","offset":24,"shape":{"kind":"collection","type":"Vec<Reading@1{sensor:text;value:f64;kind:oneOf(\\"rain\\"|\\"wind\\"|\\"warmth\\");checked:optional(u32)}>","collection":"Vec","size":48,"value":{"kind":"struct","type":"Reading"}}},{"name":"latest","offset":72,"shape":{"kind":"collection","type":"HashMap<text,f64>","collection":"HashMap","size":48,"key":"text","value":{"kind":"number","type":"f64"}}},{"name":"writers","offset":120,"shape":{"kind":"collection","type":"HashMap<text,u32>","collection":"HashMap","size":48,"key":"text","value":{"kind":"number","type":"u32"}}},{"name":"next","offset":168,"shape":{"kind":"ref","type":"Station"}}]},"Place":{"size":8,"version":1,"fields":[{"name":"x","offset":0,"shape":{"kind":"number","type":"f32"}},{"name":"y","offset":4,"shape":{"kind":"number","type":"f32"}}]},"Reading":{"size":32,"version":1,"fields":[{"name":"sensor","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"value","offset":8,"shape":{"kind":"number","type":"f64"}},{"name":"kind","offset":16,"shape":{"kind":"oneOf","type":"oneOf(\\"rain\\"|\\"wind\\"|\\"warmth\\")","values":["rain","wind","warmth"]}},{"name":"checked","offset":20,"shape":{"kind":"optional","type":"optional(u32)","of":{"kind":"number","type":"u32"},"at":4}}]}}}';

  /** The root of an object, where it is of this type. */
  static root(object: Obj | null): Station | null {
    return changetype<Station | null>(rootOf(object === null ? 0 : object.base, Station.FINGERPRINT));
  }

  /** A new object whose root is of this type, all zeros; in a transaction. `reserve`: bytes to keep room for. */
  static create(reserve: u32 = 0): Station | null {
    const object = Obj.create(reserve);
    if (object === null) return null;
    const at = object.allocate(Station.SIZE);
    return at == 0 || failed(object.setRoot(at, Station.SCHEMA)) ? null : changetype<Station>(at);
  }

  /** A new one, all zeros, in the object that `near` lies in; in a transaction. */
  static near(near: usize): Station | null {
    return changetype<Station | null>(allocate(near, Station.SIZE));
  }

  /** Where it lies. */
  @inline get $at(): usize { return changetype<usize>(this); }

  // Station.name: text, at 0
  @inline get name(): string { return textOf(changetype<usize>(this) + 0); }
  @inline set name(value: string) { failed(setText(changetype<usize>(this) + 0, value)); }

  // Station.turns: u32, at 8
  @inline get turns(): u32 { return load<u32>(changetype<usize>(this) + 8); }
  @inline set turns(value: u32) { store<u32>(changetype<usize>(this) + 8, value); }

  // Station.place: Place, at 12
  @inline get place(): Place { return changetype<Place>(changetype<usize>(this) + 12); }

  // Station.readings: collection, at 24
  @inline get readings(): VecOfStructs<Reading> { return new VecOfStructs<Reading>(changetype<usize>(this) + 24, 'Vec<Reading@1{sensor:text;value:f64;kind:oneOf("rain"|"wind"|"warmth");checked:optional(u32)}>'); }

  // Station.latest: HashMap<text,f64>, at 72
  @inline get latest(): MapOf<string, f64> { return new MapOf<string, f64>(changetype<usize>(this) + 72, 'HashMap<text,f64>'); }

  // Station.writers: HashMap<text,u32>, at 120
  @inline get writers(): MapOf<string, u32> { return new MapOf<string, u32>(changetype<usize>(this) + 120, 'HashMap<text,u32>'); }

  // Station.next: Station, at 168
  @inline get next(): Station | null { return changetype<Station | null>(follow(changetype<usize>(this) + 168)); }
  @inline set next(value: Station | null) { failed(setReference(changetype<usize>(this) + 168, changetype<usize>(value))); }
}
