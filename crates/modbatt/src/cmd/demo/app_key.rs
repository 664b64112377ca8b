//! Where the app of an installation keeps its key: chosen when the data directory is made, found again afterwards.

use std::fmt;

use zeroize::Zeroizing;

use super::super::Failure;
use super::super::data_dir::DataDir;
use crate::custody::{Custody, EncryptedFiles, OsStore, PassphraseArgs, PrivateFiles};

/// Name of the secret of an app.
fn name(app: &str) -> String {
    format!("device-{app}")
}

/// A place for the app's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A file that only its owner may read.
    PrivateFile,
    /// A file encrypted under a passphrase.
    EncryptedFile,
    /// The key store of the operating system.
    OsStore,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::PrivateFile => "private-file",
            Place::EncryptedFile => "encrypted-file",
            Place::OsStore => "os-store",
        })
    }
}

/// Reads `--app-key`.
pub fn parse(text: &str) -> Result<Place, String> {
    let places = [Place::PrivateFile, Place::EncryptedFile, Place::OsStore];
    let found = places.into_iter().find(|place| place.to_string() == text);
    found.ok_or_else(|| "it is `private-file`, `encrypted-file` or `os-store`".into())
}

/// The app's key of one installation.
#[derive(Debug, Clone, Default)]
pub struct AppKey {
    /// Where it shall be; `None` is a private file in a new directory, and wherever it is in an old one.
    pub wanted: Option<Place>,
    /// How a passphrase is given.
    pub passphrase: PassphraseArgs,
}

impl AppKey {
    /// Keeps the key of a new app.
    pub fn store(&self, dir: &DataDir, app: &str, secret: &[u8]) -> Result<(), Failure> {
        let place = self.wanted.unwrap_or(Place::PrivateFile);
        Ok(self.custody(dir, place, true)?.store(&name(app), secret)?)
    }

    /// Reads the key of the app of an installation.
    pub fn load(&self, dir: &DataDir, app: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let place = found(dir, app);
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != place) {
            return Err(Failure::Input(format!(
                "the app's key of {} is kept in the place `{place}`, not `{wanted}`; leave --app-key out",
                dir.path().display()
            )));
        }
        let custody = self.custody(dir, place, false)?;
        custody.load(&name(app))?.ok_or_else(|| {
            Failure::Input(format!(
                "the app's key is missing: {}; restore it from a copy",
                custody.place(&name(app))
            ))
        })
    }

    fn custody(&self, dir: &DataDir, place: Place, new: bool) -> Result<Box<dyn Custody>, Failure> {
        Ok(match place {
            Place::PrivateFile => Box::new(PrivateFiles::new(&dir.keys())),
            Place::EncryptedFile => {
                let passphrase = if new { self.passphrase.new_one()? } else { self.passphrase.existing()? };
                Box::new(EncryptedFiles::new(&dir.keys(), &passphrase))
            }
            // One entry for each installation: the chain's id tells them apart.
            Place::OsStore => {
                Box::new(OsStore::new(&format!("modbatt {}", hex::encode(&dir.chain_id()[..8]))))
            }
        })
    }
}

/// Where the key of an existing directory is.
fn found(dir: &DataDir, app: &str) -> Place {
    if EncryptedFiles::has(&dir.keys(), &name(app)) {
        Place::EncryptedFile
    } else if dir.keys().join(name(app)).exists() {
        Place::PrivateFile
    } else {
        Place::OsStore
    }
}
