// Made by `twz sdk` from the structs of a TypeScript module. Do not change it: change those.
#![allow(non_snake_case, dead_code, unused_imports)]
use twizzler::{Collection, Optional, Pointer, Result, Text};

/// 8 bytes, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    pub x: f32,
    pub y: f32,
}
const _: () = assert!(core::mem::size_of::<Place>() == 8 && core::mem::align_of::<Place>() == 4);

impl Place {
    pub const FINGERPRINT: u64 = 0xbe5258c8ce05a687;
    pub const SCHEMA: &'static str = r#"{"root":"Place","types":{"Place":{"size":8,"version":1,"fields":[{"name":"x","offset":0,"shape":{"kind":"number","type":"f32"}},{"name":"y","offset":4,"shape":{"kind":"number","type":"f32"}}]}}}"#;

    /// The root of a mapped object, where it is of this type.
    ///
    /// # Safety
    /// An object is mapped there, for reading at least.
    pub unsafe fn root(object: *mut u8) -> Option<*mut Self> {
        twizzler::root_of(object, Self::FINGERPRINT)
    }

    /// A new object whose root is of this type, all zeros; in a transaction.
    pub fn create() -> Result<*mut Self> {
        twizzler::make(Self::SCHEMA)
    }
}

/// 32 bytes, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Reading {
    pub sensor: Text,
    pub value: f64,
    pub kind: u8,
    pub checked: Optional<u32>,
}
const _: () = assert!(core::mem::size_of::<Reading>() == 32 && core::mem::align_of::<Reading>() == 8);

impl Reading {
    pub const FINGERPRINT: u64 = 0xa72c21f3a918f452;
    pub const SCHEMA: &'static str = r#"{"root":"Reading","types":{"Reading":{"size":32,"version":1,"fields":[{"name":"sensor","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"value","offset":8,"shape":{"kind":"number","type":"f64"}},{"name":"kind","offset":16,"shape":{"kind":"oneOf","type":"oneOf(\"rain\"|\"wind\"|\"warmth\")","values":["rain","wind","warmth"]}},{"name":"checked","offset":20,"shape":{"kind":"optional","type":"optional(u32)","of":{"kind":"number","type":"u32"},"at":4}}]}}}"#;

    /// The root of a mapped object, where it is of this type.
    ///
    /// # Safety
    /// An object is mapped there, for reading at least.
    pub unsafe fn root(object: *mut u8) -> Option<*mut Self> {
        twizzler::root_of(object, Self::FINGERPRINT)
    }

    /// A new object whose root is of this type, all zeros; in a transaction.
    pub fn create() -> Result<*mut Self> {
        twizzler::make(Self::SCHEMA)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn sensor<'a>(this: *const Self) -> &'a str {
        twizzler::text_of(core::ptr::addr_of!((*this).sensor))
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn set_sensor(this: *mut Self, value: &str) -> Result<()> {
        twizzler::set_text(core::ptr::addr_of_mut!((*this).sensor), value)
    }
    pub const KIND_RAIN: u8 = 0;
    pub const KIND_WIND: u8 = 1;
    pub const KIND_WARMTH: u8 = 2;
}

/// 176 bytes, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Station {
    pub name: Text,
    pub turns: u32,
    pub place: Place,
    pub readings: [u64; 6],
    pub latest: [u64; 6],
    pub writers: [u64; 6],
    pub next: Pointer,
}
const _: () = assert!(core::mem::size_of::<Station>() == 176 && core::mem::align_of::<Station>() == 8);

impl Station {
    pub const FINGERPRINT: u64 = 0x4800d341137478a9;
    pub const SCHEMA: &'static str = r#"{"root":"Station","types":{"Station":{"size":176,"version":1,"fields":[{"name":"name","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"turns","offset":8,"shape":{"kind":"number","type":"u32"}},{"name":"place","offset":12,"shape":{"kind":"struct","type":"Place"}},{"name":"readings","offset":24,"shape":{"kind":"collection","type":"Vec<Reading@1{sensor:text;value:f64;kind:oneOf(\"rain\"|\"wind\"|\"warmth\");checked:optional(u32)}>","collection":"Vec","size":48,"value":{"kind":"struct","type":"Reading"}}},{"name":"latest","offset":72,"shape":{"kind":"collection","type":"HashMap<text,f64>","collection":"HashMap","size":48,"key":"text","value":{"kind":"number","type":"f64"}}},{"name":"writers","offset":120,"shape":{"kind":"collection","type":"HashMap<text,u32>","collection":"HashMap","size":48,"key":"text","value":{"kind":"number","type":"u32"}}},{"name":"next","offset":168,"shape":{"kind":"ref","type":"Station"}}]},"Place":{"size":8,"version":1,"fields":[{"name":"x","offset":0,"shape":{"kind":"number","type":"f32"}},{"name":"y","offset":4,"shape":{"kind":"number","type":"f32"}}]},"Reading":{"size":32,"version":1,"fields":[{"name":"sensor","offset":0,"shape":{"kind":"text","type":"text"}},{"name":"value","offset":8,"shape":{"kind":"number","type":"f64"}},{"name":"kind","offset":16,"shape":{"kind":"oneOf","type":"oneOf(\"rain\"|\"wind\"|\"warmth\")","values":["rain","wind","warmth"]}},{"name":"checked","offset":20,"shape":{"kind":"optional","type":"optional(u32)","of":{"kind":"number","type":"u32"},"at":4}}]}}}"#;

    /// The root of a mapped object, where it is of this type.
    ///
    /// # Safety
    /// An object is mapped there, for reading at least.
    pub unsafe fn root(object: *mut u8) -> Option<*mut Self> {
        twizzler::root_of(object, Self::FINGERPRINT)
    }

    /// A new object whose root is of this type, all zeros; in a transaction.
    pub fn create() -> Result<*mut Self> {
        twizzler::make(Self::SCHEMA)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn name<'a>(this: *const Self) -> &'a str {
        twizzler::text_of(core::ptr::addr_of!((*this).name))
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn set_name(this: *mut Self, value: &str) -> Result<()> {
        twizzler::set_text(core::ptr::addr_of_mut!((*this).name), value)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn readings(this: *const Self) -> Result<Collection> {
        Collection::open(core::ptr::addr_of!((*this).readings), r#"Vec<Reading@1{sensor:text;value:f64;kind:oneOf("rain"|"wind"|"warmth");checked:optional(u32)}>"#)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn latest(this: *const Self) -> Result<Collection> {
        Collection::open(core::ptr::addr_of!((*this).latest), r#"HashMap<text,f64>"#)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn writers(this: *const Self) -> Result<Collection> {
        Collection::open(core::ptr::addr_of!((*this).writers), r#"HashMap<text,u32>"#)
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn next(this: *const Self) -> Result<*mut Station> {
        twizzler::follow(core::ptr::addr_of!((*this).next))
    }

    /// # Safety
    /// It lies in a mapped object.
    pub unsafe fn set_next(this: *mut Self, to: *mut Station) -> Result<()> {
        twizzler::refer(core::ptr::addr_of_mut!((*this).next), to)
    }
}
