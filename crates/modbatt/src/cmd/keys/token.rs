//! Signing keys into a token, or out of its own generator (`spec/api.md`, A211).

use std::path::{Path, PathBuf};

use lct::sign::PublicKey;
use lct::spk::{OpeningKey, Spk, SpkSecret};

use super::protect::{erase, synced};
use super::{At, Failure, Outcome, print};
use crate::cmd::{os_rng, reason};
use crate::custody::authority::{Kept, Keys};
use crate::custody::token::{Held, Which};
use crate::custody::{Custody, EncryptedFiles, Unlock};

#[derive(clap::Args)]
pub struct Import {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    unlock: Unlock,
}

/// Runs `modbatt keys import`.
pub fn import(args: &Import) -> Result<Outcome, Failure> {
    let keys = args.at.keys()?;
    let place = args.which.place()?;
    let kept = keys.kept()?;
    if let Some(Kept::Token(held)) = &kept
        && !keys.file("").exists()
        && !keys.file(".age").exists()
    {
        let token = &held.place.token;
        return Err(Failure::Input(format!("the signing key lies in the token `{token}` already")));
    }
    let missing = || Failure::Input(format!("there is no key file {}", keys.file("").display()));
    let key = keys.in_file().ok_or_else(missing)?;
    let passphrase = match key {
        Kept::Encrypted => args.unlock.passphrase.existing()?,
        _ => args.unlock.passphrase.new_one()?,
    };
    let both = key == Kept::Encrypted && keys.file("").exists();
    let key = keys.open_file(&key, &passphrase)?;
    if both && !is_erased(&keys.file(""))? {
        // Both files are erased at the end: a key that only one of them holds must not go with them.
        let plain = keys.open_file(&Kept::Plain, &passphrase)?;
        if plain.public() != key.public() {
            return Err(Failure::Failed(format!(
                "{} holds another key than {}; move the wrong one away, then do it again",
                keys.file(".age").display(),
                keys.file("").display()
            )));
        }
    }
    let secret = key.secret().ok_or_else(missing)?;
    if let Some(Kept::Token(held)) = &kept
        && held.public != secret.public().0
    {
        return Err(Failure::Failed(format!(
            "{} names another key; move it away, then do it again",
            keys.file(".token").display()
        )));
    }
    let pin = args.unlock.pin.get()?;
    let (mut held, _signs) = place.import(keys.name(), secret.signing_key(), &pin)?;
    held.public = secret.public().0.to_vec();
    keep(&keys, &held, secret.opening_key(), &passphrase)?;
    for file in [keys.file(""), keys.file(".age")].iter().filter(|file| file.exists()) {
        erase(file)?;
    }
    print(&format!(
        "the signing key of {} lies in the token `{}`, which does not give it out; the opening key, for the devices' logs, is in \
         {} under the passphrase. The file with both was erased: without a backup made before, nothing brings the signing \
         key back when the token is lost\n",
        secret.public().id(),
        place.token,
        keys.opening_file().display(),
    ))?;
    Ok(Outcome::Good)
}

/// Whether a plain key file is what [`erase`] leaves where it is cut: nothing but zeros.
fn is_erased(path: &Path) -> Result<bool, Failure> {
    let bytes = std::fs::read(path).map(zeroize::Zeroizing::new);
    let bytes = bytes.map_err(|e| Failure::Failed(format!("{}: {}", path.display(), reason(&e))))?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// The opening key first, then where the signing key lies: from then on the token counts.
fn keep(
    keys: &Keys,
    held: &Held,
    opening: &OpeningKey,
    passphrase: &age::secrecy::SecretString,
) -> Result<(), Failure> {
    let files = EncryptedFiles::new(keys.folder(), passphrase);
    files.store(&keys.opening_name(), opening.to_bytes().expose())?;
    synced(keys.folder())?;
    held.write(&keys.file(".token"))?;
    synced(keys.folder())
}

#[derive(clap::Args)]
pub struct Generate {
    /// Name of the new keys: FILE.token will say where the signing key lies
    file: PathBuf,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    unlock: Unlock,
}

/// Runs `modbatt keys generate`.
pub fn generate(args: &Generate) -> Result<Outcome, Failure> {
    let keys = Keys::at(&args.file)?;
    if keys.kept()?.is_some() {
        return Err(Failure::Input(format!(
            "there are keys at {} already; name another file",
            args.file.display()
        )));
    }
    // It may open the logs of an earlier authority, whose `.token` was moved away.
    let opening = keys.opening_file();
    if opening.exists() {
        let opening = opening.display();
        return Err(Failure::Input(format!("{opening} is there already; move it away or name another file")));
    }
    let place = args.which.place()?;
    let passphrase = args.unlock.passphrase.new_one()?;
    let pin = args.unlock.pin.get()?;
    let mut rng = os_rng()?;
    let opening = SpkSecret::generate(&mut rng).map_err(|e| Failure::Failed(e.to_string()))?;
    let opening = opening.opening_key();
    let (mut held, key) = place.generate(keys.name(), &pin, &mut rng)?;
    let sign: PublicKey = bridge::Token::public(&key);
    let spk = Spk::new(&sign, &opening.public());
    held.public = spk.0.to_vec();
    keep(&keys, &held, opening, &passphrase)?;
    print(&format!(
        "{} was drawn in the token `{}`; the opening key is in {}. No backup of the signing key can be made: when the token is \
         lost, another authority follows\n{}\n",
        spk.id(),
        held.place.token,
        keys.opening_file().display(),
        hex::encode(spk.0),
    ))?;
    Ok(Outcome::Good)
}
