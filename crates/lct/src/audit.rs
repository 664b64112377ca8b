//! The forward-secure audit chain of a device (`spec/channel.md`, H60).
//!
//! `h_n = H("modbatt1 log" || h_{n-1} || u64 n || u16 len || entry)`, `tag_n = HMAC(k_n, h_n)[0:16]`,
//! `k_{n+1} = Derive(k_n, "log next", u64 n, 32)`; k_n is erased once used, so an intruder of today cannot
//! rewrite yesterday. Entries count from 1; `h_0` is the hash with n = 0 and an empty entry.

use crate::{
    Digest, Error,
    hash::sha256,
    schedule::{derive, mac16},
    secret::Secret,
};
use kept::{Defence, kept};

/// Head of a chain: the last hash, and the key of the next entry.
#[derive(Debug, Clone)]
pub struct AuditChain {
    count: u64,
    head: Digest,
    key: Secret<32>,
}

/// What is stored beside an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLink {
    /// Number of the entry, from 1.
    pub number: u64,
    /// `h_n`.
    pub hash: Digest,
    /// `tag_n`.
    pub tag: [u8; 16],
}

/// `h_n` of `entry` with number n behind the hash `previous`. At most 65535 bytes.
pub fn link_hash(previous: &Digest, number: u64, entry: &[u8]) -> Result<Digest, Error> {
    let len = u16::try_from(entry.len()).map_err(|_| Error::BufferTooSmall)?;
    Ok(sha256(&[b"modbatt1 log", previous, &number.to_be_bytes(), &len.to_be_bytes(), entry]))
}

/// `h_0`.
pub fn genesis() -> Digest {
    sha256(&[b"modbatt1 log", &[0; 32], &[0; 8], &[0; 2]])
}

impl AuditChain {
    /// An empty chain with its first key `k_1`, which the authority holds too.
    pub fn new(first_key: Secret<32>) -> Self {
        AuditChain { count: 0, head: genesis(), key: first_key }
    }

    /// A chain as a device kept it: number and hash of its last entry, key of the next one.
    pub fn restore(count: u64, head: Digest, key: Secret<32>) -> Self {
        AuditChain { count, head, key }
    }

    /// Key of the next entry, for sealed storage.
    pub fn key(&self) -> &Secret<32> {
        &self.key
    }

    /// Number of the last entry and its hash.
    pub fn head(&self) -> (u64, Digest) {
        (self.count, self.head)
    }

    /// Appends `entry` (at most 65535 bytes) and moves the key forward.
    pub fn append(&mut self, entry: &[u8]) -> Result<AuditLink, Error> {
        let number = self.count + 1;
        let hash = link_hash(&self.head, number, entry)?;
        let tag = mac16(self.key.expose(), &[&hash]);
        self.key = derive(&self.key, "log next", &[&number.to_be_bytes()])?;
        (self.count, self.head) = (number, hash);
        Ok(AuditLink { number, hash, tag })
    }
}

/// Why a log is not what its device wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The next entry has another number: entries are missing, repeated or out of order from here on.
    Number {
        /// What should have come.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The hash beside this entry is not that of the chain: it or an entry before it was changed.
    Hash(u64),
    /// The tag of this entry is not the device's.
    Tag(u64),
}

/// Longest gap that a verifier follows: each entry costs one derivation.
pub const GAP_MAX: u64 = 1 << 20;

/// Follows a log from its first entry.
#[derive(Debug, Clone)]
pub struct Verifier {
    count: u64,
    head: Digest,
    key: Option<Secret<32>>,
}

impl Verifier {
    /// At the beginning of a log. Without `k_1` tags are not checked: numbers and hashes only show damage that was
    /// not covered up.
    pub fn new(first_key: Option<Secret<32>>) -> Self {
        Verifier { count: 0, head: genesis(), key: first_key }
    }

    /// Number and hash of the last entry that fitted.
    pub fn head(&self) -> (u64, Digest) {
        (self.count, self.head)
    }

    /// Goes on behind entry `number` with this hash, over entries that are not there. False, and nothing changes, when
    /// that is not ahead, or further than [`GAP_MAX`].
    pub fn skip(&mut self, number: u64, hash: Digest) -> bool {
        if number < self.count || number - self.count > GAP_MAX {
            return false;
        }
        if let Some(key) = &mut self.key {
            for n in self.count + 1..=number {
                match derive(key, "log next", &[&n.to_be_bytes()]) {
                    Ok(next) => *key = next,
                    Err(_) => return false,
                }
            }
        }
        (self.count, self.head) = (number, hash);
        true
    }

    /// Takes the next entry with what is stored beside it.
    pub fn entry(&mut self, link: &AuditLink, entry: &[u8]) -> Result<(), Broken> {
        let number = self.count.saturating_add(1);
        if link.number != number {
            return Err(Broken::Number { expected: number, found: link.number });
        }
        let hash = link_hash(&self.head, number, entry).map_err(|_| Broken::Hash(number))?;
        if let Some(key) = &mut self.key {
            let own = crate::secret::equal(&mac16(key.expose(), &[&hash]), &link.tag);
            if !own && kept(Defence::LogTag) {
                return Err(Broken::Tag(number));
            }
            *key = derive(key, "log next", &[&number.to_be_bytes()]).map_err(|_| Broken::Tag(number))?;
        }
        if hash != link.hash {
            return Err(Broken::Hash(number));
        }
        (self.count, self.head) = (number, hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::String, vec::Vec};

    fn log(n: usize) -> Vec<(AuditLink, String)> {
        let mut chain = AuditChain::new(Secret::new([7; 32]));
        let entry = |i| format!("entry {i}");
        (1..=n).map(|i| (chain.append(entry(i).as_bytes()).unwrap(), entry(i))).collect()
    }

    fn check(log: &[(AuditLink, String)], key: bool) -> Result<u64, Broken> {
        let mut verifier = Verifier::new(key.then(|| Secret::new([7; 32])));
        log.iter().try_for_each(|(link, entry)| verifier.entry(link, entry.as_bytes()))?;
        Ok(verifier.head().0)
    }

    #[test]
    fn every_change_is_found_where_it_was_made() {
        let good = log(9);
        assert_eq!(check(&good, true), Ok(9));
        assert_eq!(check(&good, false), Ok(9));
        for i in 0..9 {
            let number = i as u64 + 1;
            let mut edited = good.clone();
            edited[i].1.push('!');
            assert_eq!(check(&edited, true), Err(Broken::Tag(number)), "edited");
            assert_eq!(check(&edited, false), Err(Broken::Hash(number)), "edited, no key");
            let mut deleted = good.clone();
            deleted.remove(i);
            let gone =
                if i == 8 { Ok(8) } else { Err(Broken::Number { expected: number, found: number + 1 }) };
            assert_eq!(check(&deleted, true), gone, "deleted");
            if i > 0 {
                let mut swapped = good.clone();
                swapped.swap(i - 1, i);
                let expected = Err(Broken::Number { expected: number - 1, found: number });
                assert_eq!(check(&swapped, true), expected, "reordered");
            }
        }
    }

    /// Behind a gap the tags are still the device's own, and the gap is the one that was told.
    #[test]
    fn a_log_goes_on_behind_a_gap() {
        let good = log(9);
        let follow = |number: u64, hash| {
            let mut verifier = Verifier::new(Some(Secret::new([7; 32])));
            good[..3].iter().try_for_each(|(l, e)| verifier.entry(l, e.as_bytes()))?;
            assert!(verifier.skip(number, hash));
            good[6..].iter().try_for_each(|(l, e)| verifier.entry(l, e.as_bytes()))?;
            Ok(verifier.head().0)
        };
        let hash = good[5].0.hash;
        assert_eq!(follow(6, hash), Ok(9));
        assert_eq!(follow(6, [0; 32]), Err(Broken::Tag(7)), "another hash");
        assert_eq!(follow(5, hash), Err(Broken::Number { expected: 6, found: 7 }), "a shorter gap");
        let mut verifier = Verifier::new(None);
        assert!(!verifier.skip(GAP_MAX + 1, hash) && verifier.head() == (0, genesis()));
        assert!(verifier.skip(4, hash) && !verifier.skip(3, hash), "never back");
    }

    /// An intruder who took the key at entry 6 can write on, and cannot rewrite what came before.
    #[test]
    fn a_later_key_does_not_rewrite_the_past() {
        let mut chain = AuditChain::new(Secret::new([7; 32]));
        let mut log: Vec<_> = (1..=5).map(|i| (chain.append(b"honest").unwrap(), i)).collect();
        let stolen = chain.key().clone();
        // It rebuilds the chain from entry 3 on with hashes that fit, and tags under the only key it has.
        let (count, head) = (2, log[1].0.hash);
        let mut forged = AuditChain::restore(count, head, stolen);
        for (link, _) in &mut log[2..] {
            *link = forged.append(b"forged").unwrap();
        }
        let check = |key| {
            let mut verifier = Verifier::new(key);
            log.iter().try_for_each(|(link, i)| {
                verifier.entry(link, if *i < 3 { b"honest".as_slice() } else { b"forged" })
            })
        };
        assert_eq!(check(Some(Secret::new([7; 32]))), Err(Broken::Tag(3)));
        assert_eq!(check(None), Ok(()), "hashes alone cannot tell");
    }
}
