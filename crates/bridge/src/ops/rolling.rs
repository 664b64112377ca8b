//! The files of one log: a file for each day and, where much is said, several; the oldest go when they are too old or all
//! together too long (A143).
//!
//! ```text
//! NAME.YYYY-MM-DD.log, NAME.YYYY-MM-DD.N.log   the first and a further one of a day (UTC), N from 1
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

/// For how long a log is kept, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days after which a file is removed, counted from its own; none is written for 0.
    pub days: usize,
    /// Most bytes of all its files together, in MiB (1 048 576 bytes); the oldest are removed first.
    pub mib: u64,
}

impl Retention {
    fn bytes(self) -> u64 {
        self.mib.saturating_mul(1 << 20)
    }

    /// Longest file: what is removed at once is a small part of the whole.
    fn file_bytes(self) -> u64 {
        (self.bytes() / 8).max(1)
    }
}

/// One log on the disk.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub folder: PathBuf,
    pub name: &'static str,
    pub keep: Retention,
}

impl Place {
    /// Its files, oldest first, each with day, number and length.
    fn files(&self) -> io::Result<Vec<(String, u32, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let Some((day, number)) = entry.file_name().to_str().and_then(|name| self.parse(name)) {
                files.push((day, number, entry.metadata().map_or(0, |found| found.len())));
            }
        }
        files.sort();
        Ok(files)
    }

    fn parse(&self, file: &str) -> Option<(String, u32)> {
        let rest = file.strip_prefix(self.name)?.strip_prefix('.')?.strip_suffix(".log")?;
        let (day, number) = match rest.split_once('.') {
            Some((day, number)) => (day, number.parse().ok().filter(|n| *n > 0)?),
            None => (rest, 0),
        };
        let dated = day.len() == 10
            && day
                .bytes()
                .enumerate()
                .all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        dated.then(|| (day.to_owned(), number))
    }

    fn path(&self, day: &str, number: u32) -> PathBuf {
        self.folder.join(match number {
            0 => format!("{}.{day}.log", self.name),
            n => format!("{}.{day}.{n}.log", self.name),
        })
    }

    /// Removes what is too old at `now_s`, Unix seconds, and the oldest of what leaves no room for `room` bytes. The newest
    /// file, which is being written, stays.
    pub fn prune(&self, now_s: u64, room: u64) -> io::Result<()> {
        let mut files = self.files()?;
        let _written = files.pop();
        let oldest_day = day(now_s.saturating_sub(self.keep.days as u64 * 86_400));
        let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        for (day, number, len) in &files {
            if *day < oldest_day || bytes.saturating_add(room) > self.keep.bytes() {
                fs::remove_file(self.path(day, *number))?;
                bytes = bytes.saturating_sub(*len);
            }
        }
        Ok(())
    }
}

/// The day (UTC) of a time.
fn day(unix_s: u64) -> String {
    api::event::rfc3339(unix_s).chars().take(10).collect()
}

/// Writes the newest file of a log. Each write is one line.
pub(super) struct Rolling {
    place: Place,
    clock: fn() -> u64,
    open: Option<(String, u32, u64, File)>,
}

impl Rolling {
    /// Goes on with what is there. `clock` tells Unix seconds.
    pub fn open(place: Place, clock: fn() -> u64) -> io::Result<Self> {
        let mut rolling = Rolling { place, clock, open: None };
        rolling.file(0)?;
        Ok(rolling)
    }

    /// The file for a line of so many bytes.
    fn file(&mut self, len: u64) -> io::Result<&mut File> {
        let (now_s, longest) = ((self.clock)(), self.place.keep.file_bytes());
        let today = day(now_s);
        let fits = |(day, _, size, _): &(String, u32, u64, File)| {
            *day == today && (*size == 0 || size + len <= longest)
        };
        if !self.open.as_ref().is_some_and(fits) {
            let newest = self.place.files()?.into_iter().rev().find(|(day, ..)| *day == today);
            let number = match newest {
                None => 0,
                Some((_, number, size)) if size + len <= longest => number,
                Some((_, number, _)) => number.saturating_add(1),
            };
            let path = self.place.path(&today, number);
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let size = file.metadata()?.len();
            self.open = Some((today, number, size, file));
            // Also what the file will have when it is full.
            self.place.prune(now_s, longest)?;
        }
        let (_, _, size, file) = self.open.as_mut().ok_or_else(|| io::Error::other("no file is open"))?;
        *size += len;
        Ok(file)
    }
}

impl Write for Rolling {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.file(line.len() as u64)?.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(.., file)| file.flush())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    // 2026-03-01T00:00:00Z
    const MARCH: u64 = 1_772_323_200;

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn place(folder: &Path, days: usize, mib: u64) -> Place {
        Place { folder: folder.into(), name: "audit", keep: Retention { days, mib } }
    }

    #[test]
    fn what_is_too_old_goes_by_days_and_not_by_files() {
        let dir = tempfile::tempdir().unwrap();
        let other =
            ["audit.2020-01-01.txt", "audit.20200101.log", "audits.2020-01-01.log", "audit.2020-01-01.x.log"];
        let old = ["audit.2026-02-19.log", "audit.2026-02-19.1.log", "audit.2025-12-31.log"];
        // Of the ten days some have no file, some several.
        let young = [
            "audit.2026-02-20.log",
            "audit.2026-02-28.log",
            "audit.2026-02-28.1.log",
            "audit.2026-02-28.10.log",
        ];
        for name in [&other[..], &old, &young].concat() {
            fs::write(dir.path().join(name), "line\n").unwrap();
        }
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        log.write_all(b"more\n").unwrap();
        let mut kept = [&other[..], &young, &["audit.2026-03-01.log"]].concat();
        kept.sort_unstable();
        assert_eq!(names(dir.path()), kept);
        // A day later, with nothing said.
        place(dir.path(), 9, 1).prune(MARCH + 86_400, 0).unwrap();
        kept.retain(|name| *name != "audit.2026-02-20.log");
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn all_files_together_stay_below_their_limit_and_the_newest_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        let line = |n: u32| format!("{n:0>999}\n");
        for n in 0..3_000 {
            log.write_all(line(n).as_bytes()).unwrap();
        }
        // Opened anew it goes on.
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        log.write_all(line(3_000).as_bytes()).unwrap();
        let files = place(dir.path(), 9, 1).files().unwrap();
        let bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        assert!(bytes <= 1 << 20 && bytes > 3 << 18, "{bytes}");
        assert!(files.iter().all(|(_, _, bytes)| *bytes <= 1 << 17), "{files:?}");
        let text: String = files
            .iter()
            .map(|(day, number, _)| fs::read_to_string(place(dir.path(), 9, 1).path(day, *number)).unwrap())
            .collect();
        let first: u32 = text.lines().next().unwrap().parse().unwrap();
        let whole: String = (first..=3_000).map(line).collect();
        assert_eq!(text, whole, "no line is missing behind the first");
        // A line that is longer than a file may be is written all the same.
        log.write_all(&[b'x'; 1 << 18]).unwrap();
        assert_eq!(place(dir.path(), 9, 1).files().unwrap().last().unwrap().2, 1 << 18);
    }
}
