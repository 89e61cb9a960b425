/** A first program: what `twz build --init` writes. It counts how often it ran, in an object that any program may read. */
import { TwzError } from '../../abi/errors.ts';
import { fileBytes, joined, partsOf, writeFileWhole } from '../../host/tools.ts';
import type { Language } from '../sdk/syscall-text.ts';

const TYPES = `// What the program and the host share. Programs get it by \`twz sdk\`.
import { struct, text, u32 } from 'twizzler';

export const Counter = struct('Counter', { times: u32, last: text });
`;

const AS = `// program NAME
// gate times(): u32
import { Obj, argument, must, mustBe, print, transact } from 'twizzler';
import { Counter } from './layouts';

const PATH = '/NAME';

/** All that it stores happens, or none of it. */
function count(unused: u32): i32 {
  let counter = Counter.root(Obj.open(PATH));
  if (counter === null) {
    counter = mustBe(Counter.create(), 'create');
    must(mustBe(Obj.of(counter.$at)).name(PATH), 'name');
  }
  counter.times += 1;
  counter.last = argument(0);
  return counter.times;
}

export function main(): i32 {
  const times = must(transact(count), 'count');
  print('run number ' + times.toString());
  return 0;
}

/** Others may call this. */
export function times(): u32 {
  const counter = Counter.root(Obj.open(PATH));
  return counter === null ? 0 : counter.times;
}
`;

const C = `// program NAME
// gate times(): u32
#include "layouts.h"

#define PATH "/NAME"

/* All that it stores happens, or none of it. */
static int32_t count(uint32_t unused) {
  (void)unused;
  Counter *counter = Counter_root(twz_open(PATH, TWZ_READ | TWZ_WRITE));
  if (counter == NULL) {
    counter = Counter_create();
    twz_id id;
    if (counter == NULL || twz_object_at(counter, &id) < 0) return -1;
    twz_must(twz_name_set(PATH, sizeof PATH - 1, &id));
  }
  counter->times += 1;
  twz_must(twz_set_text(&counter->last, "C"));
  return (int32_t)counter->times;
}

TWZ_MAIN {
  int64_t times = twz_must(twz_run(count, 0));
  twz_print("run number ");
  twz_print_number(times);
  twz_print("\\n");
  return 0;
}

/* Others may call this. */
TWZ_EXPORT("times") uint32_t times(void) {
  Counter *counter = Counter_root(twz_open(PATH, TWZ_READ));
  return counter == NULL ? 0 : counter->times;
}
`;

const RUST = `// program NAME
// gate times(): u32
#![no_std]
#![no_main]

mod layouts;

use core::fmt::Write;
use layouts::Counter;
use twizzler::{checked, must, open, sys, transact, Error, Id, Output, READ, WRITE};

const PATH: &str = "/NAME";

unsafe fn counter() -> Result<*mut Counter, Error> {
    if let Ok(object) = open(PATH, READ | WRITE) {
        if let Some(counter) = Counter::root(object) {
            return Ok(counter);
        }
    }
    let made = Counter::create()?;
    let mut id = Id::default();
    checked(sys::object_at(made as *const u8, &mut id))?;
    checked(sys::name_set(PATH.as_ptr(), PATH.len() as u32, &id))?;
    Ok(made)
}

/// All that it stores happens, or none of it.
extern "C" fn count(_: u32) -> i32 {
    unsafe {
        match counter() {
            Ok(counter) => {
                (*counter).times += 1;
                must(Counter::set_last(counter, "Rust"));
                (*counter).times as i32
            }
            Err(_) => -1,
        }
    }
}

#[no_mangle]
pub extern "C" fn main() -> i32 {
    let times = must(transact(count, 0));
    let _ = write!(Output, "run number {}\\n", times);
    0
}

/// Others may call this.
#[no_mangle]
pub extern "C" fn times() -> u32 {
    unsafe {
        match open(PATH, READ).ok().and_then(|object| Counter::root(object)) {
            Some(counter) => (*counter).times,
            None => 0,
        }
    }
}
`;

const PROGRAMS: Readonly<Record<Language, readonly [file: string, text: string]>> = {
  as: ['program.ts', AS],
  c: ['program.c', C],
  rust: ['program.rs', RUST],
};

/** Writes a directory with the structs and the program. Gives the names of what was written. Throws NotEmpty. */
export function writeFirst(directory: string, language: Language): string[] {
  const parts = partsOf(directory);
  const name = parts.name + parts.extension;
  if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(name))
    throw new TwzError('InvalidArgument', `"${name}" cannot be the name of a first program: letters, digits, - and _ can`, { name });
  const [file, text] = PROGRAMS[language];
  const files = { 'types.ts': TYPES, [file]: text.replaceAll('NAME', name) };
  for (const each of Object.keys(files))
    if (fileBytes(joined(directory, each)) !== undefined)
      throw new TwzError('NotEmpty', `${joined(directory, each)} is there already`, { file: each });
  return Object.entries(files).map(([each, content]) => {
    writeFileWhole(joined(directory, each), new TextEncoder().encode(content));
    return joined(directory, each);
  });
}
