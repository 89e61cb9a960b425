// Reads a station, adds a reading to it, and says what there is.
#include "layouts.h"

#define ME "C"
static Station *station;

static int32_t visit(uint32_t unused) {
  (void)unused;
  station->turns += 1;
  station->place.x += 0.5f;
  Reading *reading = twz_push(Station_readings(station));
  if (reading == NULL) return -1;
  twz_must(twz_set_text(&reading->sensor, ME));
  reading->value = station->turns;
  reading->kind = Reading_kind_wind;
  reading->checked.present = 1;
  reading->checked.value = station->turns;
  double *latest = twz_insert(Station_latest(station), ME, sizeof ME - 1);
  uint32_t *times = twz_insert(Station_writers(station), ME, sizeof ME - 1);
  if (latest == NULL || times == NULL) return -1;
  *latest = reading->value;
  *times += 1;
  if (Station_next(station) == NULL) twz_must(Station_set_next(station, station));
  return 0;
}

TWZ_MAIN {
  char path[256];
  int64_t length = twz_argument(0, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  station = Station_root(twz_open(path, TWZ_READ | TWZ_WRITE));
  if (station == NULL) {
    twz_print("there is no station\n");
    return 1;
  }
  twz_must(twz_run(visit, 0));

  uint32_t readings = Station_readings(station);
  int64_t count = twz_collection_size(readings);
  double sum = 0, latest = 0;
  for (int64_t i = 0; i < count; i++) sum += ((Reading *)twz_at(readings, (uint32_t)i))->value;
  uint32_t cursor = (uint32_t)twz_must(twz_cursor_open(Station_latest(station), NULL, 0));
  char key[64];
  while (twz_cursor_next(cursor, key, sizeof key) >= 0) latest += *(double *)(uintptr_t)twz_must(twz_cursor_value(cursor));

  twz_print_slice(Station_name(station));
  twz_print(": ");
  twz_print_number(station->turns);
  twz_print(" turns, sum ");
  twz_print_number((int64_t)sum);
  twz_print(", latest ");
  twz_print_number((int64_t)latest);
  if (Station_next(station) != station) twz_print(", lost");
  twz_print(", by");
  for (int64_t i = 0; i < count; i++) {
    twz_print(" ");
    twz_print_slice(Reading_sensor(twz_at(readings, (uint32_t)i)));
  }
  twz_print("\n");
  return 0;
}
