//! The files of one log: a file for each day and, where much is said, several; the oldest go when they are too old or all
//! together too long (A143). What cannot be removed keeps nothing from being written.
//!
//! ```text
//! NAME.YYYY-MM-DD.log, NAME.YYYY-MM-DD.N.log   the first and a further one of a day (UTC), N from 1
//! NAME.removed                                 when files were too old the last time, Unix seconds
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

/// Seconds between two days whose files are too old: they come at one a day, and those of a time when nothing ran are caught up with.
const BETWEEN_S: u64 = 12 * 3_600;

/// Most bytes of lines that wait until they are written together.
const WAITING_MAX: usize = 64 << 10;

/// For how long a log is kept, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days after which a file is removed, counted from its own; none is written, and none stays, for 0.
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
    /// Its files, oldest first, each with day, number and length. Those that are dated behind `today` were written when the clock
    /// was wrong: they come before all others.
    fn files(&self, today: &str) -> io::Result<Vec<(String, u32, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let Some((day, number)) = entry.file_name().to_str().and_then(|name| self.parse(name)) {
                files.push((day, number, entry.metadata().map_or(0, |found| found.len())));
            }
        }
        files.sort_by(|a, b| (a.0.as_str() <= today, a).cmp(&(b.0.as_str() <= today, b)));
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

    /// Removes the files of the oldest day that is too old at `now_s`, Unix seconds, unless that was done within [`BETWEEN_S`], so
    /// that a clock that is wrong, also one that stays so, costs the log two days in each. The newest file, which may be open, stays.
    /// Of a log that nobody writes any more the days go one with each call, and in the end nothing stays.
    ///
    /// # Errors
    /// That of the first file that could not be removed; the others are.
    pub fn expire(&self, now_s: u64) -> io::Result<()> {
        let mark = self.folder.join(format!("{}.removed", self.name));
        if self.keep.days == 0 {
            // There may be none.
            let _gone = fs::remove_file(&mark);
        } else {
            // What cannot be read was not written by this program; a clock that was set back waits for nothing.
            let last = fs::read_to_string(&mark).ok().and_then(|text| text.trim().parse::<u64>().ok());
            if last.is_some_and(|last| last <= now_s && now_s - last < BETWEEN_S) {
                return Ok(());
            }
        }
        let oldest_day = day(now_s.saturating_sub(self.keep.days as u64 * 86_400));
        let mut files = self.files(&day(now_s))?;
        if self.keep.days > 0 {
            files.pop();
        }
        files.retain(|(day, ..)| *day < oldest_day);
        let (mut all, mut gone) = (Ok(()), None);
        for (day, number, _) in &files {
            if gone.is_some_and(|gone| gone != day) {
                break;
            }
            match self.remove(day, *number) {
                Ok(()) => gone = Some(day),
                Err(e) => all = all.and(Err(e)),
            }
        }
        match gone {
            Some(_) if self.keep.days > 0 => all.and(fs::write(&mark, format!("{now_s}\n"))),
            _ => all,
        }
    }

    /// Removes the oldest of what leaves no room for `room` bytes, but not the file that is open.
    ///
    /// # Errors
    /// As [`Place::expire`].
    fn make_room(&self, open: (&str, u32), room: u64) -> io::Result<()> {
        let mut files = self.files(open.0)?;
        files.retain(|(day, number, _)| (day.as_str(), *number) != open);
        let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
        let mut all = Ok(());
        for (day, number, len) in &files {
            if bytes.saturating_add(room) <= self.keep.bytes() {
                break;
            }
            all = all.and(self.remove(day, *number));
            // Also where it could not be removed: the others are not removed for it.
            bytes = bytes.saturating_sub(*len);
        }
        all
    }

    fn remove(&self, day: &str, number: u32) -> io::Result<()> {
        let path = self.path(day, number);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(io::Error::new(e.kind(), format!("{}: {e}", path.display())))
            }
            _ => Ok(()),
        }
    }
}

/// The day (UTC) of a time.
fn day(unix_s: u64) -> String {
    api::event::rfc3339(unix_s).chars().take(10).collect()
}

/// Writes the newest file of a log. Each write is one line; it is in the file after the next flush, at the latest.
pub(super) struct Rolling {
    place: Place,
    clock: fn() -> u64,
    open: Option<Current>,
    /// Lines for the open file.
    waiting: Vec<u8>,
}

/// The file that is written.
struct Current {
    /// Since 1970, in UTC.
    day: u64,
    /// Bytes, those that wait included.
    size: u64,
    file: File,
}

impl Rolling {
    /// Goes on with what is there. `clock` tells Unix seconds.
    pub fn open(place: Place, clock: fn() -> u64) -> io::Result<Self> {
        let mut rolling = Rolling { place, clock, open: None, waiting: Vec::new() };
        rolling.roll(0)?;
        Ok(rolling)
    }

    /// Makes room for a line of so many bytes, in another file where it is another day or the file is full.
    fn roll(&mut self, len: u64) -> io::Result<()> {
        let longest = self.place.keep.file_bytes();
        let now_s = (self.clock)();
        let fits = |open: &mut Current| {
            let fits = open.day == now_s / 86_400 && (open.size == 0 || open.size + len <= longest);
            open.size += if fits { len } else { 0 };
            fits
        };
        if self.open.as_mut().is_some_and(fits) {
            return Ok(());
        }
        self.flush()?;
        let today = day(now_s);
        let newest = self.place.files(&today)?.into_iter().rev().find(|(day, ..)| *day == today);
        let number = match newest {
            None => 0,
            Some((_, number, size)) if size + len <= longest => number,
            Some((_, number, _)) => number.saturating_add(1),
        };
        let path = self.place.path(&today, number);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len() + len;
        // Also for what the file will have when it is full. What cannot be removed keeps no line from being written; it is said
        // by whoever removes what is too old.
        let _said_there = self.place.make_room((&today, number), longest);
        self.open = Some(Current { day: now_s / 86_400, size, file });
        Ok(())
    }
}

impl Write for Rolling {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.roll(line.len() as u64)?;
        self.waiting.extend_from_slice(line);
        if self.waiting.len() >= WAITING_MAX {
            self.flush()?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // What cannot be written is not tried again with the next lines.
        let written = open.file.write_all(&self.waiting);
        self.waiting.clear();
        written
    }
}

impl Drop for Rolling {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _lost = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

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
        let look = |now_s| place(dir.path(), 9, 1).expire(now_s).unwrap();
        look(MARCH);
        look(MARCH + BETWEEN_S - 1);
        let mark = "audit.removed";
        assert_eq!(names(dir.path()).len(), kept.len() + 2 + 1, "one day at a time");
        look(MARCH + BETWEEN_S);
        kept.push(mark);
        kept.sort_unstable();
        assert_eq!(names(dir.path()), kept);
        // A day later, with nothing said.
        look(MARCH + 2 * 86_400);
        kept.retain(|name| *name != "audit.2026-02-20.log");
        assert_eq!(names(dir.path()), kept);
        // Once it is switched off, nothing stays.
        for _ in 0..3 {
            place(dir.path(), 0, 1).expire(MARCH + 2 * 86_400).unwrap();
        }
        assert_eq!(names(dir.path()).into_iter().collect::<BTreeSet<_>>(), other.map(String::from).into());
    }

    #[test]
    fn a_clock_that_stays_wrong_costs_two_days_in_each_and_never_the_open_file() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=28 {
            fs::write(dir.path().join(format!("audit.2026-02-{n:02}.log")), "line\n").unwrap();
        }
        let far = MARCH + 70 * 365 * 86_400;
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH + 70 * 365 * 86_400).unwrap();
        log.write_all(&[b'x'; 1000 << 10]).unwrap();
        let days = || names(dir.path()).iter().filter(|name| name.ends_with(".log")).count();
        // Looked at every hour of three days, across starts.
        for hour in 0..72 {
            place(dir.path(), 9, 1).expire(far + hour * 3_600).unwrap();
        }
        assert_eq!(days(), 29 - 2 * 3, "what was there and the file of the wrong clock");
        // The clock is right again: what is dated ahead is not taken for the newest, and makes room first.
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        log.write_all(b"line\n").unwrap();
        let left = names(dir.path());
        assert!(left.iter().all(|name| !name.starts_with("audit.2096")), "{left:?}");
        assert_eq!(days(), 23);
        // A clock that begins at its epoch takes nothing for too old.
        place(dir.path(), 9, 1).expire(0).unwrap();
        assert_eq!(days(), 23);
        // One that was set right waits for nothing.
        place(dir.path(), 9, 1).expire(MARCH).unwrap();
        assert_eq!(days(), 22);
    }

    /// A folder of the name of a file is what nobody can remove as a file.
    #[test]
    fn what_cannot_be_removed_costs_no_line_and_no_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("audit.2026-01-01.log")).unwrap();
        for name in ["audit.2026-01-01.1.log", "audit.2026-02-27.log"] {
            File::create(dir.path().join(name)).unwrap().set_len(1 << 20).unwrap();
        }
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        log.write_all(b"first\n").unwrap();
        log.flush().unwrap();
        assert_eq!(fs::read(dir.path().join("audit.2026-03-01.log")).unwrap(), b"first\n");
        assert_eq!(
            names(dir.path()),
            ["audit.2026-01-01.log", "audit.2026-03-01.log"],
            "the others make room"
        );
        fs::write(dir.path().join("audit.2026-01-02.log"), "line\n").unwrap();
        let failed = place(dir.path(), 9, 1).expire(MARCH).unwrap_err().to_string();
        assert!(failed.contains("audit.2026-01-01.log"), "{failed}");
        assert_eq!(
            names(dir.path()),
            ["audit.2026-01-01.log", "audit.2026-03-01.log", "audit.removed"],
            "one that fails stops no other"
        );
    }

    #[test]
    fn all_files_together_stay_below_their_limit_and_the_newest_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        let line = |n: u32| format!("{n:0>999}\n");
        for n in 0..3_000 {
            log.write_all(line(n).as_bytes()).unwrap();
        }
        drop(log);
        // Opened anew it goes on.
        let mut log = Rolling::open(place(dir.path(), 9, 1), || MARCH).unwrap();
        log.write_all(line(3_000).as_bytes()).unwrap();
        log.flush().unwrap();
        let files = place(dir.path(), 9, 1).files(&day(MARCH)).unwrap();
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
        assert_eq!(place(dir.path(), 9, 1).files(&day(MARCH)).unwrap().last().unwrap().2, 1 << 18);
    }
}
