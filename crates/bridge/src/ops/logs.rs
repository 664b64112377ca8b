//! Four logs, each in files of its own with a retention of its own, by days and by size (A143).
//!
//! | log | what | target |
//! |---|---|---|
//! | `audit` | what changed something, by whom, and how it came out | `audit` |
//! | `security` | logins, refusals of access, connections without TLS | `security` |
//! | `operation` | everything else of level `info` and above | |
//! | `debug` | everything, where it is switched on | |
//!
//! A line is one JSON object. Bodies, tokens and passphrases never reach a log: nothing that holds one has a way to be
//! printed.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::filter_fn, fmt, layer::SubscriberExt as _, registry::LookupSpan};

pub use super::rolling::Retention;
use super::{
    lines::Lines,
    rolling::{Place, Rolling},
};

/// How often is looked for files that are too old, also while nothing is said.
const LOOK: Duration = Duration::from_secs(3_600);
/// How long lines are gathered after others were written.
const GATHER: Duration = Duration::from_millis(10);
/// Most lines of one log that wait for the disk.
const LINES_MAX: usize = 4_096;

/// Where the logs go, and how much of each is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The folder.
    pub folder: PathBuf,
    /// What is kept of the audits.
    pub audit: Retention,
    /// What is kept of the security log.
    pub security: Retention,
    /// What is kept of the log of operation.
    pub operation: Retention,
    /// What is kept of the debug log.
    pub debug: Retention,
}

/// The logs cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", .path.display())]
pub struct LogError {
    path: PathBuf,
    what: String,
}

/// Keeps the logs open; what was written is in the files when this is dropped.
#[derive(Debug)]
pub struct Open {
    _guards: Vec<WorkerGuard>,
    /// Its end ends the thread that removes what is too old.
    _kept: mpsc::Sender<()>,
}

impl Logs {
    /// Writes what this program says to the logs from here on.
    ///
    /// # Errors
    /// [`LogError`], also where something else reads what the program says.
    pub fn install(&self) -> Result<Open, LogError> {
        let (subscriber, open) = self.open()?;
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|e| LogError { path: self.folder.clone(), what: e.to_string() })?;
        Ok(open)
    }

    /// A subscriber that writes the logs.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(&self) -> Result<(impl Subscriber + Send + Sync + 'static, Open), LogError> {
        crate::durable::private_folder(&self.folder)
            .map_err(|e| LogError { path: self.folder.clone(), what: e.to_string() })?;
        let [audit, security, operation, debug] = self.places();
        let mut guards = Vec::new();
        let mut log = |place: Place| -> Result<_, LogError> {
            if place.keep.days == 0 {
                return Ok(None);
            }
            let (writer, guard) = file(place)?;
            guards.push(guard);
            Ok(Some(writer))
        };
        let subscriber = tracing_subscriber::registry()
            .with(log(audit)?.map(|to| layer(to, |m| m.target() == "audit")))
            .with(log(security)?.map(|to| layer(to, |m| m.target() == "security")))
            .with(log(operation)?.map(|to| {
                layer(to, |m| !matches!(m.target(), "audit" | "security") && *m.level() <= Level::INFO)
            }))
            .with(log(debug)?.map(|to| layer(to, |m| *m.level() <= Level::DEBUG)));
        let (kept, ends) = mpsc::channel();
        let mut places = self.places().map(|place| (place, true));
        let remove = move || {
            while ends.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                look(&mut places, now_s());
            }
        };
        let started = thread::Builder::new().name("logs".into()).spawn(remove);
        started.map_err(|e| LogError { path: self.folder.clone(), what: e.to_string() })?;
        Ok((subscriber, Open { _guards: guards, _kept: kept }))
    }

    fn places(&self) -> [Place; 4] {
        let place = |name, keep| Place { folder: self.folder.clone(), name, keep };
        [
            place("audit", self.audit),
            place("security", self.security),
            place("operation", self.operation),
            place("debug", self.debug),
        ]
    }
}

/// Removes what is too old, also of a log that is switched off; what cannot be removed is said once, until it was.
fn look(places: &mut [(Place, bool)], now_s: u64) {
    for (place, worked) in places {
        let removed = place.expire(now_s);
        if let Err(e) = &removed
            && *worked
        {
            tracing::warn!("old files of the {} log are not removed: {e}; remove them by hand", place.name);
        }
        *worked = removed.is_ok();
    }
}

type Writer = tracing_appender::non_blocking::NonBlocking;

fn file(place: Place) -> Result<(Writer, WorkerGuard), LogError> {
    // Audits are never dropped for want of a place in the queue: whoever is audited waits.
    let lossy = !matches!(place.name, "audit" | "security");
    let path = place.folder.join(place.name);
    let rolling = Rolling::open(place, now_s).map_err(|e| LogError { path, what: e.to_string() })?;
    Ok(queue(rolling, lossy))
}

/// What is said waits for the disk; where too much waits it is left out, or whoever says it waits.
fn queue(to: impl io::Write + Send + 'static, lossy: bool) -> (Writer, WorkerGuard) {
    NonBlockingBuilder::default().lossy(lossy).buffered_lines_limit(LINES_MAX).finish(Gathered(to))
}

/// Rests after it was flushed, so that what is said meanwhile is written together: to wake a thread and to write costs more than a line.
struct Gathered<W>(W);

impl<W: io::Write> io::Write for Gathered<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        thread::sleep(GATHER);
        Ok(())
    }
}

fn now_s() -> u64 {
    crate::access::now_ms() / 1000
}

fn layer<S>(writer: Writer, wants: fn(&Metadata<'_>) -> bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // No span: what a line is of goes with its task, and to keep spans costs every request, also one that says nothing.
    let wanted = filter_fn(move |m| m.is_event() && wants(m));
    fmt::layer().event_format(Lines).with_writer(writer).with_filter(wanted).boxed()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Method, Uri};
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::ops::lines::Asked;

    #[test]
    fn each_log_gets_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let logs = Logs {
            folder: folder.clone(),
            audit: Retention { days: 3, mib: 1 },
            security: Retention { days: 2, mib: 1 },
            operation: Retention { days: 1, mib: 1 },
            debug: Retention { days: 0, mib: 1 },
        };
        let (subscriber, open) = logs.open().unwrap();
        let asked = Asked {
            id: HeaderValue::from_static("abc"),
            method: Method::POST,
            uri: Uri::from_static("/a%0Ab?secret=1"),
        };
        tracing::subscriber::with_default(subscriber, || {
            let said = asked.during(async {
                tracing::info!(target: "audit", who = "an\"n\n", status = 7_u16, times = -3, ok = true, "done");
                tracing::warn!(target: "security", why = %"of old", "denied");
                tracing::info!("plain");
                tracing::debug!("noise");
            });
            said.now_or_never().unwrap();
            tracing::info!("of nobody");
        });
        drop(open);
        let read = |name: &str| {
            let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let named = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
            named.map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>()
        };
        let lines = |name: &str| -> Vec<serde_json::Value> {
            read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let span = json!({ "id": "abc", "method": "POST", "path": "/a%0Ab", "name": "request" });
        for (name, said) in [
            (
                "audit",
                json!({ "message": "done", "level": "INFO", "who": "an\"n\n", "status": 7, "times": -3, "ok": true }),
            ),
            ("security", json!({ "message": "denied", "level": "WARN", "why": "of old" })),
            ("operation", json!({ "message": "plain", "level": "INFO" })),
        ] {
            let mut line = lines(name).remove(0);
            let members = line.as_object_mut().unwrap();
            assert_eq!(members.remove("span"), Some(span.clone()));
            let time = members.remove("timestamp").unwrap();
            assert!(
                time.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
                "{time}"
            );
            let target = members.remove("target").unwrap();
            assert!(target == name || name == "operation", "{target}");
            assert_eq!(line, said);
        }
        assert_eq!(lines("operation")[1].get("span"), None);
        assert_eq!(read("debug"), "");
    }

    /// What nobody writes down yet is bounded: a disk that stands still costs lines, not the memory.
    #[test]
    fn only_so_many_lines_wait() {
        struct Stuck(mpsc::Receiver<()>);
        impl io::Write for Stuck {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                let _ended = self.0.recv();
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, stuck) = mpsc::channel();
        let (mut writer, guard) = queue(Stuck(stuck), true);
        for _ in 0..LINES_MAX + 100 {
            io::Write::write_all(&mut writer, b"line\n").unwrap();
        }
        let lost = writer.error_counter().dropped_lines();
        drop(go);
        drop(guard);
        assert!((98..=100).contains(&lost), "{lost}");
    }

    /// One line is written at once; what is said while that rests is written together, all of it and in order.
    #[test]
    fn lines_are_gathered() {
        struct Told(Vec<u8>, mpsc::Sender<Vec<u8>>);
        impl io::Write for Told {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(line);
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                if !self.0.is_empty() {
                    self.1.send(std::mem::take(&mut self.0)).unwrap();
                }
                Ok(())
            }
        }
        let (tell, told) = mpsc::channel();
        let (mut writer, guard) = queue(Told(Vec::new(), tell), false);
        let mut say = |n: u32| io::Write::write_all(&mut writer, format!("{n}\n").as_bytes()).unwrap();
        let began = std::time::Instant::now();
        say(0);
        assert_eq!(told.recv().unwrap(), b"0\n");
        (1..LINES_MAX as u32 / 2).for_each(say);
        let rests = began.elapsed().as_millis() / GATHER.as_millis();
        drop(guard);
        let written: Vec<Vec<u8>> = told.into_iter().collect();
        assert!(written.len() as u128 <= rests + 2, "{} for {rests} rests", written.len());
        let all: String = (1..LINES_MAX / 2).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(written.concat()).unwrap(), all);
    }

    #[test]
    fn what_is_left_of_a_log_that_is_off_goes_and_what_cannot_go_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let keep = |days| Retention { days, mib: 1 };
        let logs = Logs { folder, audit: keep(9), security: keep(9), operation: keep(9), debug: keep(0) };
        let (subscriber, open) = logs.open().unwrap();
        std::fs::write(logs.folder.join("debug.2020-01-01.log"), "line\n").unwrap();
        std::fs::create_dir(logs.folder.join("security.2020-01-01.log")).unwrap();
        let mut places = logs.places().map(|place| (place, true));
        tracing::subscriber::with_default(subscriber, || (0..3).for_each(|_| look(&mut places, now_s())));
        drop(open);
        assert!(!logs.folder.join("debug.2020-01-01.log").exists());
        let files = std::fs::read_dir(&logs.folder).unwrap().map(|entry| entry.unwrap().path());
        let said: String = files
            .filter(|path| path.to_string_lossy().contains("/operation."))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(said.matches("are not removed").count(), 1, "{said}");
    }
}
