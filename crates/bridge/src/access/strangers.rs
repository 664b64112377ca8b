//! What strangers make the log of security say: some lines a minute, and how much was left out, so that nobody who has not
//! proved who he is pushes out what others did (A143).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines a minute for one source, and for all together.
const BY_SOURCE: u32 = 4;
const IN_ALL: usize = 12;
const MINUTE: Duration = Duration::from_secs(60);

/// Whom an address is counted for: one network of IPv6 has 2^64 of them for a single host.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four @ IpAddr::V4(_) => four,
    }
}

/// Decides which lines about strangers are written.
pub(crate) struct Strangers(Mutex<Minute>);

struct Minute {
    began: Instant,
    /// Lines written, by source: at most [`IN_ALL`] together.
    lines: HashMap<IpAddr, u32>,
    left_out: u64,
}

impl Minute {
    fn end(&mut self) {
        if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            tracing::warn!(target: "security", left_out, "lines about strangers were left out: too many in one minute");
        }
        self.lines.clear();
    }
}

impl Drop for Minute {
    fn drop(&mut self) {
        self.end();
    }
}

impl Strangers {
    pub fn new() -> Self {
        Strangers(Mutex::new(Minute { began: Instant::now(), lines: HashMap::new(), left_out: 0 }))
    }

    /// Whether a line about somebody at this address is written; otherwise it is counted.
    pub fn heard(&self, from: IpAddr) -> bool {
        self.heard_at(from, Instant::now())
    }

    fn heard_at(&self, from: IpAddr, now: Instant) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(minute.began) >= MINUTE {
            minute.end();
            minute.began = now;
        }
        let (from, written) = (source(from), minute.lines.values().sum::<u32>() as usize);
        if written < IN_ALL {
            let own = minute.lines.entry(from).or_default();
            if *own < BY_SOURCE {
                *own += 1;
                return true;
            }
        }
        minute.left_out += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_and_all_of_them_are_heard_so_often() {
        let (strangers, now) = (Strangers::new(), Instant::now());
        let heard =
            |from: &str, now| (0..50).filter(|_| strangers.heard_at(from.parse().unwrap(), now)).count();
        assert_eq!(heard("2001:db8::1", now), 4);
        assert_eq!(heard("2001:db8::ffff:1", now), 0, "the same network");
        assert_eq!(heard("2001:db8:0:1::1", now), 4);
        assert_eq!(heard("10.0.0.1", now), 4);
        assert_eq!(heard("10.0.0.2", now), 0, "all together");
        assert_eq!(strangers.0.lock().unwrap().left_out, 5 * 50 - 12);
        assert_eq!(heard("::ffff:10.0.0.2", now + MINUTE), 4);
        assert_eq!(heard("10.0.0.2", now + MINUTE), 0, "the same address");
        assert_eq!(strangers.0.lock().unwrap().left_out, 96, "said, and counted anew");
    }
}
