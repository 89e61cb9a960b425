//! Twizzler for programs in Rust, without the standard library. `twz build` compiles this as the crate `twizzler`. A program begins in `main`,
//! which gives its exit status:
//!
//! ```text
//! #![no_std]
//! #![no_main]
//! use twizzler::print;
//!
//! #[no_mangle]
//! pub extern "C" fn main() -> i32 {
//!     print("hello\n");
//!     0
//! }
//! ```
#![no_std]

#[path = "syscalls.rs"]
pub mod sys;

pub use sys::{errors, Id};

pub const READ: u32 = 1;
pub const WRITE: u32 = 2;
pub const OWNED: u32 = 1;
pub const VOLATILE: u32 = 3;
pub const SHARED: u32 = 4;

/// The code of an error, as `errors` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(pub i64);

pub type Result<T> = core::result::Result<T, Error>;

/// What a syscall gave. Pointers use all 64 bits, but for offsets that no object has.
pub fn checked(result: i64) -> Result<i64> {
    if (-0xffff..0).contains(&result) {
        Err(Error(-result))
    } else {
        Ok(result)
    }
}

fn place<T>(result: i64) -> Result<*mut T> {
    checked(result).map(|at| at as usize as *mut T)
}

/// A field of text or bytes: a block in the same object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    pub offset: u32,
    pub length: u32,
}

/// A field that refers to a place: an offset in the lower 40 bits, a number of the object's table of foreign objects in the upper 24.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Pointer {
    pub low: u32,
    pub high: u32,
}

/// A value that may be absent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Optional<T> {
    pub present: u8,
    pub value: T,
}

// --- the program itself -----------------------------------------------------------------------------------------------------------

fn write_all(stream: u32, mut data: &[u8]) {
    while !data.is_empty() {
        let taken = unsafe { sys::write(stream, data.as_ptr(), data.len() as u32) };
        if taken <= 0 {
            return;
        }
        data = data.get(taken as usize..).unwrap_or(&[]);
    }
}

pub fn print(text: &str) {
    write_all(1, text.as_bytes());
}

pub fn print_error(text: &str) {
    write_all(2, text.as_bytes());
}

/// For `write!`: standard output.
pub struct Output;

impl core::fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        print(text);
        Ok(())
    }
}

pub fn exit(code: i32) -> ! {
    unsafe { sys::exit(code) }
}

/// What there is; for an error the program ends, with its text.
pub fn must<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => {
            let mut text = [0u8; 512];
            let length = unsafe { sys::error(text.as_mut_ptr(), text.len() as u32) };
            write_all(2, &text[..(length.max(0) as usize).min(text.len())]);
            print_error("\n");
            exit(1)
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    print_error("aborted: a check failed\n");
    exit(134)
}

// --- objects and pointers ---------------------------------------------------------------------------------------------------------

/// The first byte of the object of that name, mapped.
pub fn open(path: &str, rights: u32) -> Result<*mut u8> {
    let mut id = Id::default();
    unsafe {
        checked(sys::name_find(path.as_ptr(), path.len() as u32, &mut id))?;
        place(sys::object_map(&id, rights))
    }
}

/// The object that was looked at last.
static mut NEAR: (usize, usize) = (0, 0);

/// Must be called after `object_unmap`; `transact` does.
pub fn forget() {
    unsafe { NEAR = (0, 0) }
}

/// The first byte of the object that a place lies in; 0 where none is mapped there.
pub fn base<T>(at: *const T) -> usize {
    unsafe {
        let (near, size) = NEAR;
        if (at as usize).wrapping_sub(near) < size {
            return near;
        }
        let mut id = Id::default();
        let offset = match checked(sys::object_at(at as *const u8, &mut id)) {
            Ok(offset) => offset as usize,
            Err(_) => return 0,
        };
        let base = at as usize - offset;
        let mut stat = [0u32; 8];
        let known = sys::object_stat(&id, stat.as_mut_ptr() as *mut u8, 32) > 0;
        NEAR = (base, if known { stat[0] as usize } else { 1 });
        base
    }
}

/// Where a stored pointer leads; null for null.
///
/// # Safety
/// `at` is a field of a mapped object.
pub unsafe fn follow<T>(at: *const Pointer) -> Result<*mut T> {
    let Pointer { low, high } = at.read();
    if high == 0 {
        return Ok(if low == 0 { core::ptr::null_mut() } else { (base(at) + low as usize) as *mut T });
    }
    place(sys::resolve(at as *const u8, ((high as u64) << 32 | low as u64) as i64, READ | WRITE))
}

/// Stores a pointer to a place, null for none; in a transaction.
///
/// # Safety
/// `at` is a field of a mapped object.
pub unsafe fn refer<T>(at: *mut Pointer, to: *mut T) -> Result<()> {
    let old = at.read();
    if to.is_null() {
        at.write(Pointer { low: 0, high: 0 });
    } else {
        let home = base(at);
        let offset = (to as usize).wrapping_sub(home);
        if home != 0 && offset < NEAR.1 {
            at.write(Pointer { low: offset as u32, high: 0 });
        } else {
            let pointer = checked(sys::refer(at as *const u8, to as *const u8))? as u64;
            at.write(Pointer { low: pointer as u32, high: (pointer >> 32) as u32 });
        }
    }
    if old.high >> 8 != 0 {
        checked(sys::unrefer(at as *const u8, ((old.high as u64) << 32 | old.low as u64) as i64))?;
    }
    Ok(())
}

/// The root of the object that is mapped at `object`, where its type has that fingerprint.
///
/// # Safety
/// An object is mapped there, for reading at least.
pub unsafe fn root_of<T>(object: *mut u8, fingerprint: u64) -> Option<*mut T> {
    if object.is_null() {
        return None;
    }
    match checked(sys::object_root_as(object, fingerprint as i64)) {
        Ok(root) if root != 0 => Some(root as usize as *mut T),
        _ => None,
    }
}

/// A zeroed block in the object that `near` lies in, in a transaction.
///
/// # Safety
/// `near` is a place in a mapped object.
pub unsafe fn allocate<N, T>(near: *const N) -> Result<*mut T> {
    let at = place(sys::allocate(near as *const u8, core::mem::size_of::<T>() as u32));
    forget();
    at
}

/// A new object, mapped, with a zeroed root of the type that the schema describes; in a transaction.
pub fn make<T>(schema: &str) -> Result<*mut T> {
    let mut id = Id::default();
    unsafe {
        checked(sys::object_create(OWNED, READ | WRITE, 0, &mut id))?;
        let object: *mut u8 = place(sys::object_map(&id, READ | WRITE))?;
        let root: *mut T = allocate(object)?;
        checked(sys::object_set_root(root as *const u8))?;
        checked(sys::object_set_types(root as *const u8, schema.as_ptr(), schema.len() as u32))?;
        Ok(root)
    }
}

/// The bytes of a field of text, where they lie.
///
/// # Safety
/// The field lies in a mapped object, and is not set while they are used.
pub unsafe fn bytes_of<'a>(field: *const Text) -> &'a [u8] {
    let Text { offset, length } = field.read();
    if length == 0 {
        return &[];
    }
    core::slice::from_raw_parts((base(field) + offset as usize) as *const u8, length as usize)
}

/// As `bytes_of`; empty where it is no UTF-8.
///
/// # Safety
/// As `bytes_of`.
pub unsafe fn text_of<'a>(field: *const Text) -> &'a str {
    core::str::from_utf8(bytes_of(field)).unwrap_or("")
}

/// Sets a field of text or bytes, in a transaction.
///
/// # Safety
/// The field lies in a mapped object.
pub unsafe fn set_text(field: *mut Text, value: &str) -> Result<()> {
    checked(sys::text_set(field as *const u8, value.as_ptr(), value.len() as u32)).map(|_| ())
}

/// Runs a function as a transaction: all its stores to objects happen, or none. It may be called again from the start. Where it gives less than
/// 0, nothing is changed.
pub fn transact(run: extern "C" fn(u32) -> i32, argument: u32) -> Result<i64> {
    forget();
    let result = unsafe { sys::transact(run, argument, 0) };
    forget();
    checked(result)
}

// --- collections ------------------------------------------------------------------------------------------------------------------

/// A collection, by its number.
#[derive(Clone, Copy)]
pub struct Collection(pub u32);

impl Collection {
    /// `kind`: as the schema of its object names it, such as "Vec<f64>".
    pub fn open<T>(at: *const T, kind: &str) -> Result<Collection> {
        let number = unsafe { sys::collection_open_as(at as *const u8, kind.as_ptr(), kind.len() as u32) };
        checked(number).map(|number| Collection(number as u32))
    }

    pub fn size(self) -> usize {
        unsafe { sys::collection_size(self.0) }.max(0) as usize
    }

    /// The value of a key where it lies, null where there is none.
    pub fn find<T>(self, key: &[u8]) -> Result<*mut T> {
        place(unsafe { sys::collection_find(self.0, key.as_ptr(), key.len() as u32) })
    }

    /// As `find`, and makes what is missing, of zeros; in a transaction.
    pub fn insert<T>(self, key: &[u8]) -> Result<*mut T> {
        place(unsafe { sys::collection_insert(self.0, key.as_ptr(), key.len() as u32) })
    }

    pub fn remove(self, key: &[u8]) -> Result<bool> {
        checked(unsafe { sys::collection_remove(self.0, key.as_ptr(), key.len() as u32) }).map(|was| was != 0)
    }

    /// An element where it lies.
    pub fn at<T>(self, index: usize) -> Result<*mut T> {
        place(unsafe { sys::collection_at(self.0, index as u32) })
    }

    /// A new element of zeros at the end, in a transaction.
    pub fn push<T>(self) -> Result<*mut T> {
        place(unsafe { sys::collection_push(self.0) })
    }

    pub fn close(self) {
        unsafe { sys::collection_close(self.0) };
    }
}

/// Memory for what is given to gates, so many bytes of it: a program with gates that take text or bytes has this once.
#[macro_export]
macro_rules! buffer {
    ($bytes:expr) => {
        #[no_mangle]
        pub extern "C" fn twz_buffer(length: u32) -> *mut u8 {
            static mut MEMORY: [u64; $bytes / 8] = [0; $bytes / 8];
            static mut USED: usize = 0;
            let taken = (length as usize + 15) & !15;
            if taken > $bytes {
                return core::ptr::null_mut();
            }
            unsafe {
                if taken > $bytes - USED {
                    USED = 0;
                }
                let at = (core::ptr::addr_of_mut!(MEMORY) as *mut u8).add(USED);
                USED += taken;
                at
            }
        }
    };
}
