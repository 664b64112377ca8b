//! The authority's keys, wherever they are kept (`spec/api.md`, A210, A211): `NAME` is a plain key file, `NAME.age` an encrypted one,
//! and `NAME.token` says in which token the signing key lies; then `NAME-opening.age` is the opening key. Where others followed,
//! `NAME.lineage` says who (A98), and the keys of each are those of the name `NAME-ID`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use bridge::{AuthorityKey, Lineage};
use lct::journal::KeyStatement;
use lct::secret::Secret;
use lct::spk::{OpeningKey, Spk};
use zeroize::Zeroizing;

use super::token::Held;
use super::{Custody, EncryptedFiles, PassphraseArgs, PrivateFiles, Unlock};
use crate::cmd::Failure;

/// Ends the name of the file that says who followed.
pub const LINEAGE: &str = ".lineage";
/// Ends the name of the opening key of an authority whose signing key lies in a token.
const OPENING: &str = "-opening";

/// The keys of one authority on this computer.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: PathBuf,
    name: String,
    lineage: Option<Lineage>,
    /// Of those that it followed, the first one first.
    earlier: Vec<String>,
}

/// What opens the first keys of devices' logs, which are sealed to whoever was the authority when a log began.
#[derive(Default)]
pub struct Openings {
    keys: Vec<OpeningKey>,
    /// Keys of an earlier authority are not at hand.
    lack: bool,
}

impl From<OpeningKey> for Openings {
    fn from(key: OpeningKey) -> Self {
        Openings { keys: vec![key], lack: false }
    }
}

impl Openings {
    /// The first key of a log; `Ok(None)` where it may be sealed to an authority whose key is not at hand.
    ///
    /// # Errors
    /// It is sealed to none of them.
    pub fn first_key(&self, statement: &KeyStatement) -> Result<Option<Secret<32>>, lct::Error> {
        let opened = self.keys.iter().find_map(|key| statement.first_key(key).ok());
        match opened {
            None if !self.lack => Err(lct::Error::NotAuthentic),
            opened => Ok(opened),
        }
    }
}

/// How they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file that only its owner may read.
    Plain,
    /// In a file encrypted under a passphrase.
    Encrypted,
    /// The signing key in a token, the opening key in an encrypted file.
    Token(Held),
}

impl Keys {
    /// Those at `path`, or of whoever followed: the plain key file, or what stands in its place.
    pub fn at(path: &Path) -> Result<Self, Failure> {
        let keys = Self::named(path)?;
        let lineage = Lineage::read(&keys.file(LINEAGE)).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(match lineage {
            None => keys,
            Some(lineage) => keys.followed(lineage),
        })
    }

    /// Those of whoever is the authority by this line; the name is that of the first one.
    pub fn followed(&self, lineage: Lineage) -> Self {
        let name = |spk: &Spk| match spk == lineage.first() {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, spk.id()),
        };
        let (now, earlier) = (name(lineage.last()), lineage.earlier().map(name).collect());
        Keys { folder: self.folder.clone(), name: now, earlier, lineage: Some(lineage) }
    }

    /// Those of exactly this name.
    pub fn named(path: &Path) -> Result<Self, Failure> {
        let nameless = || Failure::Input(format!("{} is no name of a key file", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(nameless)?;
        let name = [".age", ".token"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        Ok(Keys { folder, name: name.to_owned(), lineage: None, earlier: Vec::new() })
    }

    /// Who was the authority before, where it followed somebody.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// Those of the authorities that it followed, the last one first.
    pub fn earlier(&self) -> impl Iterator<Item = Keys> {
        self.earlier.iter().rev().map(|name| Keys { name: name.clone(), ..self.clone() })
    }

    /// The file with this ending.
    pub fn file(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.name);
        name.push(ending);
        self.folder.join(name)
    }

    /// Their name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Their folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Name of the secret that holds the opening key beside a token.
    pub fn opening_name(&self) -> String {
        format!("{}{OPENING}", self.name)
    }

    /// How they are kept; what an interrupted change left behind counts for nothing.
    pub fn kept(&self) -> Result<Option<Kept>, Failure> {
        if let Some(held) = Held::read(&self.file(".token"))? {
            return Ok(Some(Kept::Token(held)));
        }
        Ok(self.in_file())
    }

    /// File of the opening key beside a token.
    pub fn opening_file(&self) -> PathBuf {
        self.file(&format!("{OPENING}.age"))
    }

    /// Which file holds both keys, whatever else there is.
    pub fn in_file(&self) -> Option<Kept> {
        match (EncryptedFiles::has(&self.folder, &self.name), self.file("").exists()) {
            (true, _) => Some(Kept::Encrypted),
            (false, true) => Some(Kept::Plain),
            (false, false) => None,
        }
    }

    /// Both keys out of a file.
    pub fn open_file(&self, kept: &Kept, passphrase: &SecretString) -> Result<AuthorityKey, Failure> {
        let bytes = match kept {
            Kept::Encrypted => self.bytes(&self.name, &EncryptedFiles::new(&self.folder, passphrase))?,
            _ => self.bytes(&self.name, &PrivateFiles::new(&self.folder))?,
        };
        self.read(&bytes)
    }

    fn missing(&self) -> Failure {
        Failure::Input(format!("there is no key file {}; restore it from a backup", self.file("").display()))
    }

    fn bytes(&self, name: &str, custody: &dyn Custody) -> Result<Zeroizing<Vec<u8>>, Failure> {
        custody.load(name)?.ok_or_else(|| {
            let place = custody.place(name);
            Failure::Input(format!("{place} is missing; restore it from a backup"))
        })
    }

    fn encrypted(&self, name: &str, passphrase: &PassphraseArgs) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.bytes(name, &EncryptedFiles::new(&self.folder, &passphrase.existing()?))
    }

    /// Opens them to sign.
    pub fn open(&self, unlock: &Unlock) -> Result<AuthorityKey, Failure> {
        match self.kept()?.ok_or_else(|| self.missing())? {
            Kept::Plain => self.read(&self.bytes(&self.name, &PrivateFiles::new(&self.folder))?),
            Kept::Encrypted => self.read(&self.encrypted(&self.name, &unlock.passphrase)?),
            Kept::Token(held) => {
                let spk = self.spk(&held)?;
                let key = held.open(&unlock.pin.get()?)?;
                AuthorityKey::in_token(spk, Box::new(key)).map_err(|e| Failure::Failed(e.to_string()))
            }
        }
    }

    /// Opens the key that opens what is sealed to the authority.
    pub fn open_sealed(&self, unlock: &Unlock) -> Result<OpeningKey, Failure> {
        let Some(Kept::Token(held)) = self.kept()? else {
            let key = self.open(unlock)?;
            let key = key.secret().map(|secret| secret.opening_key().clone());
            return key.ok_or_else(|| self.missing());
        };
        let bytes = self.encrypted(&self.opening_name(), &unlock.passphrase)?;
        let damaged = || {
            let file = self.opening_file();
            Failure::Input(format!("{} is damaged; restore it from a backup", file.display()))
        };
        let scalar = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| damaged())?;
        let key = OpeningKey::from_bytes(&scalar).map_err(|_| damaged())?;
        match key.public() == self.spk(&held)?.kem_pub() {
            true => Ok(key),
            false => Err(damaged()),
        }
    }

    /// What opens the first keys of logs: the key of this authority, and those of earlier ones that are at hand. `ask` says whether
    /// the passphrase may be asked for; without it a key that lies in a plain file is at hand, and no other.
    pub fn openings(&self, unlock: &Unlock, ask: bool) -> Result<Openings, Failure> {
        let mut openings = Openings::default();
        for keys in std::iter::once(self.clone()).chain(self.earlier()) {
            if !ask && keys.kept()? != Some(Kept::Plain) {
                openings.lack = true;
                continue;
            }
            match keys.open_sealed(unlock) {
                Ok(key) => openings.keys.push(key),
                // Earlier ones may be under another passphrase, or in a safe.
                Err(_) if keys.name != self.name => openings.lack = true,
                Err(failure) => return Err(failure),
            }
        }
        Ok(openings)
    }

    /// What they are known as: without opening anything, unless they are in a plain file.
    pub fn public(&self) -> Result<Option<Spk>, Failure> {
        match self.kept()? {
            None | Some(Kept::Encrypted) => Ok(None),
            Some(Kept::Plain) => self.open(&Unlock::default()).map(|key| Some(key.public())),
            Some(Kept::Token(held)) => self.spk(&held).map(Some),
        }
    }

    fn spk(&self, held: &Held) -> Result<Spk, Failure> {
        Spk::from_slice(&held.public).map_err(|_| {
            let file = self.file(".token");
            Failure::Input(format!("{} is damaged: `public` is no key of an authority", file.display()))
        })
    }

    fn read(&self, bytes: &[u8]) -> Result<AuthorityKey, Failure> {
        AuthorityKey::from_bytes(bytes).map_err(|e| {
            Failure::Input(format!("{} is damaged: {e}; restore it from a backup", self.file("").display()))
        })
    }
}
