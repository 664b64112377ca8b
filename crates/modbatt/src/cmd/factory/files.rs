//! The factory directory.
//!
//! ```text
//! format                    text: "modbatt factory 1\n"; written last, so a directory with it is complete
//! root.mbcert               the manufacturer's own certificate, 167 bytes; devices and ledgers pin its key
//! batches/NAME.mbcert       a batch authority, certified by the root
//! devices/ID.mbcert         a device, certified by its batch authority
//! devices/ID.json           what the device is: serial, hardware, batch, unique id, time of issue
//! keys/root[.age]           32-byte scalar
//! keys/batch-NAME[.age]     32-byte scalar
//! keys/device-ID[.age]      32-byte scalar, only of devices whose key was drawn here
//! keys/code-ID[.age]        what a pack stores of its printed code, 97 bytes; the code itself is on the label only
//! keys/root.token           in which token the root's key lies, in the place of keys/root; keys/batch-NAME.token likewise
//! keys/check.age            nothing, encrypted: that a passphrase is that of the other files, where the root's key is none of them
//! ```

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use bridge::Token as _;
use lct::attest::DeviceCertificate;
use lct::sign::{PublicKey, SigningKey};
use rand_core::CryptoRng;
use serde_json::Value;
use zeroize::Zeroizing;

use super::line::Issuer;
use crate::cmd::data_dir::replace_file;
use crate::cmd::keys::{erase, synced};
use crate::cmd::send::Signatory;
use crate::cmd::{Failure, reason};
use crate::custody::token::{Held, Place};
use crate::custody::{Custody, EncryptedFiles, PrivateFiles, Unlock};

const FORMAT: &str = "format";
const FORMAT_TEXT: &str = "modbatt factory 1\n";
const CERTIFICATE: &str = "mbcert";
const KEYS: &str = "keys";
const ROOT: &str = "root";
const CHECK: &str = "check";

/// A factory directory that was found in order.
pub struct Factory {
    path: PathBuf,
    unlock: Unlock,
    /// Whether files with keys are encrypted.
    encrypted: bool,
    /// Once it is needed.
    passphrase: OnceCell<SecretString>,
    /// Whether it opened a file of this factory.
    proven: Cell<bool>,
}

impl Factory {
    /// One that is to be made, whose files with keys are encrypted where `encrypted` says so; nothing is written yet.
    pub fn new(path: &Path, encrypted: bool, unlock: &Unlock) -> Result<Self, Failure> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(Failure::Input(format!(
                        "{} is not empty; name a new directory for the factory",
                        path.display()
                    )));
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(failure(path, &e)),
        }
        let factory = Factory::at(path, encrypted, unlock);
        if encrypted {
            let passphrase = unlock.passphrase.new_one()?;
            let _first = factory.passphrase.set(passphrase);
        }
        Ok(factory)
    }

    fn at(path: &Path, encrypted: bool, unlock: &Unlock) -> Self {
        let (path, unlock) = (path.to_owned(), unlock.clone());
        Factory { path, unlock, encrypted, passphrase: OnceCell::new(), proven: Cell::new(false) }
    }

    /// Makes the directory.
    pub fn create(&self) -> Result<(), Failure> {
        for folder in ["batches", "devices", KEYS] {
            fs::create_dir_all(self.path.join(folder)).map_err(|e| failure(&self.path, &e))?;
        }
        private_folder(&self.keys())
    }

    /// Declares the directory complete.
    pub fn finish(&self) -> Result<(), Failure> {
        Ok(replace_file(&self.path.join(FORMAT), FORMAT_TEXT.as_bytes())?)
    }

    /// Opens a directory; asks for passphrase and PIN when a key is needed that is kept so.
    pub fn open(path: &Path, unlock: &Unlock) -> Result<Self, Failure> {
        match fs::read_to_string(path.join(FORMAT)) {
            Ok(text) if text == FORMAT_TEXT => {}
            Ok(text) => {
                return Err(Failure::Input(format!(
                    "{} has format `{}`, this build knows `{}`; use the build that made it",
                    path.display(),
                    text.lines().next().unwrap_or_default().chars().take(40).collect::<String>(),
                    FORMAT_TEXT.trim_end()
                )));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Failure::Input(format!(
                    "{path} is not a factory directory; `modbatt factory init {path} --name MAKER` makes one",
                    path = path.display()
                )));
            }
            Err(e) => return Err(failure(path, &e)),
        }
        let keys = path.join(KEYS);
        let encrypted = EncryptedFiles::has(&keys, ROOT) || EncryptedFiles::has(&keys, CHECK);
        Ok(Factory::at(path, encrypted, unlock))
    }

    fn keys(&self) -> PathBuf {
        self.path.join(KEYS)
    }

    /// Where secrets are files.
    fn custody(&self) -> Result<Box<dyn Custody>, Failure> {
        if !self.encrypted {
            return Ok(Box::new(PrivateFiles::new(&self.keys())));
        }
        if self.passphrase.get().is_none() {
            let _first = self.passphrase.set(self.unlock.passphrase.existing()?);
        }
        let passphrase = self.passphrase.get().ok_or_else(|| Failure::Failed("no passphrase".into()))?;
        Ok(Box::new(EncryptedFiles::new(&self.keys(), passphrase)))
    }

    /// Keeps a secret.
    pub fn keep(&self, name: &str, secret: &[u8]) -> Result<(), Failure> {
        let custody = self.custody()?;
        if self.encrypted && !self.proven.get() {
            // Files under several passphrases would be lost one after the other. Before the first one there is none.
            let first = if EncryptedFiles::has(&self.keys(), CHECK) { CHECK } else { ROOT };
            custody.load(first)?;
            self.proven.set(true);
        }
        Ok(custody.store(name, secret)?)
    }

    /// Keeps an issuer: the root (`batch` is `None`) or a batch authority, whose key may lie in a token.
    pub fn keep_issuer(
        &self,
        batch: Option<&str>,
        issuer: &Issuer,
        held: Option<&Held>,
    ) -> Result<(), Failure> {
        // The key first: a certificate without its key could never be used again.
        match held {
            Some(held) => self.keep_place(batch, held)?,
            None => self.keep(&key_name(batch), issuer.scalar()?.expose())?,
        }
        Ok(replace_file(&self.certificate_path(batch), &issuer.certificate.0)?)
    }

    fn place_path(&self, batch: Option<&str>) -> PathBuf {
        self.keys().join(format!("{}.token", key_name(batch)))
    }

    fn keep_place(&self, batch: Option<&str>, held: &Held) -> Result<(), Failure> {
        if batch.is_none() && self.encrypted {
            self.keep(CHECK, &[])?;
            synced(&self.keys())?;
        }
        held.write(&self.place_path(batch))?;
        synced(&self.keys())
    }

    /// In which token the key of an issuer lies, if it does.
    pub fn held(&self, batch: Option<&str>) -> Result<Option<Held>, Failure> {
        Ok(Held::read(&self.place_path(batch))?)
    }

    /// Puts the key of an issuer into a token; the file that held it is erased. Done again after an interruption, it ends what it
    /// began.
    pub fn import(&self, batch: Option<&str>, place: &Place) -> Result<Held, Failure> {
        let (name, certificate) = (key_name(batch), self.certificate(batch)?);
        let files = [name.clone(), format!("{name}.age")].map(|name| self.keys().join(name));
        let left: Vec<&PathBuf> = files.iter().filter(|file| file.exists()).collect();
        let held = match self.held(batch)? {
            Some(Held { place: Place { token, .. }, .. }) if left.is_empty() => {
                return Err(Failure::Input(format!("this key lies in the token `{token}` already")));
            }
            Some(held) if held.place != *place => {
                let Place { module, token } = held.place;
                return Err(Failure::Input(format!(
                    "this key lies in the token `{token}` already, only its file is not erased; name that token (--module {} \
                     --token {token})",
                    module.display()
                )));
            }
            // The file is erased, as far as that came, so the key in the token is all that counts: it signs, or nothing is erased.
            Some(held) => {
                let key = held.open(&self.unlock.pin.get()?)?;
                fits(&key.public(), &certificate, &self.place_path(batch).display())?;
                synced(&self.keys())?;
                held
            }
            None => {
                let secret = self.secret(batch)?;
                fits(&secret.public(), &certificate, &self.custody()?.place(&name))?;
                let (held, _signs) = place.import(&name, &secret, &self.unlock.pin.get()?)?;
                self.keep_place(batch, &held)?;
                held
            }
        };
        left.into_iter().try_for_each(|file| erase(file))?;
        Ok(held)
    }

    /// Draws a key for an issuer, in a token if one is named.
    pub fn draw(
        &self,
        batch: Option<&str>,
        place: Option<Place>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Signatory, Option<Held>), Failure> {
        let Some(place) = place else { return Ok((SigningKey::generate(rng).into(), None)) };
        let (held, key) = place.generate(&key_name(batch), &self.unlock.pin.get()?, rng)?;
        Ok((Signatory::Token(Box::new(key)), Some(held)))
    }

    /// The root, or a batch authority, with its key.
    pub fn issuer(&self, batch: Option<&str>) -> Result<Issuer, Failure> {
        let certificate = self.certificate(batch)?;
        let (key, place) = match self.held(batch)? {
            Some(held) => {
                let key = held.open(&self.unlock.pin.get()?)?;
                (Signatory::Token(Box::new(key)), self.place_path(batch).display().to_string())
            }
            None => (self.secret(batch)?.into(), self.custody()?.place(&key_name(batch))),
        };
        fits(&key.public(), &certificate, &place)?;
        Ok(Issuer { key, certificate })
    }

    /// The key of an issuer out of its file.
    fn secret(&self, batch: Option<&str>) -> Result<SigningKey, Failure> {
        let (custody, name) = (self.custody()?, key_name(batch));
        let place = custody.place(&name);
        let damaged = |what: &str| Failure::Input(format!("{place} {what}; restore it from a copy"));
        let secret = custody.load(&name)?.ok_or_else(|| damaged("is missing"))?;
        self.proven.set(true);
        let scalar = <[u8; 32]>::try_from(secret.as_slice()).map(Zeroizing::new);
        let scalar = scalar.map_err(|_| damaged("is not 32 bytes long"))?;
        SigningKey::from_bytes(&scalar).map_err(|_| damaged("is not a P-256 key"))
    }

    /// The certificate of the root or of a batch authority.
    pub fn certificate(&self, batch: Option<&str>) -> Result<DeviceCertificate, Failure> {
        let path = self.certificate_path(batch);
        match batch {
            Some(name) if !path.exists() => Err(Failure::Input(format!(
                "there is no batch `{name}` in {dir}; `modbatt factory batch {dir} --name {name}` makes it",
                dir = self.path.display()
            ))),
            _ => read_certificate(&path),
        }
    }

    /// True when a batch of this name exists.
    pub fn has_batch(&self, name: &str) -> bool {
        self.certificate_path(Some(name)).exists()
    }

    fn certificate_path(&self, batch: Option<&str>) -> PathBuf {
        match batch {
            None => self.path.join("root").with_extension(CERTIFICATE),
            Some(name) => self.path.join("batches").join(format!("{name}.{CERTIFICATE}")),
        }
    }

    /// Where a device's certificate is, or will be.
    pub fn device_path(&self, id: &str) -> PathBuf {
        self.path.join("devices").join(format!("{id}.{CERTIFICATE}"))
    }

    /// Keeps a device's certificate and what is known of it.
    pub fn keep_device(
        &self,
        id: &str,
        certificate: &DeviceCertificate,
        about: &Value,
    ) -> Result<(), Failure> {
        let path = self.device_path(id);
        replace_file(&path.with_extension("json"), format!("{about:#}\n").as_bytes())?;
        Ok(replace_file(&path, &certificate.0)?)
    }

    /// What is known of each issued device, by component id.
    pub fn devices(&self) -> Result<Vec<Value>, Failure> {
        let folder = self.path.join("devices");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|e| failure(&folder, &e))? {
            let path = entry.map_err(|e| failure(&folder, &e))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| read_json(path)).collect()
    }

    /// The names of the batches.
    pub fn batches(&self) -> Result<Vec<String>, Failure> {
        let folder = self.path.join("batches");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|e| failure(&folder, &e))? {
            let path = entry.map_err(|e| failure(&folder, &e))?.path();
            if path.extension().is_some_and(|e| e == CERTIFICATE)
                && let Some(name) = path.file_stem().and_then(|n| n.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The key found at `place` is the one that the certificate is of: what another one signs, nobody takes.
fn fits(key: &PublicKey, certificate: &DeviceCertificate, place: &impl Display) -> Result<(), Failure> {
    match certificate.subject() {
        Ok(subject) if subject.key == *key => Ok(()),
        _ => Err(Failure::Input(format!("{place} does not fit its certificate; restore it from a copy"))),
    }
}

/// Name of an issuer's key.
pub fn key_name(batch: Option<&str>) -> String {
    batch.map_or_else(|| ROOT.to_owned(), |name| format!("batch-{name}"))
}

/// Reads a certificate file.
pub fn read_certificate(path: &Path) -> Result<DeviceCertificate, Failure> {
    let bytes = read_bounded(path, "certificate")?;
    DeviceCertificate::from_slice(&bytes)
        .map_err(|e| Failure::Input(format!("{} is not a device certificate: {e}", path.display())))
}

/// Reads a small file.
pub fn read_bounded(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    const MAX: u64 = 64 * 1024;
    let unreadable =
        |why: String| Failure::Input(format!("cannot read the {what} {}: {why}", path.display()));
    match fs::metadata(path) {
        Err(e) => Err(unreadable(reason(&e))),
        Ok(found) if found.len() > MAX => Err(unreadable("it is too long".into())),
        Ok(_) => fs::read(path).map_err(|e| unreadable(reason(&e))),
    }
}

/// Reads a P-256 key, a file of 32 bytes.
pub fn p256_key(path: &Path) -> Result<SigningKey, Failure> {
    let bytes = Zeroizing::new(read_bounded(path, "key")?);
    let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).ok();
    key.and_then(|key| SigningKey::from_bytes(&key).ok())
        .ok_or_else(|| Failure::Input(format!("{} is not a P-256 key of 32 bytes", path.display())))
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let bytes = read_bounded(path, "description")?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::Input(format!("{} is damaged: {e}; restore it from a copy", path.display())))
}

fn failure(path: &Path, e: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {}", path.display(), reason(e)))
}

#[cfg(unix)]
fn private_folder(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .map_err(|e| failure(path, &e))
}

#[cfg(not(unix))]
fn private_folder(_: &Path) -> Result<(), Failure> {
    Ok(())
}
