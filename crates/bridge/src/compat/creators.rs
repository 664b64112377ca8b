//! The keys of creators: those who cannot sign have the bridge sign for them (A150).
//!
//! File: `"MBCK" || 01 || root 32 || n x (u8 length of the name, name, scalar 32)`, ascending by name, readable by its owner
//! only. From `root` come the secrets that the commitments of these creators are keyed with, and the keys of components for
//! which the bridge speaks (A161). Only this module reads or writes the file.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use lct::{schedule::derive, secret::Secret, sign::SigningKey};
use zeroize::Zeroizing;

use crate::{
    authority::key::{KeyError, check_private, private},
    durable, entropy,
};

const MAGIC: &[u8; 4] = b"MBCK";
const VERSION: u8 = 1;
/// Bytes before the first creator.
const HEAD: usize = 37;
/// Most creators of a file.
pub const CREATORS_MAX: usize = 1024;

/// Creators for which the bridge signs.
pub struct Creators {
    path: PathBuf,
    root: Secret<32>,
    keys: BTreeMap<String, SigningKey>,
}

impl std::fmt::Debug for Creators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Creators").field("names", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl Creators {
    /// Reads the file at `path`, or makes one without creators.
    ///
    /// # Errors
    /// [`KeyError`]; a file that others can read is refused.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        match fs::read(path).map(Zeroizing::new) {
            Ok(bytes) => {
                check_private(path)?;
                let (root, keys) = parse(&bytes)?;
                Ok(Self { path: path.into(), root, keys })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let root = entropy::with(Secret::<32>::random)?;
                let made = Self { path: path.into(), root, keys: BTreeMap::new() };
                made.store()?;
                Ok(made)
            }
            Err(source) => Err(KeyError::Io { path: path.into(), source }),
        }
    }

    /// The names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The key of a creator.
    pub fn key(&self, name: &str) -> Option<&SigningKey> {
        self.keys.get(name)
    }

    /// Draws a key for `name`; on disk before this returns. A name that has one keeps it.
    ///
    /// # Errors
    /// [`KeyError`]; a name that is no label, or more than [`CREATORS_MAX`], are [`KeyError::NotAKey`].
    pub fn add(&mut self, name: &str) -> Result<&SigningKey, KeyError> {
        if !self.keys.contains_key(name) {
            if !api::valid_label(name) || self.keys.len() >= CREATORS_MAX {
                return Err(KeyError::NotAKey);
            }
            let key = entropy::with(SigningKey::generate)?;
            self.keys.insert(name.into(), key);
            if let Err(why) = self.store() {
                self.keys.remove(name);
                return Err(why);
            }
        }
        self.keys.get(name).ok_or(KeyError::NotAKey)
    }

    /// Takes a key away; on disk before this returns. Its account on the ledger stays until it is revoked there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn remove(&mut self, name: &str) -> Result<bool, KeyError> {
        let Some(key) = self.keys.remove(name) else { return Ok(false) };
        match self.store() {
            Ok(()) => Ok(true),
            Err(why) => {
                self.keys.insert(name.into(), key);
                Err(why)
            }
        }
    }

    /// The secret that the commitments of a creator are keyed with (`spec/ledger.md`, L138).
    pub(crate) fn commitments(&self, name: &str) -> Result<Secret<32>, lct::Error> {
        derive(&self.root, "commitments", &[name.as_bytes()])
    }

    /// A secret of a component for which the bridge speaks (A161).
    pub(crate) fn held(&self, what: &str, about: &[&[u8]]) -> Result<Secret<32>, lct::Error> {
        derive(&self.root, what, about)
    }

    /// Replaces the file. Created whole or not at all.
    fn store(&self) -> Result<(), KeyError> {
        let fail = |source| KeyError::Io { path: self.path.clone(), source };
        let size = HEAD + self.keys.keys().map(|name| 33 + name.len()).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.root.expose());
        for (name, key) in &self.keys {
            bytes.push(u8::try_from(name.len()).map_err(|_| KeyError::NotAKey)?);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(key.to_bytes().expose());
        }
        let part = self.path.with_extension("part");
        let _absent = fs::remove_file(&part);
        let mut file = private().open(&part).map_err(fail)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&part, &self.path).map_err(fail)?;
        durable::sync_parent(&self.path).map_err(fail)
    }
}

fn parse(bytes: &[u8]) -> Result<(Secret<32>, BTreeMap<String, SigningKey>), KeyError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(KeyError::NotAKey)?;
    let (version, body) = body.split_first().ok_or(KeyError::NotAKey)?;
    if *version != VERSION {
        return Err(KeyError::Version(*version));
    }
    let (root, mut rest) = body.split_at_checked(32).ok_or(KeyError::NotAKey)?;
    let root = Secret::from_slice(root).map_err(|_| KeyError::NotAKey)?;
    if root.is_degenerate() {
        return Err(KeyError::NotAKey);
    }
    let mut keys = BTreeMap::new();
    while let Some((length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(usize::from(*length)).ok_or(KeyError::NotAKey)?;
        let (scalar, after) = after.split_first_chunk::<32>().ok_or(KeyError::NotAKey)?;
        let name = std::str::from_utf8(name).map_err(|_| KeyError::NotAKey)?;
        let key = SigningKey::from_bytes(scalar).map_err(|_| KeyError::NotAKey)?;
        let ascends = keys.last_key_value().is_none_or(|(last, _): (&String, _)| last.as_str() < name);
        if !ascends || !api::valid_label(name) || keys.len() >= CREATORS_MAX {
            return Err(KeyError::NotAKey);
        }
        keys.insert(name.into(), key);
        rest = after;
    }
    Ok((root, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_and_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("creators.keys");
        let mut creators = Creators::open(&path).unwrap();
        let alice = creators.add("alice").unwrap().public();
        let bob = creators.add("bob").unwrap().public();
        assert_ne!(alice, bob);
        assert_eq!(creators.add("alice").unwrap().public(), alice, "the same name, the same key");
        let secret = creators.commitments("alice").unwrap();
        drop(creators);
        let mut again = Creators::open(&path).unwrap();
        assert_eq!(again.names().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(again.key("bob").unwrap().public(), bob);
        assert_eq!(again.commitments("alice").unwrap(), secret);
        assert_ne!(again.commitments("bob").unwrap(), secret);
        assert!(again.remove("alice").unwrap());
        assert!(!again.remove("alice").unwrap());
        assert!(again.add("").is_err() && again.add("a\nb").is_err());
        let scalar = hex::encode(again.key("bob").unwrap().to_bytes().expose());
        let shown = format!("{again:?}");
        assert!(shown.contains("bob") && !shown.contains(&scalar[..8]), "{shown}");
        assert!(Creators::open(&path).unwrap().key("alice").is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(Creators::open(&path), Err(KeyError::NotPrivate(_))));
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("creators.keys");
        let mut creators = Creators::open(&path).unwrap();
        creators.add("alice").unwrap();
        creators.add("bob").unwrap();
        let good = fs::read(&path).unwrap();
        assert!(parse(&good).is_ok());
        // A file that ends after a creator is one with fewer of them.
        for n in (0..good.len()).filter(|n| ![HEAD, HEAD + 33 + 5].contains(n)) {
            assert!(parse(&good[..n]).is_err(), "{n} bytes");
        }
        let swapped = [&good[..HEAD], &good[HEAD + 38..], &good[HEAD..HEAD + 38]].concat();
        assert!(parse(&swapped).is_err(), "names descend");
        let mut other = good.clone();
        other[4] = 2;
        assert!(matches!(parse(&other), Err(KeyError::Version(2))));
    }
}
