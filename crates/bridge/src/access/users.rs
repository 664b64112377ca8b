//! The users of a bridge: one file, replaced as a whole, read again when it changed (A132).
//!
//! A passphrase is kept as Argon2id with a salt of its own, a token and a certificate as their hash. Nothing in the
//! file lets anybody in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use api::{encoding::Hex, session::token_hash};
use argon2::{Algorithm, Argon2, Params, Version};
use lct::{Digest, hash::sha256, id::valid_component_id, secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Role, Scope};
use crate::{durable, entropy};

const FORMAT: u32 = 1;
/// Longest file of users, in bytes.
const FILE_MAX: u64 = 4 << 20;
/// Shortest passphrase, in characters.
pub const PASSPHRASE_MIN: usize = 12;
/// For how long nobody looks whether the file is still the same: shorter than it takes to change it and ask, and long enough that
/// the system is not asked for every request of many.
const LOOK: Duration = Duration::from_micros(500);
/// Of Argon2id: memory in KiB, passes, lanes (OWASP's first choice).
const ARGON2: (u32, u32, u32) = (19_456, 2, 1);

/// Why the users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file is not one.
    #[error("{}: {what}; restore it from a copy", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system refuses.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such user.
    #[error("there is no user {0:?}; `modbatt user list` shows them")]
    Unknown(String),
    /// There is one already.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// A name, passphrase or component that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The last administrator would be gone.
    #[error("{0:?} is the only administrator left; make another first")]
    LastAdministrator(String),
    /// The passphrase that was shown is not his any more.
    #[error("{0:?} was given another passphrase, or shut out, meanwhile")]
    Superseded(String),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] entropy::NoEntropy),
}

/// A passphrase, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashed {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Hex<16>,
    hash: Hex<32>,
}

impl Hashed {
    fn of(passphrase: &str) -> Result<Self, UsersError> {
        let salt = random()?;
        let (memory_kib, passes, lanes) = ARGON2;
        let mut hashed = Hashed { memory_kib, passes, lanes, salt: Hex(*salt), hash: Hex([0; 32]) };
        hashed.hash = Hex(*hashed.compute(passphrase).ok_or_else(|| {
            UsersError::Invalid(
                "the passphrase cannot be hashed: not enough memory, or it is too long".into(),
            )
        })?);
        Ok(hashed)
    }

    fn compute(&self, passphrase: &str) -> Option<Zeroizing<[u8; 32]>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()?;
        let mut out = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), &self.salt.0, out.as_mut_slice()).ok()?;
        Some(out)
    }

    fn is(&self, passphrase: &str) -> bool {
        self.compute(passphrase).is_some_and(|hash| secret::equal(hash.as_slice(), &self.hash.0))
    }
}

/// A token of a user, bound to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its hash.
    pub hash: Hex<32>,
    /// The key that its requests are signed with.
    pub key: Hex<33>,
    /// Unix seconds.
    pub expires_at: u64,
    /// The components that it is for; those of the user when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<String>>,
}

/// A certificate of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Hex<32>,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Somebody who may use the bridge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// 1 to 64 of `[A-Za-z0-9._@-]`.
    pub name: String,
    /// What he may.
    pub role: Role,
    /// With which components; every one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<String>>,
    /// Shut out.
    #[serde(default)]
    pub disabled: bool,
    /// From when on he is shut out, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<Hashed>,
    /// The passphrase was given for once, and only opens until then, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once_until: Option<u64>,
    /// Goes up with each passphrase and whenever he is shut out: what was opened before stays shut when he is let in again.
    #[serde(default)]
    epoch: u64,
    /// His tokens.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// His certificates.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

impl User {
    /// A user without any means to prove himself.
    ///
    /// # Errors
    /// [`UsersError::Invalid`].
    pub fn new(name: &str, role: Role, components: Option<Vec<String>>) -> Result<Self, UsersError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(UsersError::Invalid(format!(
                "{name:?} is no name of a user: 1 to 64 letters, digits and . _ @ -"
            )));
        }
        if name == super::LOCAL {
            return Err(UsersError::Invalid(format!("{name:?} names whoever sits at this machine")));
        }
        check_components(components.as_deref())?;
        Ok(User {
            name: name.into(),
            role,
            components,
            disabled: false,
            expires_at: None,
            passphrase: None,
            once_until: None,
            epoch: 0,
            tokens: Vec::new(),
            certificates: Vec::new(),
        })
    }

    /// Gives him a passphrase.
    ///
    /// # Errors
    /// [`UsersError::Invalid`] shorter than [`PASSPHRASE_MIN`]; [`UsersError::Entropy`].
    pub fn set_passphrase(&mut self, passphrase: &str) -> Result<(), UsersError> {
        if passphrase.chars().count() < PASSPHRASE_MIN || passphrase.len() > api::session::PASSPHRASE_MAX {
            return Err(UsersError::Invalid(format!(
                "a passphrase has {PASSPHRASE_MIN} characters or more, and at most {} bytes",
                api::session::PASSPHRASE_MAX
            )));
        }
        self.passphrase = Some(Hashed::of(passphrase)?);
        self.once_until = None;
        self.epoch = self.epoch.saturating_add(1);
        Ok(())
    }

    /// What a session hangs on: another passphrase, or having been shut out, makes it another one.
    pub(crate) fn bond(&self) -> Digest {
        let kept = self.passphrase.as_ref();
        // The hash besides the number, since a user of the same name may be made anew.
        let (salt, hash): (&[u8], &[u8]) =
            kept.map_or((&[][..], &[][..]), |kept| (&kept.salt.0[..], &kept.hash.0[..]));
        sha256(&[b"modbatt1 session", &self.epoch.to_be_bytes(), salt, hash])
    }

    /// Draws a passphrase, 96 random bits, that only serves to set another one, until `until`, Unix seconds.
    ///
    /// # Errors
    /// [`UsersError::Entropy`].
    pub fn give_passphrase_once(&mut self, until: u64) -> Result<Zeroizing<String>, UsersError> {
        let drawn: Zeroizing<[u8; 12]> = random()?;
        let digits = Zeroizing::new(hex::encode(drawn.as_slice()));
        let mut passphrase = Zeroizing::new(String::with_capacity(30));
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && i % 4 == 0 {
                passphrase.push('-');
            }
            passphrase.push(digit);
        }
        self.set_passphrase(&passphrase)?;
        self.once_until = Some(until);
        Ok(passphrase)
    }

    /// Until when his passphrase only serves to set another one, Unix seconds; `None` for one of his own.
    pub fn once_until(&self) -> Option<u64> {
        self.once_until
    }

    /// Makes a token for the holder of `key`, and returns it: only its hash is kept.
    ///
    /// # Errors
    /// [`UsersError::Invalid`], [`UsersError::Entropy`].
    pub fn give_token(
        &mut self,
        key: &lct::sign::PublicKey,
        expires_at: u64,
        components: Option<Vec<String>>,
    ) -> Result<Zeroizing<String>, UsersError> {
        check_components(components.as_deref())?;
        if let (Some(own), Some(wanted)) = (&self.components, &components)
            && let Some(outside) = wanted.iter().find(|id| !own.contains(id))
        {
            return Err(UsersError::Invalid(format!("{} may not use {outside}", self.name)));
        }
        let token = draw_token()?;
        let hash = Hex(token_hash(&token));
        self.tokens.push(Token { hash, key: Hex(key.0), expires_at, components });
        Ok(token)
    }

    /// Whether he may use the bridge at `now_s`.
    pub fn is_active(&self, now_s: u64) -> bool {
        !self.disabled && self.expires_at.is_none_or(|end| now_s < end)
    }

    /// Whether he has something to prove himself with at `now_s`.
    fn proves(&self, now_s: u64) -> bool {
        let opens = self.passphrase.is_some() && self.once_until.is_none_or(|until| now_s < until);
        opens
            || self.certificates.iter().any(|certificate| now_s < certificate.expires_at)
            || self.tokens.iter().any(|token| now_s < token.expires_at)
    }

    /// With which components.
    pub fn scope(&self) -> Scope {
        self.components.clone().map_or(Scope::All, Scope::Components)
    }
}

fn check_components(components: Option<&[String]>) -> Result<(), UsersError> {
    match components.unwrap_or_default().iter().find(|id| !valid_component_id(id)) {
        Some(id) => Err(UsersError::Invalid(format!("{id:?} is no component id"))),
        None if components.is_some_and(<[String]>::is_empty) => {
            Err(UsersError::Invalid("a scope names one component at least".into()))
        }
        None => Ok(()),
    }
}

/// A token: 256 random bits.
pub(crate) fn draw_token() -> Result<Zeroizing<String>, entropy::NoEntropy> {
    let bytes: Zeroizing<[u8; 32]> = random()?;
    Ok(Zeroizing::new(format!("{}{}", api::session::TOKEN_PREFIX, hex::encode(bytes.as_slice()))))
}

pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, entropy::NoEntropy> {
    let mut bytes = Zeroizing::new([0; N]);
    entropy::with(|rng| rand_core::Rng::fill_bytes(rng, bytes.as_mut_slice()))?;
    Ok(bytes)
}

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserFile {
    format: u32,
    /// By name.
    pub users: Vec<User>,
}

impl Default for UserFile {
    fn default() -> Self {
        UserFile { format: FORMAT, users: Vec::new() }
    }
}

impl UserFile {
    /// Reads a file; none is one without users.
    ///
    /// # Errors
    /// [`UsersError::Damaged`], [`UsersError::Io`].
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let fail = |source| UsersError::Io { path: path.into(), source };
        let damaged = |what: String| UsersError::Damaged { path: path.into(), what };
        match fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(fail(e)),
            Ok(found) if found.len() > FILE_MAX => return Err(damaged("it is too long".into())),
            Ok(_) => {}
        }
        let file: UserFile = serde_json::from_slice(&fs::read(path).map_err(fail)?)
            .map_err(|e| damaged(format!("it is no file of users ({e})")))?;
        if file.format != FORMAT {
            return Err(damaged(format!("it has format {}, this build knows {FORMAT}", file.format)));
        }
        Ok(file)
    }

    /// Replaces a file; on the disk when this returns, and readable by its owner only.
    ///
    /// # Errors
    /// [`UsersError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), UsersError> {
        let fail = |source| UsersError::Io { path: path.into(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|e| fail(e.into()))?;
        durable::replace_private(path, &text).map_err(fail)
    }

    /// Reads, changes and replaces a file, while nobody else does.
    ///
    /// # Errors
    /// As [`UserFile::read`] and [`UserFile::write`], and what `change` refuses; then nothing is written.
    pub fn change<T, E: From<UsersError>>(
        path: &Path,
        change: impl FnOnce(&mut UserFile) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = path.with_extension("lock");
        let fail = |source| UsersError::Io { path: lock.clone(), source };
        let held = fs::File::options().create(true).truncate(false).write(true).open(&lock).map_err(fail)?;
        held.lock().map_err(fail)?;
        let mut file = UserFile::read(path)?;
        let done = change(&mut file)?;
        file.write(path)?;
        Ok(done)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`UsersError::Unknown`].
    pub fn user(&mut self, name: &str) -> Result<&mut User, UsersError> {
        let found = self.users.iter_mut().find(|user| user.name == name);
        found.ok_or_else(|| UsersError::Unknown(name.into()))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`UsersError::Exists`].
    pub fn add(&mut self, user: User) -> Result<(), UsersError> {
        if self.users.iter().any(|other| other.name == user.name) {
            return Err(UsersError::Exists(user.name));
        }
        self.users.push(user);
        Ok(())
    }

    /// Gives a user another role, or shuts him out or in; an administrator always remains, who can prove himself at `now_s`.
    ///
    /// # Errors
    /// [`UsersError::Unknown`], [`UsersError::LastAdministrator`].
    pub fn set(
        &mut self,
        name: &str,
        role: Option<Role>,
        disabled: Option<bool>,
        now_s: u64,
    ) -> Result<(), UsersError> {
        let user = self.user(name)?;
        let before = user.clone();
        user.role = role.unwrap_or(user.role);
        user.disabled = disabled.unwrap_or(user.disabled);
        if disabled == Some(true) {
            user.epoch = user.epoch.saturating_add(1);
        }
        // Who ends by himself, or has nothing to prove himself with, is not there when he is needed.
        let leads = |user: &User| {
            user.role == Role::Administrator
                && !user.disabled
                && user.expires_at.is_none()
                && user.proves(now_s)
        };
        if leads(&before) && !self.users.iter().any(leads) {
            *self.user(name)? = before;
            return Err(UsersError::LastAdministrator(name.into()));
        }
        Ok(())
    }
}

/// The users of a running bridge.
#[derive(Debug)]
pub(crate) struct Users {
    path: PathBuf,
    read: Mutex<Read>,
}

struct Read {
    /// When it was found to be the one that is there; `None` where that is to be seen.
    looked: Option<Instant>,
    stamp: Option<(SystemTime, u64)>,
    file: Arc<UserFile>,
    /// Whether there ever were users: with their file gone nobody is let in, instead of everybody.
    seen: bool,
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

impl Users {
    pub fn open(path: PathBuf) -> Result<Self, UsersError> {
        let stamp = stamp(&path);
        let file = Arc::new(UserFile::read(&path)?);
        let seen = !file.users.is_empty();
        Ok(Users { path, read: Mutex::new(Read { looked: None, stamp, file, seen }) })
    }

    /// The file of the sources from which they log in.
    pub fn sources(&self) -> PathBuf {
        self.path.with_extension("sources")
    }

    /// The users as the file has them at this moment, or had them within [`LOOK`]; `None` where there are none and were none since
    /// the start.
    pub fn now(&self) -> Result<Option<Arc<UserFile>>, UsersError> {
        let (mut read, now) = (self.lock(), Instant::now());
        if read.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK) {
            let stamp = stamp(&self.path);
            if read.stamp != stamp {
                read.looked = None;
                read.file = Arc::new(UserFile::read(&self.path)?);
                read.stamp = stamp;
                read.seen |= !read.file.users.is_empty();
            }
            read.looked = Some(now);
        }
        Ok(read.seen.then(|| read.file.clone()))
    }

    /// Gives a user another passphrase, in the file, in the place of the one that `bond` is of; what is returned is the bond
    /// of the new one.
    pub fn set_passphrase(&self, name: &str, bond: &Digest, passphrase: &str) -> Result<Digest, UsersError> {
        let bond = UserFile::change(&self.path, |file| {
            let user = file.user(name)?;
            // Whoever knows an older one does not take the user back from who changed it.
            if user.bond() != *bond {
                return Err(UsersError::Superseded(name.into()));
            }
            user.set_passphrase(passphrase)?;
            Ok(user.bond())
        })?;
        // Who set it asks with what it opened, at once.
        self.lock().looked = None;
        Ok(bond)
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// Whether this is the passphrase of the user. Takes as long whether there is such a user or not.
pub(crate) fn check_passphrase(user: Option<&User>, passphrase: &str) -> bool {
    match user.and_then(|user| user.passphrase.as_ref()) {
        Some(hashed) => hashed.is(passphrase),
        None => {
            let (memory_kib, passes, lanes) = ARGON2;
            let nobody = Hashed { memory_kib, passes, lanes, salt: Hex([0; 16]), hash: Hex([0; 32]) };
            let _nobody = nobody.is(passphrase);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_passphrases_and_scopes_that_cannot_be() {
        for name in ["", "local", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(User::new(name, Role::Viewer, None).is_err(), "{name}");
        }
        for components in [vec![], vec!["no good".to_owned()], vec!["ok-1".to_owned(), String::new()]] {
            assert!(User::new("a", Role::Viewer, Some(components)).is_err());
        }
        let mut user = User::new("a", Role::Viewer, Some(vec!["abc".into()])).unwrap();
        assert!(user.set_passphrase("elevenchars").is_err());
        let key = lct::sign::SigningKey::from_bytes(&[3; 32]).unwrap().public();
        let wider = user.give_token(&key, 1, Some(vec!["abd".into()]));
        assert!(wider.unwrap_err().to_string().contains("may not use abd"));
    }

    #[test]
    fn a_file_is_read_again_when_it_changed_and_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.json");
        let mut file = UserFile::default();
        let mut user = User::new("ann", Role::Administrator, None).unwrap();
        user.set_passphrase("a long passphrase").unwrap();
        let key = lct::sign::SigningKey::from_bytes(&[3; 32]).unwrap().public();
        let token = user.give_token(&key, 9, None).unwrap();
        file.add(user).unwrap();
        assert!(matches!(
            file.add(User::new("ann", Role::Viewer, None).unwrap()),
            Err(UsersError::Exists(_))
        ));
        file.write(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("a long passphrase") && !text.contains(&**token) && !text.contains(&token[4..])
        );
        let users = Users::open(path.clone()).unwrap();
        let now = |users: &Users| {
            std::thread::sleep(LOOK);
            users.now()
        };
        let ann = |users: &Users| now(users).unwrap().unwrap().users[0].clone();
        assert!(check_passphrase(Some(&ann(&users)), "a long passphrase"));
        assert!(!check_passphrase(Some(&ann(&users)), "a long passphrasf"));
        assert!(!check_passphrase(None, "a long passphrase"));
        assert!(ann(&users).is_active(5));

        let last = file.set("ann", None, Some(true), 5).unwrap_err();
        assert!(matches!(last, UsersError::LastAdministrator(_)), "{last}");
        let mut bob = User::new("bob", Role::Administrator, None).unwrap();
        file.add(bob.clone()).unwrap();
        let last = file.set("ann", None, Some(true), 5).unwrap_err();
        assert!(matches!(last, UsersError::LastAdministrator(_)), "one without any means is none");
        file.users.retain(|user| user.name != "bob");
        bob.set_passphrase("another long passphrase").unwrap();
        file.add(bob).unwrap();
        file.set("ann", Some(Role::Viewer), Some(true), 5).unwrap();
        file.write(&path).unwrap();
        assert!(!ann(&users).is_active(5), "shut out at once");
        assert_eq!(ann(&users).role, Role::Viewer);
        fs::write(&path, "{").unwrap();
        assert!(now(&users).is_err(), "a damaged file lets nobody in");
        assert!(users.now().is_err(), "nor does it at the next look");
        fs::remove_file(&path).unwrap();
        assert!(now(&users).unwrap().unwrap().users.is_empty(), "nor does one that is gone");
        // The first ones come while the bridge runs.
        let users = Users::open(path.clone()).unwrap();
        assert!(users.now().unwrap().is_none());
        file.write(&path).unwrap();
        assert!(now(&users).unwrap().is_some());
    }

    #[test]
    fn an_administrator_whose_means_ran_out_is_none() {
        let key = lct::sign::SigningKey::from_bytes(&[3; 32]).unwrap().public();
        let user = |name: &str| User::new(name, Role::Administrator, None).unwrap();
        let mut ann = user("ann");
        ann.set_passphrase("a long passphrase").unwrap();
        let (mut once, mut token, mut certificate) = (user("bob"), user("bob"), user("bob"));
        once.give_passphrase_once(9).unwrap();
        token.give_token(&key, 9, None).unwrap();
        certificate.certificates.push(Certificate { fingerprint: Hex([1; 32]), expires_at: 9 });
        for bob in [once, token, certificate] {
            let mut file = UserFile { users: vec![ann.clone(), bob], ..UserFile::default() };
            let last = file.set("ann", None, Some(true), 9).unwrap_err();
            assert!(matches!(last, UsersError::LastAdministrator(_)), "{last}");
            assert!(file.users[0] == ann, "what is refused changes nothing");
            file.set("ann", None, Some(true), 8).unwrap();
        }
    }

    #[test]
    fn a_bond_ends_with_a_passphrase_and_with_being_shut_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.json");
        let mut ann = User::new("ann", Role::Viewer, None).unwrap();
        ann.set_passphrase("a long passphrase").unwrap();
        let mut file = UserFile::default();
        file.add(ann).unwrap();
        let first = file.users[0].bond();
        file.set("ann", Some(Role::Operator), None, 0).unwrap();
        file.set("ann", None, Some(false), 0).unwrap();
        assert_eq!(file.users[0].bond(), first, "nothing of that shuts him out");
        file.set("ann", None, Some(true), 0).unwrap();
        file.set("ann", None, Some(false), 0).unwrap();
        let second = file.users[0].bond();
        assert_ne!(second, first);
        file.write(&path).unwrap();
        let users = Users::open(path.clone()).unwrap();
        let late = users.set_passphrase("ann", &first, "another long passphrase").unwrap_err();
        assert!(matches!(late, UsersError::Superseded(_)), "{late}");
        let third = users.set_passphrase("ann", &second, "a long passphrase").unwrap();
        assert_ne!(third, second, "the same words are another passphrase");
        assert_eq!(UserFile::read(&path).unwrap().users[0].bond(), third);
    }

    /// As one was written before users had a number of their passphrase.
    #[test]
    fn a_file_without_epochs_is_read() {
        let text = r#"{"format":1,"users":[{"name":"ann","role":"viewer"}]}"#;
        let file: UserFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.users[0].epoch, 0);
    }
}
