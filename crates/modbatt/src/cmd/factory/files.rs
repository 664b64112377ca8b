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
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use lct::attest::DeviceCertificate;
use lct::sign::SigningKey;
use serde_json::Value;
use zeroize::Zeroizing;

use super::line::Issuer;
use crate::cmd::data_dir::replace_file;
use crate::cmd::{Failure, reason};
use crate::custody::{Custody, EncryptedFiles, PassphraseArgs, PrivateFiles};

const FORMAT: &str = "format";
const FORMAT_TEXT: &str = "modbatt factory 1\n";
const CERTIFICATE: &str = "mbcert";

/// A factory directory that was found in order.
pub struct Factory {
    path: PathBuf,
    keys: Box<dyn Custody>,
}

impl Factory {
    /// Makes a directory. With a passphrase its keys are encrypted.
    pub fn create(path: &Path, passphrase: Option<&SecretString>) -> Result<Self, Failure> {
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
        for folder in ["batches", "devices", "keys"] {
            fs::create_dir_all(path.join(folder)).map_err(|e| failure(path, &e))?;
        }
        let keys = path.join("keys");
        private_folder(&keys)?;
        let keys: Box<dyn Custody> = match passphrase {
            Some(passphrase) => Box::new(EncryptedFiles::new(&keys, passphrase)),
            None => Box::new(PrivateFiles::new(&keys)),
        };
        Ok(Factory { path: path.to_owned(), keys })
    }

    /// Declares the directory complete.
    pub fn finish(&self) -> Result<(), Failure> {
        Ok(replace_file(&self.path.join(FORMAT), FORMAT_TEXT.as_bytes())?)
    }

    /// Opens a directory; asks for the passphrase when its keys are encrypted and `signing` needs them.
    pub fn open(path: &Path, signing: Option<&PassphraseArgs>) -> Result<Self, Failure> {
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
        let folder = path.join("keys");
        let keys: Box<dyn Custody> = match signing {
            Some(args) if EncryptedFiles::has(&folder, "root") => {
                Box::new(EncryptedFiles::new(&folder, &args.existing()?))
            }
            _ => Box::new(PrivateFiles::new(&folder)),
        };
        Ok(Factory { path: path.to_owned(), keys })
    }

    /// Keeps a secret.
    pub fn keep(&self, name: &str, secret: &[u8]) -> Result<(), Failure> {
        Ok(self.keys.store(name, secret)?)
    }

    /// Keeps an issuer: the root (`batch` is `None`) or a batch authority.
    pub fn keep_issuer(&self, batch: Option<&str>, issuer: &Issuer) -> Result<(), Failure> {
        // The key first: a certificate without its key could never be used again.
        self.keep(&key_name(batch), issuer.key.to_bytes().expose())?;
        Ok(replace_file(&self.certificate_path(batch), &issuer.certificate.0)?)
    }

    /// The root, or a batch authority, with its key.
    pub fn issuer(&self, batch: Option<&str>) -> Result<Issuer, Failure> {
        let certificate = self.certificate(batch)?;
        let name = key_name(batch);
        let place = self.keys.place(&name);
        let damaged = |what: &str| Failure::Input(format!("{place} {what}; restore it from a copy"));
        let secret = self.keys.load(&name)?.ok_or_else(|| damaged("is missing"))?;
        let scalar = <[u8; 32]>::try_from(secret.as_slice()).map(Zeroizing::new);
        let scalar = scalar.map_err(|_| damaged("is not 32 bytes long"))?;
        let key = SigningKey::from_bytes(&scalar).map_err(|_| damaged("is not a P-256 key"))?;
        if certificate.subject().is_ok_and(|s| s.key != key.public()) {
            return Err(damaged("does not fit its certificate"));
        }
        Ok(Issuer { key, certificate })
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

/// Name of an issuer's key.
pub fn key_name(batch: Option<&str>) -> String {
    batch.map_or_else(|| "root".to_owned(), |name| format!("batch-{name}"))
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
