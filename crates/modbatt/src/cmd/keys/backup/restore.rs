//! What a backup is for: restoring the keys, and trying that without writing anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use bridge::{AuthorityKey, Lineage};
use lct::backup::{Backup, Named, Public};
use lct::hash::sha256;
use lct::secret::Secret;
use lct::sign::{PublicKey, SigningKey};
use lct::spk::SpkSecret;
use ledger::records::{AccountRole, Status};

use super::{AUTHORITY, Holder, combined, folder_of, line_name, opened, read_share};
use crate::cmd::data_dir::DataDir;
use crate::cmd::factory::files::read_bounded;
use crate::cmd::keys::protect::synced;
use crate::cmd::ledger::{Ledger, open};
use crate::cmd::{Failure, Outcome, ask, os_rng, print, reason};
use crate::custody::authority::Keys;
use crate::custody::{Custody, EncryptedFiles, PassphraseArgs, Unlock};

/// How many shares are looked at, true and false ones: each further one doubles the choices among them.
const FILES_MAX: usize = 20;

/// Shares of a backup, and who opens them.
#[derive(clap::Args)]
struct Gathered {
    /// The backup
    backup: PathBuf,
    /// A share that its custodian released to --key; as often as shares are needed
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    /// The key that the shares were released to
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

/// What a backup held.
struct Opened {
    keys: Vec<(Named, Secret<32>)>,
    /// Who followed whom, where somebody did.
    line: Option<Lineage>,
    /// Which shares are false.
    said: String,
}

impl Gathered {
    /// The secrets, each with its name, and which shares are false.
    fn open(&self) -> Result<Opened, Failure> {
        let bytes = read_bounded(&self.backup, "backup")?;
        let damaged = |_| {
            let path = self.backup.display();
            Failure::Input(format!("{path} is no backup, or damaged; take another copy of it"))
        };
        let backup = Backup::read(&bytes).map_err(damaged)?;
        if self.share.len() > FILES_MAX {
            let given = self.share.len();
            return Err(Failure::Input(format!(
                "{given} shares; bring {FILES_MAX} at most, in several tries"
            )));
        }
        let mut shares: Vec<lct::backup::Share> = Vec::new();
        for path in &self.share {
            let (share, path) = (read_share(path)?, path.display());
            if share.set != backup.set {
                return Err(Failure::Input(format!(
                    "{path} is of backup {}, not of {}",
                    hex::encode(&share.set.id[..8]),
                    hex::encode(&backup.set.id[..8])
                )));
            }
            if shares.iter().any(|other| other.to_bytes() == share.to_bytes()) {
                return Err(Failure::Input(format!(
                    "{path} is share {} once more; bring another one",
                    share.number
                )));
            }
            shares.push(share);
        }
        let needed = usize::from(backup.set.threshold);
        let numbers: BTreeSet<u8> = shares.iter().map(|share| share.number).collect();
        if numbers.len() < needed {
            return Err(Failure::Input(format!(
                "{} shares of {needed} that are needed; bring more: fewer tell nothing about the keys",
                numbers.len()
            )));
        }
        let holder = Holder::of(&Keys::at(&self.key)?, &self.unlock)?;
        let parts = shares.into_iter().zip(&self.share);
        let parts = parts.map(|(share, path)| opened(&share, path, &holder).map(|part| (share, part)));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let (key, wrong) = combined(&bytes, &backup, &parts)?;
        let changed =
            |_| Failure::Failed("the backup was changed since it was made; take another copy".into());
        let secrets = Backup::open(&bytes, &key).map_err(changed)?;
        let mut said = String::new();
        for (path, (share, _)) in wrong.iter().filter_map(|i| self.share.get(*i).zip(parts.get(*i))) {
            let _ = writeln!(
                said,
                "{} (share {} of custodian {}) is FALSE: it was not sealed from this backup and was left out",
                path.display(),
                share.number,
                share.custodian
            );
        }
        let foreign = |why| Failure::Failed(format!("the line of the backup is none: {why}"));
        let line = (!backup.lineage.is_empty()).then(|| Lineage::from_bytes(backup.lineage).map_err(foreign));
        let line = line.transpose()?;
        let keys = backup.keys.into_iter().zip(secrets).collect();
        Ok(Opened { keys, line, said })
    }
}

#[derive(clap::Args)]
pub struct Restore {
    #[command(flatten)]
    gathered: Gathered,
    /// The folder to write, which is not there yet: each key in NAME.age
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Read the passphrase for the restored keys from the first line of a private file [default: the one of --key]
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

/// Runs `modbatt keys restore`.
pub fn restore(args: &Restore) -> Result<Outcome, Failure> {
    if args.out.symlink_metadata().is_ok() {
        return Err(Failure::Input(format!("{} is there already; name a new folder", args.out.display())));
    }
    let Opened { keys, line, said: mut text } = args.gathered.open()?;
    let passphrase = match &args.new_passphrase_file {
        Some(path) => PassphraseArgs::of_file(path).new_one()?,
        None => args.gathered.unlock.passphrase.new_one()?,
    };
    let failed = |e: std::io::Error| Failure::Failed(format!("{}: {}", args.out.display(), reason(&e)));
    fs::create_dir(&args.out).map_err(failed)?;
    let files = EncryptedFiles::new(&args.out, &passphrase);
    for (named, secret) in &keys {
        match named.public {
            Public::Spk(_) => {
                let key = SpkSecret::from_seed(secret.clone()).map_err(|e| Failure::Failed(e.to_string()))?;
                files.store(&named.name, &AuthorityKey::file_of(&key))?;
            }
            Public::Signing(_) => files.store(&named.name, secret.expose())?,
        }
        text += &format!("{} restored: {}\n", named.name, files.place(&named.name));
    }
    if let Some(line) = line {
        let path = args.out.join(line_name());
        line.write(&path).map_err(|e| Failure::Failed(e.to_string()))?;
        text += &format!("{} restored: {}\n", line_name(), path.display());
    }
    synced(&args.out)?;
    synced(folder_of(&args.out))?;
    text += "Move each file to where its keys are kept, the line last, and remove the folder\n";
    print(&text)?;
    Ok(Outcome::Good)
}

#[derive(clap::Args)]
pub struct Rehearse {
    #[command(flatten)]
    gathered: Gathered,
    /// The data directory of an installation whose ledger knows the keys
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs `modbatt keys rehearse`: everything but the writing.
pub fn rehearse(args: &Rehearse) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let Opened { keys, line, said: mut text } = args.gathered.open()?;
    let mut rng = os_rng()?;
    // A backup that was rehearsed has as many good shares as the set says.
    let mut outcome = if text.is_empty() { Outcome::Good } else { Outcome::Bad };
    for (named, secret) in &keys {
        let failed = |e: lct::Error| Failure::Failed(e.to_string());
        let (signer, expected) = match &named.public {
            Public::Spk(spk) => {
                (SpkSecret::from_seed(secret.clone()).map_err(failed)?.signing_key().clone(), spk.sign_pub())
            }
            Public::Signing(key) => {
                (SigningKey::from_bytes(secret.expose()).map_err(failed)?, PublicKey(*key))
            }
        };
        let challenge: Secret<32> = Secret::random(&mut rng);
        let digest = sha256(&[b"modbatt1 rehearsal", challenge.expose()]);
        let signs = expected.verify(&digest, &signer.sign(&digest, &mut rng)).is_ok();
        let earlier = |spk| line.as_ref().is_some_and(|line| line.earlier().any(|earlier| earlier == spk));
        let known = match &named.public {
            Public::Spk(_) if is_authority(&dir, &expected)? => "the ledger has it as an authority in force",
            Public::Spk(spk) if earlier(spk) => "of an earlier authority, opens logs that began under it",
            Public::Signing(_) if dir.genesis().roots.contains(&expected) => "the ledger trusts it as a root",
            Public::Signing(_) if named.name.starts_with("batch-") => {
                "named a batch authority, NOT CHECKED: its certificate is neither here nor on the ledger"
            }
            _ => "but THE LEDGER DOES NOT KNOW IT",
        };
        let key = hex::encode(expected.0);
        if !signs || known.starts_with("but") {
            outcome = Outcome::Bad;
        }
        let signs = if signs { "restored in memory, signed a challenge" } else { "DOES NOT SIGN" };
        text += &format!("{}, key {key}: {signs}; {known}\n", named.name);
    }
    let (said, whole) = follows(&dir, &keys, line.as_ref())?;
    text += &said;
    if !whole {
        outcome = Outcome::Bad;
    }
    text += "Nothing was written\n";
    print(&text)?;
    Ok(outcome)
}

/// Whether the authority of the installation is that of a backup, by the line of both: without it nothing starts under these keys. A
/// factory has no line.
fn follows(
    dir: &DataDir,
    keys: &[(Named, Secret<32>)],
    line: Option<&Lineage>,
) -> Result<(String, bool), Failure> {
    if !keys.iter().any(|(named, _)| matches!(named.public, Public::Spk(_))) {
        return Ok((String::new(), true));
    }
    let here = Keys::at(&dir.keys().join(AUTHORITY))?;
    let name = line_name();
    if let Some(here) = here.lineage().filter(|here| Some(*here) != line) {
        let last = here.last().id();
        return Ok((
            format!("{name}: NOT THAT OF THE INSTALLATION, whose authority is {last}; make a backup anew\n"),
            false,
        ));
    }
    let Some(line) = line else { return Ok((String::new(), true)) };
    let last = Public::Spk(*line.last());
    Ok(match keys.iter().any(|(named, _)| named.public == last) {
        true => (format!("{name}: restored in memory, {} followed\n", line.last().id()), true),
        false => (format!("{name}: the key of the last, {}, IS NOT IN IT\n", line.last().id()), false),
    })
}

fn is_authority(dir: &DataDir, key: &PublicKey) -> Result<bool, Failure> {
    match open(dir)? {
        Ledger::Here(ledger) => {
            let account = ledger.read().and_then(|snapshot| snapshot.account(key));
            let account = account.map_err(|e| crate::cmd::ledger::failure(&e))?;
            Ok(account.is_some_and(|a| a.role == AccountRole::Authority && a.status == Status::Active))
        }
        Ledger::At(client) => {
            let account = ask(client.account(key))?;
            Ok(account.role == "authority" && account.status == "active")
        }
    }
}
