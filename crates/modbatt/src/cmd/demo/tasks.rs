//! What of commissioning is done, for the next start.

use std::io::Write;
use std::path::PathBuf;

use super::super::data_dir::replace_file;
use super::super::{Failure, reason};

/// Tasks of commissioning that are done, one name a line, appended and synced.
pub struct TaskLog {
    path: PathBuf,
    /// In the order in which they were done.
    pub done: Vec<String>,
}

impl TaskLog {
    /// Reads the file, or begins it.
    pub fn open(path: PathBuf) -> Result<Self, Failure> {
        let done = match std::fs::read_to_string(&path) {
            Ok(text) => {
                // A torn last line is a task that was not noted: it is done again.
                let whole = text.rfind('\n').map_or("", |at| &text[..=at]);
                if whole.len() < text.len() {
                    replace_file(&path, whole.as_bytes())?;
                }
                whole.lines().skip(1).map(str::to_owned).collect()
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                replace_file(&path, b"modbatt commissioned 1\n")?;
                Vec::new()
            }
            Err(e) => return Err(Failure::Failed(format!("{}: {}", path.display(), reason(&e)))),
        };
        Ok(TaskLog { path, done })
    }

    /// Notes a task, durably.
    pub fn add(&mut self, task: &str) -> Result<(), Failure> {
        let fail = |e: std::io::Error| Failure::Failed(format!("{}: {}", self.path.display(), reason(&e)));
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.path).map_err(fail)?;
        file.write_all(format!("{task}\n").as_bytes()).map_err(fail)?;
        file.sync_data().map_err(fail)?;
        self.done.push(task.to_owned());
        Ok(())
    }
}
