//! Gateway and pack go on while the bridge and the ledger cannot be reached, for moments and for long, with answers lost on
//! their way; afterwards the ledger is as it would be had nothing happened.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use process::{Ended, run, start};

/// What the relay does with what passes it.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Way {
    /// Everything passes.
    Open,
    /// Requests arrive, and their answers are lost.
    Deaf,
    /// Nobody gets through.
    Cut,
    /// Connections stand, and nothing passes.
    Silent,
}

/// Pause between two looks of the relay.
const LOOK: Duration = Duration::from_millis(5);

/// Lies between the gateway and the bridge.
#[derive(Default)]
struct Relay {
    way: AtomicU8,
    /// Connections that were refused or torn, and answers that were lost.
    torn: AtomicU64,
    lost: AtomicU64,
}

impl Relay {
    fn start(to: SocketAddr) -> (Arc<Relay>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (relay, at) = (Arc::new(Relay::default()), listener.local_addr().unwrap());
        let shared = Arc::clone(&relay);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let relay = Arc::clone(&shared);
                thread::spawn(move || relay.carry(&stream, to));
            }
        });
        (relay, at)
    }

    fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }

    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    fn carry(&self, near: &TcpStream, to: SocketAddr) {
        if !self.is(Way::Cut)
            && let Ok(far) = TcpStream::connect(to)
        {
            thread::scope(|scope| {
                scope.spawn(|| self.copy(near, &far, false));
                self.copy(&far, near, true);
            });
        } else {
            self.torn.fetch_add(1, Ordering::SeqCst);
        }
        let _closed = near.shutdown(Shutdown::Both);
    }

    /// Until one of them ends, or the way is cut.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
        from.set_read_timeout(Some(LOOK)).unwrap();
        let mut bytes = [0; 16_384];
        loop {
            if self.is(Way::Cut) {
                self.torn.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if self.is(Way::Silent) {
                thread::sleep(LOOK);
                continue;
            }
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) if answers && self.is(Way::Deaf) => {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Ok(n) if to.write_all(&bytes[..n]).is_err() => break,
                Err(e)
                    if !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    break;
                }
                _ => {}
            }
        }
        let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// A tester's file: three modules are discharged, and charged in the second half.
fn tester_file(path: &Path, rows: u32) {
    let cells: String = (1..=6).map(|i| format!(",Cell Voltage A{i}")).collect();
    let mut text =
        format!("Total Time,Voltage,Current{cells},Temperature A1,Temperature A2,Temperature A3\n");
    for row in 0..rows {
        let current = if row < rows / 2 { "-31.5" } else { "12.25" };
        let cells: String = (0..6).map(|i| format!(",3.{:03}", 900 - (row + i) % 300)).collect();
        writeln!(text, "{}.0,23.4,{current}{cells},25.0,25.5,26.0", row + 1).unwrap();
    }
    writeln!(text, "Total Number of Data Lines: {rows}").unwrap();
    std::fs::write(path, text).unwrap();
}

/// Figures of the ledger after a run.
fn ledger(ended: &Ended) -> [u64; 6] {
    let line = ended.good().json();
    let of = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("no number `{key}` in {line}"));
    assert_eq!((of("record_gaps"), of("refused_jobs"), of("open_failures")), (0, 0, 0), "{}", ended.err);
    ["rows", "records", "batches", "components", "energy_discharged_mwh", "energy_charged_mwh"].map(of)
}

/// A run of `rows` rows, `speed` times as fast as they were measured, whose gateway reaches the bridge over a relay; `through`
/// does what it likes with that once everything is measured and brought.
fn cut(file: &Path, dir: &Path, speed: &str, through: impl FnOnce(&Relay)) -> (Ended, Arc<Relay>) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (relay, at) = Relay::start(free);
    let (free, at) = (free.to_string(), at.to_string());
    let [file, data] = [file, dir].map(|path| path.to_str().unwrap());
    let args = ["demo", "--replay", file, "--data-dir", data, "--speed", speed, "--json"];
    let mut running = start(&[&args[..], &["--listen", &free, "--through", &at]].concat());
    running.wait_ready();
    through(&relay);
    relay.set(Way::Open);
    (running.wait(), relay)
}

fn checked(dir: &Path) {
    let data = dir.to_str().unwrap();
    run(&["check", "--data-dir", data]).good();
    run(&["audit", "verify", data]).good();
}

/// Ways to be cut off, each for a while, in milliseconds.
fn survives(rows: u32, speed: &str, ways: &[(Way, u64)], between: u64) {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("measured.csv");
    tester_file(&file, rows);
    let [whole, parted] = ["whole", "parted"].map(|name| temp.path().join(name));
    let args = ["--replay", file.to_str().unwrap(), "--data-dir", whole.to_str().unwrap()];
    let expected = ledger(&run(&[&["demo", "--speed", "max", "--json"], &args[..]].concat()));
    assert_eq!(expected[..2], [u64::from(rows), 4 * u64::from(rows)]);
    let (ended, relay) = cut(&file, &parted, speed, |relay| {
        for (way, ms) in ways {
            relay.set(*way);
            thread::sleep(Duration::from_millis(*ms));
            relay.set(Way::Open);
            thread::sleep(Duration::from_millis(between));
        }
    });
    assert_eq!(ledger(&ended), expected, "{}", ended.err);
    checked(&parted);
    let (torn, lost) = (relay.torn.load(Ordering::SeqCst), relay.lost.load(Ordering::SeqCst));
    let away: u64 = ways.iter().map(|(_, ms)| ms).sum();
    println!(
        "{rows} rows at {speed} times real time; {} partitions, {away} ms in all; {torn} connections torn, {lost} answers \
         lost; the ledger holds {expected:?}, as without",
        ways.len()
    );
    assert!(torn > 0 && lost > 0, "the relay was in the way");
}

#[test]
fn nothing_is_lost_or_doubled_while_the_ledger_is_away() {
    survives(300, "100", &[(Way::Deaf, 150), (Way::Cut, 100), (Way::Deaf, 150), (Way::Cut, 1_500)], 150);
}

#[test]
#[ignore = "two minutes; a few partitions are among the usual tests"]
fn long_partitions_and_silence_cost_nothing_either() {
    let mut ways = vec![(Way::Silent, 25_000), (Way::Cut, 20_000)];
    ways.extend((0..60).map(|n| if n % 2 == 0 { (Way::Deaf, 60 + 7 * n) } else { (Way::Cut, 40 + 11 * n) }));
    survives(9_000, "100", &ways, 120);
}
