//! How many functions of a parser the inputs reached.
//!
//! The compiler's coverage pass leaves two tables in the program: one counter per edge, and one pair (address, flags) per
//! counter, of which flag 1 marks the entry of a function. libFuzzer clears the counters before each input; here
//! those at the entries of the parser's functions are gathered over the whole run.

// The tables are known only by the names that the linker gives to their ends.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Mutex;

unsafe extern "C" {
    #[link_name = "__start___sancov_cntrs"]
    static COUNTERS: u8;
    #[link_name = "__stop___sancov_cntrs"]
    static COUNTERS_END: u8;
    #[link_name = "__start___sancov_pcs"]
    static PLACES: [usize; 2];
    #[link_name = "__stop___sancov_pcs"]
    static PLACES_END: [usize; 2];
    fn atexit(function: extern "C" fn()) -> i32;
}

/// The entry of one function of the parser: which counter is its own, its path, and whether an input came there.
struct Entry {
    counter: usize,
    path: String,
    reached: bool,
}

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn counters() -> &'static [u8] {
    // SAFETY: both symbols bound one array that the linker lays out; it lives as long as the program. libFuzzer and the
    // instrumented code write to it on this thread only, and no reference is held across an input.
    unsafe {
        let (start, end) = (&raw const COUNTERS, &raw const COUNTERS_END);
        std::slice::from_raw_parts(start, end.addr() - start.addr())
    }
}

fn places() -> &'static [[usize; 2]] {
    // SAFETY: as above; the table is never written to.
    unsafe {
        let (start, end) = (&raw const PLACES, &raw const PLACES_END);
        std::slice::from_raw_parts(start, (end.addr() - start.addr()) / size_of::<[usize; 2]>())
    }
}

/// Counts the functions whose path begins with one of `prefixes`, and prints their share when the program ends.
pub fn watch(prefixes: &'static [&'static str]) {
    let mut entries = ENTRIES.lock().expect("one thread");
    for (counter, [address, flags]) in places().iter().enumerate() {
        if flags & 1 == 0 {
            continue;
        }
        let mut path = None;
        // The look-up takes addresses behind a call and steps back by one.
        backtrace::resolve((address + 1) as *mut _, |symbol| {
            path = symbol.name().map(|name| format!("{name:#}"))
        });
        let Some(path) = path else { continue };
        let start = path.trim_start_matches('<');
        if prefixes.iter().any(|prefix| start.starts_with(prefix)) && !path.contains("core::fmt::") {
            entries.push(Entry { counter, path, reached: false });
        }
    }
    // SAFETY: a function without arguments, which needs nothing that ends before the program does.
    unsafe { atexit(report) };
}

/// Adds what the input just run has reached.
pub fn gather() {
    let mut entries = ENTRIES.lock().expect("one thread");
    let counters = counters();
    entries.iter_mut().for_each(|entry| entry.reached |= counters[entry.counter] != 0);
}

extern "C" fn report() {
    let Ok(entries) = ENTRIES.lock() else { return };
    // A generic function has one entry for each type it was made for; it counts once.
    let mut functions: BTreeMap<&str, bool> = BTreeMap::new();
    entries.iter().for_each(|entry| *functions.entry(&entry.path).or_default() |= entry.reached);
    let reached = functions.values().filter(|reached| **reached).count();
    println!("functions reached: {reached} of {}", functions.len());
    if std::env::var_os("FUZZ_UNREACHED").is_some() {
        functions
            .iter()
            .filter(|(_, reached)| !**reached)
            .for_each(|(path, _)| println!("unreached: {path}"));
    }
}
