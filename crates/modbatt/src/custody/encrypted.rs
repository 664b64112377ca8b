//! Secrets in files encrypted under a passphrase, in the age format with its scrypt recipient, so that they can be
//! opened without this program too.

use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, scrypt};
use zeroize::Zeroizing;

use super::{Custody, Error, SECRET_MAX, private};

/// log2 of the cost: 128 MiB and about half a second for each guess.
const WORK_FACTOR: u8 = 17;
/// A file that asks for more than this is not ours, and would only stop the program.
const WORK_FACTOR_MAX: u8 = 20;
/// Bytes that encryption adds at most: header, one recipient, tags.
const OVERHEAD_MAX: usize = 1_024;
const EXTENSION: &str = "age";

/// A folder of encrypted files, all under one passphrase.
pub struct EncryptedFiles {
    folder: PathBuf,
    passphrase: SecretString,
}

impl EncryptedFiles {
    /// Files `NAME.age` in `folder`, which exists.
    pub fn new(folder: &Path, passphrase: &SecretString) -> Self {
        EncryptedFiles {
            folder: folder.to_owned(),
            passphrase: SecretString::from(passphrase.expose_secret().to_owned()),
        }
    }

    /// Whether `folder` has an encrypted file `name`.
    pub fn has(folder: &Path, name: &str) -> bool {
        path(folder, name).exists()
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension(EXTENSION)
}

impl Custody for EncryptedFiles {
    fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = path(&self.folder, name);
        let Some(bytes) = private::read(&path, SECRET_MAX + OVERHEAD_MAX)? else {
            return Ok(None);
        };
        let mut identity = scrypt::Identity::new(self.passphrase.clone());
        identity.set_max_work_factor(WORK_FACTOR_MAX);
        match age::decrypt(&identity, &bytes) {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys | DecryptError::InvalidMac) => {
                Err(Error::WrongPassphrase(path))
            }
            Err(e) => Err(Error::Damaged { path, what: e.to_string() }),
        }
    }

    fn store(&self, name: &str, secret: &[u8]) -> Result<(), Error> {
        if secret.len() > SECRET_MAX {
            return Err(Error::TooLong(secret.len()));
        }
        let path = path(&self.folder, name);
        let mut recipient = scrypt::Recipient::new(self.passphrase.clone());
        recipient.set_work_factor(WORK_FACTOR);
        let sealed = age::encrypt(&recipient, secret)
            .map_err(|e| Error::File { path: path.clone(), what: e.to_string() })?;
        private::write(&path, &sealed)
    }

    fn place(&self, name: &str) -> String {
        format!("{} (encrypted)", path(&self.folder, name).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn files(folder: &Path, passphrase: &str) -> EncryptedFiles {
        EncryptedFiles::new(folder, &SecretString::from(passphrase.to_owned()))
    }

    #[test]
    fn a_secret_comes_back_under_its_passphrase_only() {
        let temp = tempfile::tempdir().unwrap();
        let right = files(temp.path(), "correct horse battery");
        right.store("key", &[0xA5; 32]).unwrap();
        assert_eq!(right.load("key").unwrap().unwrap().as_slice(), [0xA5; 32]);
        assert!(EncryptedFiles::has(temp.path(), "key") && !EncryptedFiles::has(temp.path(), "other"));
        let path = temp.path().join("key.age");
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|w| w == [0xA5; 8]), "the key is not in its file");
        let wrong = files(temp.path(), "correct horse batterz");
        assert!(matches!(wrong.load("key"), Err(Error::WrongPassphrase(_))));
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(right.load("key").is_err(), "byte {at}");
        }
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(right.load("key").is_err(), "cut");
        fs::remove_file(&path).unwrap();
        assert!(right.load("key").unwrap().is_none());
        assert!(matches!(right.store("big", &[0; SECRET_MAX + 1]), Err(Error::TooLong(_))));
    }
}
