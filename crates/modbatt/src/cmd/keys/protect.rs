//! Encrypting a plain key file in its place, whatever cuts in between (`spec/api.md`, A210).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use age::secrecy::SecretString;
use bridge::AuthorityKey;

use super::{At, Failure, Outcome, print};
use crate::cmd::data_dir::sync_folder;
use crate::cmd::reason;
use crate::custody::authority::{Kept, Keys};
use crate::custody::{Custody, EncryptedFiles, PassphraseArgs, PrivateFiles};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs `modbatt keys protect`.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let keys = args.at.keys()?;
    let place = keys.file(".age").display().to_string();
    match keys.kept()? {
        None => return Err(Failure::Input(format!("there is no key file {}", keys.file("").display()))),
        Some(Kept::Token(_)) => {
            return Err(Failure::Input(
                "the signing key lies in a token; there is nothing to encrypt".into(),
            ));
        }
        Some(Kept::Encrypted) if !keys.file("").exists() => {
            return Err(Failure::Input(format!("{place} is encrypted already")));
        }
        // What an interrupted run left behind goes on where it ended: the passphrase is the one that was given then.
        Some(Kept::Encrypted) => encrypt(&keys, &args.passphrase.existing()?)?,
        Some(Kept::Plain) => encrypt(&keys, &args.passphrase.new_one()?)?,
    }
    print(&format!(
        "the keys are in {place}; the plain file was overwritten and removed. Copies of it on backups, and what a disk keeps of \
         overwritten blocks, are not reached: where that matters, have another key follow this one (modbatt succession)\n"
    ))?;
    Ok(Outcome::Good)
}

/// Writes the encrypted file if it is not there, reads it back, and only then erases the plain one.
fn encrypt(keys: &Keys, passphrase: &SecretString) -> Result<(), Failure> {
    let (files, name) = (EncryptedFiles::new(keys.folder(), passphrase), keys.name());
    let plain = PrivateFiles::new(keys.folder()).load(name)?;
    let plain = plain.ok_or_else(|| Failure::Input(format!("{} is gone", keys.file("").display())))?;
    let damaged =
        |e| Failure::Input(format!("{} is damaged: {e}; nothing was changed", keys.file("").display()));
    AuthorityKey::from_bytes(&plain).map_err(damaged)?;
    if !EncryptedFiles::has(keys.folder(), name) {
        files.store(name, &plain)?;
    }
    synced(keys.folder())?;
    let back = files.load(name)?;
    if back.is_none_or(|back| !lct::secret::equal(&back, &plain)) {
        let (new, old) = (keys.file(".age"), keys.file(""));
        return Err(Failure::Failed(format!(
            "{} holds another key than {}; move the wrong one away, then do it again",
            new.display(),
            old.display()
        )));
    }
    erase(&keys.file(""))
}

/// Overwrites and removes a file.
pub fn erase(path: &Path) -> Result<(), Failure> {
    let overwrite = || {
        let len = fs::metadata(path)?.len().min(4_096) as usize;
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(&vec![0; len])?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    overwrite().map_err(|e| Failure::Failed(format!("{}: {}", path.display(), reason(&e))))?;
    path.parent().map_or(Ok(()), synced)
}

pub fn synced(folder: &Path) -> Result<(), Failure> {
    sync_folder(folder).map_err(|e| Failure::Failed(format!("{}: {}", folder.display(), reason(&e))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::data_dir::replace_private;

    /// Wherever it is cut, the key is there, and the same command ends what it began.
    #[test]
    fn every_cut_leaves_a_key_and_a_way_on() {
        let words = SecretString::from("correct horse battery".to_owned());
        let key = AuthorityKey::generate().unwrap();
        let bytes = key.to_bytes().unwrap();
        let temp = tempfile::tempdir().unwrap();
        let keys = Keys::at(&temp.path().join("authority")).unwrap();
        let opens = || {
            let found = EncryptedFiles::new(temp.path(), &words).load("authority").unwrap().unwrap();
            AuthorityKey::from_bytes(&found).unwrap().public() == key.public()
        };
        // Whole, from nothing.
        replace_private(&keys.file(""), &bytes).unwrap();
        assert_eq!(keys.kept().unwrap(), Some(Kept::Plain));
        encrypt(&keys, &words).unwrap();
        assert!(!keys.file("").exists() && opens());
        // Cut after the encrypted file was written.
        replace_private(&keys.file(""), &bytes).unwrap();
        assert_eq!(keys.kept().unwrap(), Some(Kept::Encrypted));
        let before = fs::read(keys.file(".age")).unwrap();
        encrypt(&keys, &words).unwrap();
        assert!(!keys.file("").exists() && opens());
        assert_eq!(fs::read(keys.file(".age")).unwrap(), before, "it is not written twice");
        // Cut while the plain file was overwritten: it is not taken for a key, and nothing is lost.
        replace_private(&keys.file(""), &vec![0; bytes.len()]).unwrap();
        assert!(encrypt(&keys, &words).is_err());
        assert!(opens());
        // Another key in the way.
        replace_private(&keys.file(""), &AuthorityKey::generate().unwrap().to_bytes().unwrap()).unwrap();
        assert!(encrypt(&keys, &words).is_err());
        assert!(keys.file("").exists() && opens());
    }
}
