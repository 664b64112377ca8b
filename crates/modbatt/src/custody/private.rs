//! Secrets in files that only their owner may read: for simulated devices, which have no better place.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Custody, Error, SECRET_MAX, file_error};
use crate::cmd::data_dir::replace_private;

/// A folder of private files.
#[derive(Debug)]
pub struct PrivateFiles {
    folder: PathBuf,
}

impl PrivateFiles {
    /// Files in `folder`, which exists.
    pub fn new(folder: &Path) -> Self {
        PrivateFiles { folder: folder.to_owned() }
    }
}

impl Custody for PrivateFiles {
    fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        read(&self.folder.join(name), SECRET_MAX)
    }

    fn store(&self, name: &str, secret: &[u8]) -> Result<(), Error> {
        if secret.len() > SECRET_MAX {
            return Err(Error::TooLong(secret.len()));
        }
        write(&self.folder.join(name), secret)
    }

    fn place(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Reads a private file of at most `max` bytes.
pub(super) fn read(path: &Path, max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file_error(path, &e)),
        Ok(found) if found.len() > max as u64 => {
            return Err(Error::Damaged { path: path.to_owned(), what: "it is too long for a key".into() });
        }
        Ok(found) => check_private(path, &found)?,
    }
    fs::read(path).map(|bytes| Some(Zeroizing::new(bytes))).map_err(|e| file_error(path, &e))
}

/// Writes a private file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    Ok(replace_private(path, bytes)?)
}

#[cfg(unix)]
fn check_private(path: &Path, found: &fs::Metadata) -> Result<(), Error> {
    let mode = std::os::unix::fs::MetadataExt::mode(found);
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::NotPrivate(path.to_owned())) }
}

/// Where access lists are inherited from the folder, there is nothing to compare with.
#[cfg(not(unix))]
fn check_private(_: &Path, _: &fs::Metadata) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_others_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let files = PrivateFiles::new(temp.path());
        super::super::tests::keeps_and_replaces(&files);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "nothing is left over");
        files.store("key", &[1; 32]).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = temp.path().join("key");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
            assert!(matches!(files.load("key"), Err(Error::NotPrivate(_))));
        }
    }
}
