//! How often a passphrase may be tried (A135).
//!
//! What locks is counted by address, so that nobody locks somebody else out: a stranger who tries a name from elsewhere
//! only makes its owner wait.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::door::within;
use crate::refusal::Reply;

/// Tries a minute from one address for one name, and from one address for all names.
const BY_BOTH: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const BY_ADDRESS: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
/// Tries a minute for one name, after which each further one is held up.
const BY_NAME: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// For how long.
const HELD_UP: Duration = Duration::from_secs(3);

/// The tries of the last minute.
pub(super) struct Tries {
    both: DefaultKeyedRateLimiter<String>,
    address: DefaultKeyedRateLimiter<String>,
    name: DefaultKeyedRateLimiter<String>,
}

impl Tries {
    pub fn new() -> Self {
        let limiter = |n| RateLimiter::keyed(Quota::per_minute(n));
        Tries { both: limiter(BY_BOTH), address: limiter(BY_ADDRESS), name: limiter(BY_NAME) }
    }

    /// Counts a try. It is to wait for as long as is returned.
    pub fn count(&self, name: &str, address: IpAddr) -> Reply<Duration> {
        let name: String = name.chars().take(64).collect();
        within(&self.address, address.to_string())?;
        within(&self.both, format!("{address} {name}"))?;
        Ok(if within(&self.name, name).is_ok() { Duration::ZERO } else { HELD_UP })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_shuts_nobody_out() {
        let tries = Tries::new();
        let stranger = |n: u8| IpAddr::from([10, 0, 0, n]);
        let owner = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..BY_BOTH.get() {
            assert_eq!(tries.count("ann", stranger(1)).ok(), Some(Duration::ZERO));
        }
        assert_eq!(tries.count("ann", stranger(1)).unwrap_err().0.status, 429);
        assert_eq!(tries.count("ann", owner).ok(), Some(Duration::ZERO), "locked out by a stranger");
        for from in 2..20 {
            let _counted = tries.count("ann", stranger(from)).unwrap();
            let _counted = tries.count("ann", stranger(from)).unwrap();
        }
        assert_eq!(tries.count("ann", owner).ok(), Some(HELD_UP), "held up, and not refused");
        assert_eq!(tries.count("bob", owner).ok(), Some(Duration::ZERO));
        // One address does not go through names.
        let refused = (0..100).filter(|n| tries.count(&format!("name-{n}"), stranger(99)).is_err()).count();
        assert_eq!(refused, 100 - BY_ADDRESS.get() as usize);
    }
}
