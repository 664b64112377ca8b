//! How often a passphrase may be tried (A135).
//!
//! What locks is counted by source, so that nobody locks somebody else out. A name that is tried from many sources is looked
//! at slowly, but not for sources from which its user logged in before.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs, io,
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::Quota;
use serde::{Deserialize, Serialize};

use super::{
    limiter::{Limiter, too_many},
    strangers::source,
};
use crate::{durable, refusal::Reply};

/// Tries a minute from one source for one name, and from one source for all names.
const BY_BOTH: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const BY_SOURCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
/// Tries a minute for one name, after which they go one at a time.
const BY_NAME: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// With so much time between them.
const BETWEEN: Duration = Duration::from_secs(3);
/// Most tries for one name that wait for that.
const WAITING_MAX: u32 = 4;
/// Most names for which tries wait.
const NAMES_MAX: usize = 10_000;
/// Most sources from which one user logged in that are remembered.
const FAMILIAR_MAX: usize = 8;
const FORMAT: u32 = 1;
/// Longest file of them, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// A try that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// After so much time.
    pub wait: Duration,
    /// It comes from where its user has logged in before.
    pub familiar: bool,
}

/// The tries of the last minute.
pub(super) struct Tries {
    both: Limiter,
    source: Limiter,
    name: Limiter,
    /// When the last try that waits for a name is looked at.
    queues: Mutex<HashMap<String, Instant>>,
    familiar: Mutex<Familiar>,
    /// Where that is kept; nobody else may read who works where. Locked while it is written, by threads that may wait for a disk.
    file: Mutex<Option<PathBuf>>,
}

/// From where each user logged in, the latest last.
type Familiar = BTreeMap<String, VecDeque<IpAddr>>;

/// The file, in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    sources: Familiar,
}

/// What an earlier run kept. Without it every source is strange, which costs its users seconds and nobody else anything.
fn kept(file: &Path) -> Familiar {
    let read = || -> Result<Familiar, String> {
        match fs::metadata(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Familiar::new()),
            Err(e) => Err(e.to_string()),
            Ok(found) if found.len() > FILE_MAX => Err("it is too long".into()),
            Ok(_) => {
                let kept = fs::read(file).map_err(|e| e.to_string())?;
                let kept: Kept = serde_json::from_slice(&kept).map_err(|e| e.to_string())?;
                match kept.format {
                    FORMAT => Ok(kept.sources),
                    other => Err(format!("it has format {other}, this build knows {FORMAT}")),
                }
            }
        }
    };
    read().unwrap_or_else(|why: String| {
        tracing::warn!(target: "security", why, "from where users logged in before is not known: the file of it cannot be read");
        Familiar::new()
    })
}

impl Tries {
    /// Remembers in `file` from where users logged in.
    pub fn open(file: Option<PathBuf>) -> Self {
        let limiter = |n| Limiter::new(Quota::per_minute(n));
        Tries {
            both: limiter(BY_BOTH),
            source: limiter(BY_SOURCE),
            name: limiter(BY_NAME),
            queues: Mutex::default(),
            familiar: Mutex::new(file.as_deref().map(kept).unwrap_or_default()),
            file: Mutex::new(file),
        }
    }

    /// Counts a try.
    pub fn count(&self, name: &str, address: IpAddr) -> Reply<Admitted> {
        self.count_at(name, address, Instant::now())
    }

    fn count_at(&self, name: &str, address: IpAddr, now: Instant) -> Reply<Admitted> {
        let name: String = name.chars().take(64).collect();
        let from = source(address);
        self.source.count(from.to_string())?;
        self.both.count(format!("{from} {name}"))?;
        if lock(&self.familiar).get(&name).is_some_and(|all| all.contains(&from)) {
            return Ok(Admitted { wait: Duration::ZERO, familiar: true });
        }
        Ok(Admitted { wait: self.turn(name, now)?, familiar: false })
    }

    /// How long a try for `name` waits for its turn.
    fn turn(&self, name: String, now: Instant) -> Reply<Duration> {
        let mut queues = lock(&self.queues);
        let last = queues.get(&name).copied().filter(|last| *last > now);
        // Whoever comes while others wait is not let past them.
        if last.is_none() && self.name.count(name.clone()).is_ok() {
            return Ok(Duration::ZERO);
        }
        let wait = last.unwrap_or(now) + BETWEEN - now;
        if wait > BETWEEN * WAITING_MAX {
            return Err(too_many(wait));
        }
        if queues.len() >= NAMES_MAX && last.is_none() {
            queues.retain(|_, last| *last > now);
            if queues.len() >= NAMES_MAX {
                return Err(too_many(BETWEEN));
            }
        }
        queues.insert(name, now + wait);
        Ok(wait)
    }

    /// Remembers from where a user logged in; `known` says of whom else that is still to be remembered. May wait for the disk.
    pub fn logged_in(&self, user: &str, address: IpAddr, known: impl Fn(&str) -> bool) {
        if self.is_news(user, source(address), known)
            && let Err(why) = self.keep()
        {
            tracing::warn!(target: "security", %why, "from where users log in is kept in memory only");
        }
    }

    fn is_news(&self, user: &str, from: IpAddr, known: impl Fn(&str) -> bool) -> bool {
        let mut familiar = lock(&self.familiar);
        let all = familiar.entry(user.to_owned()).or_default();
        let before = all.len();
        all.retain(|other| *other != from);
        let fresh = all.len() == before;
        all.push_back(from);
        if all.len() > FAMILIAR_MAX {
            all.pop_front();
        }
        if fresh {
            familiar.retain(|name, _| name == user || known(name));
        }
        fresh
    }

    /// Writes down what is known once it is this one's turn, so that nobody's older knowledge comes after it. Tries are counted
    /// meanwhile.
    fn keep(&self) -> io::Result<()> {
        let file = lock(&self.file);
        let Some(file) = &*file else { return Ok(()) };
        let kept = Kept { format: FORMAT, sources: lock(&self.familiar).clone() };
        durable::replace_private(file, &serde_json::to_vec_pretty(&kept)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Admitted = Admitted { wait: Duration::ZERO, familiar: false };

    fn stranger(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn one_source_is_counted_for_itself() {
        let tries = Tries::open(None);
        let owner = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..BY_BOTH.get() {
            assert_eq!(tries.count("ann", stranger(1)).ok(), Some(AT_ONCE));
        }
        assert_eq!(tries.count("ann", stranger(1)).unwrap_err().0.status, 429);
        assert_eq!(tries.count("ann", owner).ok(), Some(AT_ONCE), "locked out by a stranger");
        // One source does not go through names, nor through the addresses of its network.
        let six = |n: u32| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16]);
        let refused = (0..100).filter(|n| tries.count(&format!("name-{n}"), six(*n)).is_err()).count();
        assert_eq!(refused, 100 - BY_SOURCE.get() as usize);
    }

    #[test]
    fn a_name_that_many_try_is_looked_at_slowly_but_for_who_logged_in_there_before() {
        let (tries, now) = (Tries::open(None), Instant::now());
        let owner = IpAddr::from([192, 0, 2, 1]);
        tries.logged_in("ann", owner, |_| true);
        for n in 0..BY_NAME.get() as u8 {
            assert_eq!(tries.count_at("ann", stranger(n), now).ok(), Some(AT_ONCE));
        }
        let wait = |n, now| {
            tries
                .count_at("ann", stranger(n), now)
                .map(|a| a.wait.as_secs())
                .map_err(|r| (r.0.status, r.0.retry_after))
        };
        // All at once: one after the other, and no more than are to wait.
        let waits: Vec<_> = (50..56).map(|n| wait(n, now)).collect();
        let full = Err((429, Some(15)));
        assert_eq!(waits, [Ok(3), Ok(6), Ok(9), Ok(12), full, full]);
        assert_eq!(wait(56, now + BETWEEN), Ok(12), "one of them has gone");
        let familiar = Admitted { wait: Duration::ZERO, familiar: true };
        assert_eq!(tries.count_at("ann", owner, now).ok(), Some(familiar));
        assert_eq!(tries.count_at("bob", owner, now).ok(), Some(AT_ONCE));
        // Only so many places are remembered for each.
        for n in 0..FAMILIAR_MAX as u8 {
            tries.logged_in("ann", stranger(100 + n), |_| true);
        }
        assert_eq!(tries.count_at("ann", owner, now).unwrap_err().0.status, 429);
    }

    /// While the disk is slow tries are counted, and what is written then is what was known last.
    #[test]
    fn no_try_waits_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.sources");
        let tries = Tries::open(Some(path.clone()));
        let deadline = Instant::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            let written = lock(&tries.file);
            for name in ["ann", "bob"] {
                let tries = &tries;
                scope.spawn(move || tries.logged_in(name, stranger(1), |_| true));
            }
            while !tries.familiar.try_lock().is_ok_and(|known| known.len() == 2) {
                assert!(Instant::now() < deadline, "who logs in locks others out until it is written");
                std::thread::yield_now();
            }
            assert!(tries.count("ann", stranger(1)).unwrap().familiar);
            assert!(!path.exists(), "the disk was not slow");
            drop(written);
        });
        assert_eq!(kept(&path).into_keys().collect::<Vec<_>>(), ["ann", "bob"]);
    }

    #[test]
    fn who_logged_in_before_a_restart_is_known_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.sources");
        let six = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]);
        let sources = |name: &str| {
            let all = kept(&file).remove(name);
            all.unwrap_or_default().into_iter().collect::<Vec<_>>()
        };
        let tries = Tries::open(Some(file.clone()));
        for n in 0..=FAMILIAR_MAX as u8 {
            tries.logged_in("ann", stranger(n), |_| true);
        }
        tries.logged_in("bob", six, |name| name == "ann");
        assert_eq!(sources("ann"), (1..=FAMILIAR_MAX as u8).map(stranger).collect::<Vec<_>>());
        assert_eq!(sources("bob"), [source(six)], "a network");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = Tries::open(Some(file.clone()));
        assert!(again.count("ann", stranger(1)).unwrap().familiar);
        assert!(!again.count("ann", stranger(0)).unwrap().familiar, "the oldest was forgotten");
        again.logged_in("cid", six, |name| name == "ann");
        assert!(sources("bob").is_empty(), "who is no user any more is forgotten");
        for damaged in
            ["", "{", "{\"format\":2,\"sources\":{}}", "{\"format\":1,\"sources\":{\"ann\":[\"x\"]}}"]
        {
            fs::write(&file, damaged).unwrap();
            assert!(sources("ann").is_empty(), "{damaged}");
        }
    }
}
