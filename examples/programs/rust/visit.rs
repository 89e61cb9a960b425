// Reads a station, adds a reading to it, and says what there is.
#![no_std]
#![no_main]

mod layouts;

use core::fmt::Write;
use layouts::{Reading, Station};
use twizzler::{must, open, print, sys, transact, Error, Output, READ, WRITE};

const ME: &str = "Rust";
static mut STATION: *mut Station = core::ptr::null_mut();

unsafe fn add(station: *mut Station) -> Result<(), Error> {
    (*station).turns += 1;
    (*station).place.x += 0.5;
    let reading: *mut Reading = Station::readings(station)?.push()?;
    Reading::set_sensor(reading, ME)?;
    (*reading).value = (*station).turns as f64;
    (*reading).kind = Reading::KIND_WIND;
    (*reading).checked.present = 1;
    (*reading).checked.value = (*station).turns;
    let latest: *mut f64 = Station::latest(station)?.insert(ME.as_bytes())?;
    *latest = (*reading).value;
    let times: *mut u32 = Station::writers(station)?.insert(ME.as_bytes())?;
    *times += 1;
    if Station::next(station)?.is_null() {
        Station::set_next(station, station)?;
    }
    Ok(())
}

extern "C" fn visit(_: u32) -> i32 {
    match unsafe { add(STATION) } {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

unsafe fn say(station: *mut Station) -> Result<(), Error> {
    let readings = Station::readings(station)?;
    let (mut sum, mut latest) = (0.0, 0.0);
    for i in 0..readings.size() {
        let reading: *mut Reading = readings.at(i)?;
        sum += (*reading).value;
    }
    let cursor = sys::cursor_open(Station::latest(station)?.0, core::ptr::null(), 0) as u32;
    let mut key = [0u8; 64];
    while sys::cursor_next(cursor, key.as_mut_ptr(), 64) >= 0 {
        latest += *(sys::cursor_value(cursor) as usize as *const f64);
    }
    let name = Station::name(station);
    let lost = if Station::next(station)? == station { "" } else { ", lost" };
    let _ = write!(Output, "{}: {} turns, sum {}, latest {}{}, by", name, (*station).turns, sum as i64, latest as i64, lost);
    for i in 0..readings.size() {
        let reading: *mut Reading = readings.at(i)?;
        print(" ");
        print(Reading::sensor(reading));
    }
    print("\n");
    Ok(())
}

#[no_mangle]
pub extern "C" fn main() -> i32 {
    let mut path = [0u8; 256];
    let length = unsafe { sys::argument(0, path.as_mut_ptr(), 256) }.clamp(0, 256) as usize;
    let path = core::str::from_utf8(&path[..length]).unwrap_or("");
    unsafe {
        STATION = match Station::root(must(open(path, READ | WRITE))) {
            Some(station) => station,
            None => return 1,
        };
        must(transact(visit, 0));
        must(say(STATION));
    }
    0
}
