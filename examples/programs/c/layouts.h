/* Made by `twz sdk` from the structs of a TypeScript module. Do not change it: change those. */
#ifndef LAYOUTS_H_INCLUDED
#define LAYOUTS_H_INCLUDED
#include "twizzler.h"

typedef struct Place Place;
typedef struct Reading Reading;
typedef struct Station Station;

/* 8 bytes, version 1. */
struct Place {
  float x;
  float y;
};
_Static_assert(sizeof(Place) == 8 && _Alignof(Place) == 4, "Place: another layout");
_Static_assert(offsetof(Place, x) == 0, "Place.x: another offset");
_Static_assert(offsetof(Place, y) == 4, "Place.y: another offset");
#define Place_FINGERPRINT 0xbe5258c8ce05a687ull
#define Place_SCHEMA "{\"root\":\"Place\",\"types\":{\"Place\":{\"size\":8,\"version\":1,\"fields\":[{\"name\":\"x\",\"offset\":0,\"shape\":{\"kind\":\"number\",\"type\":\"f32\"}},{\"name\":\"y\",\"offset\":4,\"shape\":{\"kind\":\"number\",\"type\":\"f32\"}}]}}}"
/* The root of a mapped object, where it is of this type. */
static inline Place *Place_root(const void *object) { return (Place *)twz_root_of(object, Place_FINGERPRINT); }
/* A new object whose root is of this type, all zeros; in a transaction. */
static inline Place *Place_create(void) { return (Place *)twz_make(sizeof(Place), Place_SCHEMA); }
/* A new one, all zeros, in the object that `near` lies in; in a transaction. */
static inline Place *Place_near(const void *near) { return (Place *)twz_new(near, sizeof(Place)); }

/* 32 bytes, version 1. */
struct Reading {
  twz_text sensor;
  double value;
  uint8_t kind;
  struct { uint8_t present; uint32_t value; } checked;
};
_Static_assert(sizeof(Reading) == 32 && _Alignof(Reading) == 8, "Reading: another layout");
_Static_assert(offsetof(Reading, sensor) == 0, "Reading.sensor: another offset");
_Static_assert(offsetof(Reading, value) == 8, "Reading.value: another offset");
_Static_assert(offsetof(Reading, kind) == 16, "Reading.kind: another offset");
_Static_assert(offsetof(Reading, checked) == 20, "Reading.checked: another offset");
#define Reading_FINGERPRINT 0xa72c21f3a918f452ull
#define Reading_SCHEMA "{\"root\":\"Reading\",\"types\":{\"Reading\":{\"size\":32,\"version\":1,\"fields\":[{\"name\":\"sensor\",\"offset\":0,\"shape\":{\"kind\":\"text\",\"type\":\"text\"}},{\"name\":\"value\",\"offset\":8,\"shape\":{\"kind\":\"number\",\"type\":\"f64\"}},{\"name\":\"kind\",\"offset\":16,\"shape\":{\"kind\":\"oneOf\",\"type\":\"oneOf(\\\"rain\\\"|\\\"wind\\\"|\\\"warmth\\\")\",\"values\":[\"rain\",\"wind\",\"warmth\"]}},{\"name\":\"checked\",\"offset\":20,\"shape\":{\"kind\":\"optional\",\"type\":\"optional(u32)\",\"of\":{\"kind\":\"number\",\"type\":\"u32\"},\"at\":4}}]}}}"
/* The root of a mapped object, where it is of this type. */
static inline Reading *Reading_root(const void *object) { return (Reading *)twz_root_of(object, Reading_FINGERPRINT); }
/* A new object whose root is of this type, all zeros; in a transaction. */
static inline Reading *Reading_create(void) { return (Reading *)twz_make(sizeof(Reading), Reading_SCHEMA); }
/* A new one, all zeros, in the object that `near` lies in; in a transaction. */
static inline Reading *Reading_near(const void *near) { return (Reading *)twz_new(near, sizeof(Reading)); }
static inline twz_slice Reading_sensor(const Reading *self) { return twz_text_of(&self->sensor); }
enum { Reading_kind_rain = 0, Reading_kind_wind = 1, Reading_kind_warmth = 2 };

/* 176 bytes, version 1. */
struct Station {
  twz_text name;
  uint32_t turns;
  Place place;
  _Alignas(8) uint8_t readings[48];
  _Alignas(8) uint8_t latest[48];
  _Alignas(8) uint8_t writers[48];
  _Alignas(8) twz_pointer next;
};
_Static_assert(sizeof(Station) == 176 && _Alignof(Station) == 8, "Station: another layout");
_Static_assert(offsetof(Station, name) == 0, "Station.name: another offset");
_Static_assert(offsetof(Station, turns) == 8, "Station.turns: another offset");
_Static_assert(offsetof(Station, place) == 12, "Station.place: another offset");
_Static_assert(offsetof(Station, readings) == 24, "Station.readings: another offset");
_Static_assert(offsetof(Station, latest) == 72, "Station.latest: another offset");
_Static_assert(offsetof(Station, writers) == 120, "Station.writers: another offset");
_Static_assert(offsetof(Station, next) == 168, "Station.next: another offset");
#define Station_FINGERPRINT 0x4800d341137478a9ull
#define Station_SCHEMA "{\"root\":\"Station\",\"types\":{\"Station\":{\"size\":176,\"version\":1,\"fields\":[{\"name\":\"name\",\"offset\":0,\"shape\":{\"kind\":\"text\",\"type\":\"text\"}},{\"name\":\"turns\",\"offset\":8,\"shape\":{\"kind\":\"number\",\"type\":\"u32\"}},{\"name\":\"place\",\"offset\":12,\"shape\":{\"kind\":\"struct\",\"type\":\"Place\"}},{\"name\":\"readings\",\"offset\":24,\"shape\":{\"kind\":\"collection\",\"type\":\"Vec<Reading@1{sensor:text;value:f64;kind:oneOf(\\\"rain\\\"|\\\"wind\\\"|\\\"warmth\\\");checked:optional(u32)}>\",\"collection\":\"Vec\",\"size\":48,\"value\":{\"kind\":\"struct\",\"type\":\"Reading\"}}},{\"name\":\"latest\",\"offset\":72,\"shape\":{\"kind\":\"collection\",\"type\":\"HashMap<text,f64>\",\"collection\":\"HashMap\",\"size\":48,\"key\":\"text\",\"value\":{\"kind\":\"number\",\"type\":\"f64\"}}},{\"name\":\"writers\",\"offset\":120,\"shape\":{\"kind\":\"collection\",\"type\":\"HashMap<text,u32>\",\"collection\":\"HashMap\",\"size\":48,\"key\":\"text\",\"value\":{\"kind\":\"number\",\"type\":\"u32\"}}},{\"name\":\"next\",\"offset\":168,\"shape\":{\"kind\":\"ref\",\"type\":\"Station\"}}]},\"Place\":{\"size\":8,\"version\":1,\"fields\":[{\"name\":\"x\",\"offset\":0,\"shape\":{\"kind\":\"number\",\"type\":\"f32\"}},{\"name\":\"y\",\"offset\":4,\"shape\":{\"kind\":\"number\",\"type\":\"f32\"}}]},\"Reading\":{\"size\":32,\"version\":1,\"fields\":[{\"name\":\"sensor\",\"offset\":0,\"shape\":{\"kind\":\"text\",\"type\":\"text\"}},{\"name\":\"value\",\"offset\":8,\"shape\":{\"kind\":\"number\",\"type\":\"f64\"}},{\"name\":\"kind\",\"offset\":16,\"shape\":{\"kind\":\"oneOf\",\"type\":\"oneOf(\\\"rain\\\"|\\\"wind\\\"|\\\"warmth\\\")\",\"values\":[\"rain\",\"wind\",\"warmth\"]}},{\"name\":\"checked\",\"offset\":20,\"shape\":{\"kind\":\"optional\",\"type\":\"optional(u32)\",\"of\":{\"kind\":\"number\",\"type\":\"u32\"},\"at\":4}}]}}}"
/* The root of a mapped object, where it is of this type. */
static inline Station *Station_root(const void *object) { return (Station *)twz_root_of(object, Station_FINGERPRINT); }
/* A new object whose root is of this type, all zeros; in a transaction. */
static inline Station *Station_create(void) { return (Station *)twz_make(sizeof(Station), Station_SCHEMA); }
/* A new one, all zeros, in the object that `near` lies in; in a transaction. */
static inline Station *Station_near(const void *near) { return (Station *)twz_new(near, sizeof(Station)); }
static inline twz_slice Station_name(const Station *self) { return twz_text_of(&self->name); }
static inline uint32_t Station_readings(const Station *self) { return twz_collection(self->readings, "Vec<Reading@1{sensor:text;value:f64;kind:oneOf(\"rain\"|\"wind\"|\"warmth\");checked:optional(u32)}>"); }
static inline uint32_t Station_latest(const Station *self) { return twz_collection(self->latest, "HashMap<text,f64>"); }
static inline uint32_t Station_writers(const Station *self) { return twz_collection(self->writers, "HashMap<text,u32>"); }
static inline Station *Station_next(const Station *self) { return (Station *)twz_follow(&self->next); }
static inline int64_t Station_set_next(Station *self, const Station *to) { return twz_refer_to(&self->next, to); }

#endif
