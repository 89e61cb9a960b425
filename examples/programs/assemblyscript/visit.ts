// Reads a station, adds a reading to it, and says what there is. The station is made where there is none.
import { Obj, argument, must, mustBe, print, transact } from 'twizzler';
import { ReadingKind, Station } from './layouts';

const ME = 'AssemblyScript';
let path = '/station';
let station: usize = 0;

function create(unused: u32): i32 {
  const made = mustBe(Station.create(), 'create');
  made.name = 'made by ' + ME;
  must(mustBe(Obj.of(made.$at), 'map').name(path), 'name');
  return 0;
}

function visit(unused: u32): i32 {
  const here = changetype<Station>(station);
  here.turns += 1;
  here.place.x += 0.5;
  const reading = mustBe(here.readings.push(), 'push');
  reading.sensor = ME;
  reading.value = <f64>here.turns;
  reading.kind = ReadingKind.wind;
  reading.checked = here.turns;
  must(here.latest.set(ME, reading.value), 'latest');
  const writers = here.writers;
  must(writers.set(ME, writers.get(ME, 0) + 1), 'writers');
  if (here.next === null) here.next = here;
  return 0;
}

export function main(): i32 {
  if (argument(0).length > 0) path = argument(0);
  if (Obj.find(path) === null) must(transact(create), 'transact');
  station = changetype<usize>(mustBe(Station.root(Obj.open(path)), path + ' is no station'));
  must(transact(visit), 'visit');

  const here = changetype<Station>(station);
  let sum: f64 = 0;
  let sensors = '';
  const readings = here.readings;
  for (let i = 0; i < readings.length; i++) {
    const reading = mustBe(readings.get(i), 'reading');
    sum += reading.value;
    sensors += (i == 0 ? '' : ' ') + reading.sensor;
  }
  let latest: f64 = 0;
  for (let c = here.latest.cursor(); c.next(); ) latest += c.value<f64>();
  const again = here.next !== null && changetype<Station>(here.next).turns == here.turns;
  print(
    here.name + ': ' + here.turns.toString() + ' turns, sum ' + (<i64>sum).toString() + ', latest ' + (<i64>latest).toString() +
      (again ? '' : ', lost') + ', by ' + sensors,
  );
  return 0;
}
