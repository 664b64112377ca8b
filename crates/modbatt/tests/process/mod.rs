//! Child processes that cannot hang a test: every one has a deadline and is killed with it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest life of a child.
const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at a child.
const LOOK: Duration = Duration::from_millis(3);

/// How a run ended.
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// It ended well.
    #[track_caller]
    pub fn good(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.tail());
        self
    }

    /// The last line of standard output, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.tail()))
    }

    /// The `ready` line, cut into URL and data folder.
    #[track_caller]
    pub fn ready(&self) -> (&str, &str) {
        let line = self.out.lines().find_map(|l| l.strip_prefix("ready "));
        line.and_then(|l| l.split_once(" data ")).unwrap_or_else(|| panic!("no `ready` line: {}", self.out))
    }

    /// It failed and says why in one sentence that holds all of `parts`; progress may stand before it.
    #[track_caller]
    pub fn fails(&self, what: &str, parts: &[&str]) {
        assert!(
            self.code.is_some_and(|code| (1..=3).contains(&code)),
            "{what}: {:?} {}",
            self.code,
            self.tail()
        );
        let sentences = self.err.lines().filter(|l| l.starts_with("modbatt: ") || l.starts_with("error: "));
        let sentences: Vec<&str> = sentences.collect();
        let [sentence] = sentences[..] else { panic!("{what}: not one sentence: {}", self.tail()) };
        for part in parts {
            assert!(sentence.contains(part), "{what}: no `{part}` in: {sentence}");
        }
        self.has_no_internals(what);
    }

    /// As [`Ended::fails`], with nothing else on standard error.
    #[track_caller]
    pub fn fails_at_once(&self, what: &str, parts: &[&str]) {
        self.fails(what, parts);
        assert_eq!(self.err.lines().count(), 1, "{what}: {}", self.tail());
    }

    /// Nothing of Rust's own making is shown to the user.
    #[track_caller]
    pub fn has_no_internals(&self, what: &str) {
        for internal in ["panicked", "RUST_BACKTRACE", "Error {", "Err(", "os error", "unwrap"] {
            assert!(!self.err.contains(internal), "{what}: {}", self.tail());
        }
    }

    fn tail(&self) -> String {
        let lines: Vec<&str> = self.err.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

/// A running `modbatt`.
pub struct Running {
    child: Child,
    started: Instant,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// Starts `modbatt` with these arguments.
pub fn start(args: &[&str]) -> Running {
    start_with(&[], args)
}

/// Starts `modbatt` with these variables and arguments.
pub fn start_with(variables: &[(&str, &str)], args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modbatt"));
    command.args(args).env_remove("MODBATT_TRUST").env("RUST_BACKTRACE", "1");
    command.envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (Arc::default(), Arc::default());
    let readers = vec![
        collect(child.stdout.take().unwrap(), Arc::clone(&out)),
        collect(child.stderr.take().unwrap(), Arc::clone(&err)),
    ];
    Running { child, started: Instant::now(), out, err, readers }
}

/// Runs `modbatt` to its end.
pub fn run(args: &[&str]) -> Ended {
    start(args).wait()
}

fn collect(stream: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = text.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    })
}

impl Running {
    /// Waits until `seen` holds for standard output and standard error so far, or the child has ended.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, seen: impl Fn(&str, &str) -> bool) {
        while !seen(&self.out.lock().unwrap(), &self.err.lock().unwrap()) {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            self.check_time(what);
            thread::sleep(LOOK);
        }
    }

    /// What it said on standard error so far.
    pub fn said(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Waits for the `ready` line.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_for("ready", |out, _| out.lines().any(|l| l.starts_with("ready ")));
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            self.check_time("its end");
            thread::sleep(LOOK);
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let text = |text: &Mutex<String>| std::mem::take(&mut *text.lock().unwrap());
        Ended { code: status.code(), out: text(&self.out), err: text(&self.err) }
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.child.id())).status();
        assert!(kill.unwrap().success());
    }

    /// Ends it without warning, as a loss of power does.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.wait()
    }

    #[track_caller]
    fn check_time(&mut self, what: &str) {
        if self.started.elapsed() > LIMIT {
            self.child.kill().unwrap();
            panic!("waited {LIMIT:?} for {what}: {}", self.err.lock().unwrap());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed must not leave a program behind; one that ended already cannot be killed.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Stops it; nothing that was signed was refused.
pub fn stop(running: Running) {
    running.interrupt();
    let ended = running.wait();
    let figures = ended.good().json();
    assert_eq!((&figures["refused_jobs"], &figures["record_gaps"]), (&0.into(), &0.into()), "{}", ended.err);
}
