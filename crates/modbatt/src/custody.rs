//! Where private keys of this computer are kept: in a PKCS#11 token, in the operating system's key store, in files encrypted
//! under a passphrase, or, for simulated devices, in private files.

pub mod authority;
mod encrypted;
mod os;
mod passphrase;
mod private;
pub mod token;

pub use encrypted::EncryptedFiles;
pub use os::OsStore;
pub use passphrase::{PassphraseArgs, Unlock};
pub use private::PrivateFiles;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cmd::Failure;

/// Longest secret that is kept, in bytes.
pub const SECRET_MAX: usize = 4_096;

/// Why a secret cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses a file.
    #[error("{}: {what}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        what: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] crate::cmd::data_dir::Error),
    /// Others may read the file.
    #[error("{} can be read by other users; make it private (chmod 600)", .0.display())]
    NotPrivate(PathBuf),
    /// The file is not what it should be.
    #[error("{} is damaged: {what}; restore it from a copy", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The passphrase does not open it.
    #[error("the passphrase does not open {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// No passphrase was given where one is needed.
    #[error(
        "a passphrase is needed and there is no terminal to ask on; give --passphrase-file FILE or set \
         MODBATT_PASSPHRASE"
    )]
    NoPassphrase,
    /// No PIN was given where one is needed.
    #[error("a PIN is needed and there is no terminal to ask on; give --pin-file FILE or set MODBATT_PIN")]
    NoPin,
    /// A variable of the environment is no text.
    #[error("{0} is not UTF-8 text")]
    NotText(&'static str),
    /// A token cannot be used.
    #[error("token `{token}`: {what}")]
    Token {
        /// Its label.
        token: String,
        /// What is wrong with it, or with what was asked of it.
        what: String,
    },
    /// The two entries of a new passphrase differ, or it is too short.
    #[error("{0}")]
    BadPassphrase(&'static str),
    /// This computer has no key store, or it is locked.
    #[error("the key store of this system cannot be used: {0}; keep the key in an encrypted file instead")]
    NoOsStore(String),
    /// The secret is longer than [`SECRET_MAX`].
    #[error("a secret of {0} bytes is not kept; at most {SECRET_MAX}")]
    TooLong(usize),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let sentence = error.to_string();
        match error {
            Error::Damaged { .. }
            | Error::NoPassphrase
            | Error::NoPin
            | Error::NotText(_)
            | Error::BadPassphrase(_) => Failure::Input(sentence),
            _ => Failure::Failed(sentence),
        }
    }
}

/// A place for secrets, each under a name of `[A-Za-z0-9_-]`.
pub trait Custody {
    /// The secret `name`, if there is one.
    fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;
    /// Keeps `secret` under `name`, durable on return; replaces an older one.
    fn store(&self, name: &str, secret: &[u8]) -> Result<(), Error>;
    /// Where it is kept, for people.
    fn place(&self, name: &str) -> String;
}

fn file_error(path: &Path, e: &std::io::Error) -> Error {
    Error::File { path: path.to_owned(), what: crate::cmd::reason(e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds of every place.
    pub fn keeps_and_replaces(place: &dyn Custody) {
        assert!(place.load("one").unwrap().is_none());
        for secret in [&[7u8; 32][..], &[9; 64], &[]] {
            place.store("one", secret).unwrap();
            assert_eq!(place.load("one").unwrap().unwrap().as_slice(), secret);
        }
        place.store("two", b"other").unwrap();
        assert_eq!(place.load("one").unwrap().unwrap().as_slice(), b"");
        assert_eq!(place.load("two").unwrap().unwrap().as_slice(), b"other");
        assert!(matches!(place.store("big", &[0; SECRET_MAX + 1]), Err(Error::TooLong(_))));
    }
}
