//! Four logs, each in files of its own with a retention of its own (A143).
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

use std::path::{Path, PathBuf};

use tracing::{Level, Metadata, Subscriber};
use tracing_appender::{
    non_blocking::{NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{Layer, filter::filter_fn, fmt, layer::SubscriberExt as _, registry::LookupSpan};

/// Where the logs go, and for how many days each is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The folder.
    pub folder: PathBuf,
    /// Days that audits are kept.
    pub audit_days: usize,
    /// Days that the security log is kept.
    pub security_days: usize,
    /// Days that the log of operation is kept.
    pub operation_days: usize,
    /// Days that the debug log is kept; none is written for 0.
    pub debug_days: usize,
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
        let mut guards = Vec::new();
        let mut log = |name: &str, days| -> Result<_, LogError> {
            if days == 0 {
                return Ok(None);
            }
            let (writer, guard) = file(&self.folder, name, days)?;
            guards.push(guard);
            Ok(Some(writer))
        };
        let subscriber = tracing_subscriber::registry()
            .with(log("audit", self.audit_days)?.map(|to| layer(to, |m| m.target() == "audit")))
            .with(log("security", self.security_days)?.map(|to| layer(to, |m| m.target() == "security")))
            .with(log("operation", self.operation_days)?.map(|to| {
                layer(to, |m| !matches!(m.target(), "audit" | "security") && *m.level() <= Level::INFO)
            }))
            .with(log("debug", self.debug_days)?.map(|to| layer(to, |m| *m.level() <= Level::DEBUG)));
        Ok((subscriber, Open { _guards: guards }))
    }
}

type Writer = tracing_appender::non_blocking::NonBlocking;

fn file(folder: &Path, name: &str, days: usize) -> Result<(Writer, WorkerGuard), LogError> {
    let fail = |e: &dyn std::fmt::Display| LogError { path: folder.join(name), what: e.to_string() };
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .filename_suffix("log")
        .max_log_files(days)
        .build(folder)
        .map_err(|e| fail(&e))?;
    // Audits are never dropped for want of a place in the queue: whoever is audited waits.
    let lossy = !matches!(name, "audit" | "security");
    Ok(NonBlockingBuilder::default().lossy(lossy).finish(appender))
}

fn layer<S>(writer: Writer, wants: fn(&Metadata<'_>) -> bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let format = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    // Spans go through: the request's id stands in each line of its request.
    format.with_writer(writer).with_filter(filter_fn(move |m| m.is_span() || wants(m))).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_gets_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let logs = Logs {
            folder: folder.clone(),
            audit_days: 3,
            security_days: 2,
            operation_days: 1,
            debug_days: 0,
        };
        let (subscriber, open) = logs.open().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", id = "abc");
            let _in = span.enter();
            tracing::info!(target: "audit", who = "ann", "done");
            tracing::warn!(target: "security", "denied");
            tracing::info!("plain");
            tracing::debug!("noise");
        });
        drop(open);
        let read = |name: &str| {
            let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let named = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
            named.map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>()
        };
        let lines = [("audit", "done"), ("security", "denied"), ("operation", "plain")];
        for (name, says) in lines {
            let text = read(name);
            let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
            assert_eq!((&line["message"], &line["span"]["id"]), (&says.into(), &"abc".into()), "{text}");
        }
        assert_eq!(read("debug"), "");
    }
}
