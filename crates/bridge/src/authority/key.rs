//! The authority's keys: a signing key, in this process or in a token, and an opening key, which the bridge has no use for.
//!
//! File of both, 37 bytes: `"MBAK" || 01 || seed 32`. The seed yields both scalars (`lct::spk`). Only this module reads or
//! writes it.

use super::signer::{Hand, SignError, Source, Token};
use crate::entropy::{self, Entropy, NoEntropy};
use lct::{
    secret::Secret,
    spk::{Spk, SpkSecret},
    succession::{SUCCESSION_LEN, Succession},
};
use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"MBAK";
const VERSION: u8 = 1;
/// Length of a key file.
const LEN: usize = 37;

/// Why there is no authority key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a key file.
    #[error("this is not a key file of an authority")]
    NotAKey,
    /// Written by another version.
    #[error("the key file has format version {0}; this build knows version {VERSION}")]
    Version(u8),
    /// The system failed.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The token holds another key.
    #[error("the token holds another key than the authority's")]
    OtherKey,
    /// Others may read the file.
    #[error("{} can be read by others; make it private (chmod 600) or make a new key", .0.display())]
    NotPrivate(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The authority's keys.
pub struct AuthorityKey {
    spk: Spk,
    held: Held,
}

enum Held {
    Here(Box<SpkSecret>),
    Token(Box<dyn Token>),
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityKey({:?}, [redacted])", self.spk)
    }
}

impl From<SpkSecret> for AuthorityKey {
    fn from(secret: SpkSecret) -> Self {
        AuthorityKey { spk: secret.public(), held: Held::Here(Box::new(secret)) }
    }
}

impl AuthorityKey {
    /// Draws a key pair.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        draw().map(AuthorityKey::from)
    }

    /// Reads a key file's bytes.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`], [`KeyError::Version`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(KeyError::NotAKey)?;
        let (version, seed) = body.split_first().ok_or(KeyError::NotAKey)?;
        if *version != VERSION {
            return Err(KeyError::Version(*version));
        }
        let seed = Secret::from_slice(seed).map_err(|_| KeyError::NotAKey)?;
        if seed.is_degenerate() {
            return Err(KeyError::NotAKey);
        }
        SpkSecret::from_seed(seed).map(AuthorityKey::from).map_err(|_| KeyError::NotAKey)
    }

    /// The keys of an authority whose signing key lies in a token; what is sealed to `spk` is opened elsewhere.
    ///
    /// # Errors
    /// [`KeyError::OtherKey`] when the token holds another key than `spk` names.
    pub fn in_token(spk: Spk, token: Box<dyn Token>) -> Result<Self, KeyError> {
        match token.public() == spk.sign_pub() {
            true => Ok(AuthorityKey { spk, held: Held::Token(token) }),
            false => Err(KeyError::OtherKey),
        }
    }

    /// The bytes of the key file of `secret`. Whoever stores them keeps them private.
    pub fn file_of(secret: &SpkSecret) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LEN));
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(secret.seed().expose());
        bytes
    }

    /// The bytes of the key file, where the key is in this process. Whoever stores them keeps them private.
    pub fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.secret().map(Self::file_of)
    }

    /// Both keys, where they are in this process.
    pub fn secret(&self) -> Option<&SpkSecret> {
        match &self.held {
            Held::Here(secret) => Some(secret),
            Held::Token(_) => None,
        }
    }

    /// Where the signing key lies.
    pub fn source(&self) -> Source<'_> {
        match &self.held {
            Held::Here(secret) => Source::Here(secret.signing_key()),
            Held::Token(token) => Source::Token(token.as_ref()),
        }
    }

    /// Runs `f` with a signer and randomness.
    pub(crate) fn sign<T>(&self, f: impl FnOnce(&Hand<'_>, &mut Entropy) -> T) -> Result<T, SignError> {
        self.source().sign(f)
    }

    /// Reads the key file at `path`, or draws a key and writes it there, readable by the owner only.
    ///
    /// # Errors
    /// [`KeyError`]; a file that others can read is refused.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Io { path: path.into(), source };
        match fs::read(path).map(Zeroizing::new) {
            Ok(bytes) => {
                check_private(path)?;
                Self::from_bytes(&bytes)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let secret = draw()?;
                // Created whole or not at all: a half-written key file would lock its owner out.
                let part = path.with_extension("part");
                let _absent = fs::remove_file(&part);
                let mut file = private().open(&part).map_err(fail)?;
                file.write_all(&Self::file_of(&secret)).and_then(|()| file.sync_all()).map_err(fail)?;
                fs::rename(&part, path).map_err(fail)?;
                crate::durable::sync_parent(path).map_err(fail)?;
                Ok(secret.into())
            }
            Err(e) => Err(fail(e)),
        }
    }

    /// Signs, with this key and the one of the authority that comes, that the latter follows (channel.md, H166); `time` in Unix
    /// seconds.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn succession(&self, new: &Self, time: u32) -> Result<[u8; SUCCESSION_LEN], SignError> {
        self.sign(|own, rng| {
            new.source()
                .with(|successor| Succession::issue(time, (&self.spk, own), (&new.spk, successor), rng))
        })?
        .map_err(Into::into)
    }

    /// The public keys.
    pub fn public(&self) -> Spk {
        self.spk
    }
}

fn draw() -> Result<SpkSecret, KeyError> {
    // A scalar is reduced into range, so a drawn seed always yields one.
    entropy::with(SpkSecret::generate)?.map_err(|_| KeyError::NotAKey)
}

/// How a new private file is opened.
pub(crate) fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
pub(crate) fn check_private(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(path).map_err(|source| KeyError::Io { path: path.into(), source })?.mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::NotPrivate(path.into())) }
}

/// Where access lists are inherited from the folder, there is nothing to compare with.
#[cfg(not(unix))]
pub(crate) fn check_private(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_stays_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.key");
        let first = AuthorityKey::load_or_create(&path).unwrap().public();
        assert_eq!(AuthorityKey::load_or_create(&path).unwrap().public(), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no half-written file remains");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(AuthorityKey::load_or_create(&path), Err(KeyError::NotPrivate(_))));
        }
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let good = AuthorityKey::generate().unwrap().to_bytes().unwrap();
        assert!(AuthorityKey::from_bytes(&good).is_ok());
        for (i, bad) in
            [&good[..36], &[&good[..], &[0]].concat(), b"", b"MBAK", &good[1..]].into_iter().enumerate()
        {
            assert!(matches!(AuthorityKey::from_bytes(bad), Err(KeyError::NotAKey)), "{i}");
        }
        let mut other = good.to_vec();
        other[4] = 2;
        assert!(matches!(AuthorityKey::from_bytes(&other), Err(KeyError::Version(2))));
        other[4] = 1;
        other[5..].fill(0xFF);
        assert!(matches!(AuthorityKey::from_bytes(&other), Err(KeyError::NotAKey)), "erased flash");
    }
}
