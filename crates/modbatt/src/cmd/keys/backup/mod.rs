//! Backups of keys that issue, in shares; what they are good for is rehearsed (`spec/api.md`, A213 to A215).

mod restore;

pub use restore::{Rehearse, Restore, rehearse, restore};

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bridge::{AuthorityKey, Lineage};
use lct::backup::{Backup, KEYS_MAX, Named, Public, SHARES_MAX, Set, Share};
use lct::secret::Secret;
use lct::spk::{Spk, SpkSecret};
use rand_core::Rng;
use vsss_rs::Gf256;
use zeroize::{Zeroize, Zeroizing};

use super::AUTHORITY;
use super::protect::synced;
use super::{Failure, Outcome, print};
use crate::cmd::data_dir::{DataDir, replace_file};
use crate::cmd::factory::files::{Factory, key_name, read_bounded};
use crate::cmd::{os_rng, reason};
use crate::custody::authority::{Kept, Keys, LINEAGE};
use crate::custody::{Custody, EncryptedFiles, PassphraseArgs, Unlock};

/// File of a backup in its folder, beside `share-N`.
const BACKUP: &str = "keys.mbbackup";
const SHARE: &str = "mbshare";

#[derive(clap::Args)]
pub struct Custodian {
    /// Where the custodian's key goes, encrypted under the custodian's own passphrase: FILE.age
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs `modbatt keys custodian`.
pub fn custodian(args: &Custodian) -> Result<Outcome, Failure> {
    let keys = Keys::at(&args.file)?;
    if keys.kept()?.is_some() {
        let file = args.file.display();
        return Err(Failure::Input(format!("there is a key at {file} already; name another file")));
    }
    let files = EncryptedFiles::new(keys.folder(), &args.passphrase.new_one()?);
    let secret = SpkSecret::generate(&mut os_rng()?).map_err(|e| Failure::Failed(e.to_string()))?;
    files.store(keys.name(), &AuthorityKey::file_of(&secret))?;
    synced(keys.folder())?;
    print(&format!("{}\n", hex::encode(secret.public().0)))?;
    Ok(Outcome::Good)
}

#[derive(clap::Args)]
pub struct Make {
    /// The data directory of an installation: the authority's keys, who followed whom, and the keys of earlier ones as far as they are
    /// there
    #[arg(long, value_name = "DIR", required_unless_present = "factory", conflicts_with = "factory")]
    data_dir: Option<PathBuf>,
    /// A factory directory: the keys of the root and of every batch authority, but those in tokens
    #[arg(long, value_name = "DIR")]
    factory: Option<PathBuf>,
    /// How many shares are needed to restore
    #[arg(long, value_name = "T", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=i64::from(SHARES_MAX)))]
    shares: u8,
    /// How many shares there are, each for one custodian
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=i64::from(SHARES_MAX)))]
    of: u8,
    /// Public key of a custodian, as `modbatt keys custodian` prints it; once for each share
    #[arg(long, value_name = "KEY", required = true, value_parser = crate::cmd::delegate::spk)]
    to: Vec<Spk>,
    /// The folder to write, which is not there yet: the backup and a file for each custodian
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

/// Runs `modbatt keys backup`.
pub fn make(args: &Make) -> Result<Outcome, Failure> {
    if args.shares > args.of {
        return Err(Failure::Input("more shares are needed than there are; --shares is at most --of".into()));
    }
    if args.to.len() != usize::from(args.of) {
        return Err(Failure::Input(format!(
            "{} shares and {} custodians; give --to once for each share",
            args.of,
            args.to.len()
        )));
    }
    let twice = args.to.iter().enumerate().find(|(i, spk)| args.to[..*i].contains(spk));
    if let Some((_, spk)) = twice {
        return Err(Failure::Input(format!("{} is named twice; each custodian holds one share", spk.id())));
    }
    if args.out.symlink_metadata().is_ok() {
        return Err(Failure::Input(format!("{} is there already; name a new folder", args.out.display())));
    }
    let Found { secrets: found, lineage, left_out } = match (&args.data_dir, &args.factory) {
        (Some(dir), _) => of_installation(dir, &args.unlock)?,
        (None, Some(dir)) => of_factory(dir, &args.unlock)?,
        (None, None) => return Err(Failure::Input("name --data-dir or --factory".into())),
    };
    let (keys, secrets): (Vec<Named>, Vec<Secret<32>>) = found.into_iter().unzip();
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("no backup was made: {e}"));
    let mut rng = os_rng()?;
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let key = Secret::random(&mut rng);
    let set = Set { id, threshold: args.shares, shares: args.of };
    let mut names: Vec<String> = keys.iter().map(|named| named.name.to_string()).collect();
    names.extend((!lineage.is_empty()).then(line_name));
    let keys = keys.into_iter().collect();
    let backup = Backup { set, time: crate::cmd::factory::now_s()?, keys, lineage: &lineage };
    let bytes = backup.seal(&secrets, &key).map_err(|e| failed(&e))?;
    let (needed, all) = (usize::from(args.shares), usize::from(args.of));
    let parts = Gf256::split_bytes(needed, all, key.expose(), &mut rng).map_err(|e| failed(&e))?;
    let parts: Vec<Zeroizing<Vec<u8>>> = parts.into_iter().map(Zeroizing::new).collect();
    let mut files = vec![(BACKUP.to_owned(), bytes.to_vec())];
    for (part, custodian) in parts.iter().zip(&args.to) {
        let (number, part) = part.split_first().ok_or_else(|| failed(&"a share is empty"))?;
        let part = Secret::from_slice(part).map_err(|e| failed(&e))?;
        let share = Share::seal((set, *number), &part, custodian, &mut rng).map_err(|e| failed(&e))?;
        files.push((format!("share-{number}.{SHARE}"), share.to_bytes().to_vec()));
    }
    fs::create_dir(&args.out)
        .map_err(|e| Failure::Failed(format!("{}: {}", args.out.display(), reason(&e))))?;
    for (name, bytes) in &files {
        replace_file(&args.out.join(name), bytes)?;
    }
    synced(&args.out)?;
    synced(folder_of(&args.out))?;
    let mut text = format!(
        "backup {} of {}, {} of {} shares restore it, in {}\n",
        hex::encode(&id[..8]),
        names.join(", "),
        args.shares,
        args.of,
        args.out.display()
    );
    for (number, custodian) in args.to.iter().enumerate() {
        text += &format!("  share-{}.{SHARE} for custodian {}\n", number + 1, custodian.id());
    }
    for why in &left_out {
        text += &format!("NOT IN IT: {why}\n");
    }
    text += "Give each custodian its share, keep the backup where the keys are not, and rehearse: modbatt keys rehearse\n";
    print(&text)?;
    Ok(Outcome::Good)
}

/// Keys with what they are known as.
type Secrets = Vec<(Named, Secret<32>)>;

/// What a backup is made of.
struct Found {
    secrets: Secrets,
    /// Who followed whom, where somebody did.
    lineage: Vec<u8>,
    /// What cannot be in it, and why.
    left_out: Vec<String>,
}

/// Name of the file that says who followed whom, in the folder of keys.
fn line_name() -> String {
    format!("{AUTHORITY}{LINEAGE}")
}

/// The authority's keys, the line by which it became the authority, and what is at hand of the keys of those before, which open
/// the logs that began under them.
fn of_installation(dir: &Path, unlock: &Unlock) -> Result<Found, Failure> {
    let keys = Keys::at(&DataDir::open(dir)?.keys().join(AUTHORITY))?;
    if let Some(Kept::Token(held)) = keys.kept()? {
        return Err(Failure::Input(format!(
            "the signing key lies in the token `{}`, which does not give it out; make the backup before the import, or with the \
             token's own means",
            held.place.token
        )));
    }
    let (mut secrets, mut left_out) = (vec![seed_of(&keys, unlock)?], Vec::new());
    for earlier in keys.earlier() {
        let why = match earlier.kept()? {
            _ if secrets.len() == KEYS_MAX => format!("a backup takes {KEYS_MAX} keys at most"),
            None => "its file is not there".to_owned(),
            Some(Kept::Token(held)) => format!("it lies in the token `{}`", held.place.token),
            Some(Kept::Plain | Kept::Encrypted) => match seed_of(&earlier, unlock) {
                Ok(seed) => {
                    secrets.push(seed);
                    continue;
                }
                Err(why) => why.to_string(),
            },
        };
        left_out.push(format!("the key `{}`, which opens logs that began under it: {why}", earlier.name()));
    }
    let lineage = keys.lineage().map(Lineage::to_bytes).unwrap_or_default();
    Ok(Found { secrets, lineage, left_out })
}

fn seed_of(keys: &Keys, unlock: &Unlock) -> Result<(Named, Secret<32>), Failure> {
    let key = keys.open(unlock)?;
    let secret = key.secret().ok_or_else(|| Failure::Failed("the keys are not in a file".into()))?;
    Ok((named(keys.name(), Public::Spk(secret.public()))?, secret.seed().clone()))
}

/// The keys that are in files, and of each other one why it is left out.
fn of_factory(dir: &Path, unlock: &Unlock) -> Result<Found, Failure> {
    let factory = Factory::open(dir, unlock)?;
    let batches = factory.batches()?;
    let (mut in_files, mut left_out) = (Vec::new(), Vec::new());
    for batch in [None].into_iter().chain(batches.iter().map(|name| Some(name.as_str()))) {
        match factory.held(batch)? {
            None => in_files.push(batch),
            Some(held) => left_out.push(format!(
                "the key `{}` lies in the token `{}`, which does not give it out",
                key_name(batch),
                held.place.token
            )),
        }
    }
    if in_files.is_empty() {
        return Err(Failure::Input(format!(
            "nothing is left for a backup: {}; make it before an import, or with the token's own means",
            left_out.join(", ")
        )));
    }
    if in_files.len() > KEYS_MAX {
        return Err(Failure::Input(format!(
            "a backup takes {KEYS_MAX} keys at most; move older batches away"
        )));
    }
    let mut secrets = Secrets::new();
    for batch in in_files {
        let issuer = factory.issuer(batch)?;
        let named = named(&key_name(batch), Public::Signing(issuer.public().0))?;
        secrets.push((named, issuer.scalar()?));
    }
    Ok(Found { secrets, lineage: Vec::new(), left_out })
}

fn named(name: &str, public: Public) -> Result<Named, Failure> {
    let name = name.try_into().map_err(|_| Failure::Input(format!("the name `{name}` is too long")))?;
    Ok(Named { name, public })
}

#[derive(clap::Args)]
pub struct Release {
    /// The custodian's share
    share: PathBuf,
    /// The custodian's key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Public key of whoever restores, as `modbatt keys custodian` printed it there; hear it from them, not from the file
    #[arg(long, value_name = "KEY", value_parser = crate::cmd::delegate::spk)]
    to: Spk,
    /// Where the share for them is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

/// Runs `modbatt keys release`.
pub fn release(args: &Release) -> Result<Outcome, Failure> {
    let share = read_share(&args.share)?;
    let key = Keys::at(&args.key)?;
    let part = opened(&share, &args.share, &Holder::of(&key, &args.unlock)?)?;
    let sealed = Share::seal((share.set, share.number), &part, &args.to, &mut os_rng()?);
    let sealed = sealed.map_err(|e| Failure::Failed(e.to_string()))?;
    write_new(&args.output, &sealed.to_bytes())?;
    print(&format!(
        "share {} of backup {} for {}: {}\n",
        share.number,
        hex::encode(&share.set.id[..8]),
        args.to.id(),
        args.output.display()
    ))?;
    Ok(Outcome::Good)
}

/// Writes a file that is not there yet: what is there may be somebody's only share or key.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |e: io::Error| Failure::Failed(format!("{}: {}", path.display(), reason(&e)));
    let mut file = fs::File::create_new(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Input(format!("{} is there already; name a new file", path.display()))
        }
        _ => fail(e),
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail).inspect_err(|_| {
        // The first failure is the one to report; a part of a file would be in the way of the next attempt.
        let _left = fs::remove_file(path);
    })?;
    synced(folder_of(path))
}

/// The folder in which the name of `path` stands.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whoever opens shares.
struct Holder(SpkSecret);

impl Holder {
    fn of(keys: &Keys, unlock: &Unlock) -> Result<Self, Failure> {
        let key = keys.open(unlock)?;
        let secret = key.secret().cloned();
        secret.map(Holder).ok_or_else(|| Failure::Input("a share is opened with a key in a file".into()))
    }
}

fn read_share(path: &Path) -> Result<Share, Failure> {
    Share::read(&read_bounded(path, "share")?).map_err(|_| {
        Failure::Input(format!("{} is no share of a backup, or damaged; ask for it again", path.display()))
    })
}

fn opened(share: &Share, path: &Path, holder: &Holder) -> Result<Secret<32>, Failure> {
    let spk = holder.0.public();
    share.open(&spk, holder.0.opening_key()).map_err(|e| {
        let path = path.display();
        Failure::Input(match e {
            lct::Error::WrongParty => format!(
                "{path} is sealed to {}, not to {}; its custodian releases it: modbatt keys release",
                share.custodian,
                spk.id()
            ),
            _ => format!("{path} was changed since it was sealed; ask for it again"),
        })
    })
}

/// Puts the backup key together out of the shares that fit, and tells which ones do not. Every share is of this backup; a
/// false one may go by the number of a true one.
fn combined(
    bytes: &[u8],
    backup: &Backup,
    shares: &[(Share, Secret<32>)],
) -> Result<(Secret<32>, Vec<usize>), Failure> {
    let needed = usize::from(backup.set.threshold);
    let fits = |chosen: &[usize]| {
        let chosen: Vec<&(Share, Secret<32>)> = chosen.iter().filter_map(|i| shares.get(*i)).collect();
        let twice = |(i, (share, _)): (usize, &&(Share, _))| number_in(share.number, &chosen[..i]);
        if chosen.iter().enumerate().any(twice) {
            return None;
        }
        let key = joined(chosen)?;
        matches!(Backup::is_opened_by(bytes, &key), Ok(true)).then_some(key)
    };
    // At most 20 files: 184756 choices.
    let mut chosen: Vec<usize> = (0..needed).collect();
    let key = loop {
        match fits(&chosen) {
            Some(key) => break key,
            None if next_choice(&mut chosen, shares.len()) => {}
            None => return Err(Failure::Failed(false_shares(needed, shares.len()))),
        }
    };
    // Beside enough true ones, one that takes the place of another shows what it is.
    let Some((_, kept)) = chosen.split_last() else {
        return Err(Failure::Failed(false_shares(needed, shares.len())));
    };
    // Under the number of a true one it is true if it says the same: a custodian may release a share twice.
    let is_true = |i: usize| {
        let (share, part) = &shares[i];
        let same = chosen.iter().map(|j| &shares[*j]).find(|(other, _)| other.number == share.number);
        same.map_or_else(|| fits(&[kept, &[i]].concat()).is_some(), |(_, other)| other == part)
    };
    let wrong = (0..shares.len()).filter(|i| !chosen.contains(i) && !is_true(*i)).collect();
    Ok((key, wrong))
}

fn number_in(number: u8, shares: &[&(Share, Secret<32>)]) -> bool {
    shares.iter().any(|(share, _)| share.number == number)
}

/// What shares make together, be it the key or not.
fn joined(shares: Vec<&(Share, Secret<32>)>) -> Option<Secret<32>> {
    let mut parts: Vec<Vec<u8>> =
        shares.into_iter().map(|(share, part)| [&[share.number][..], part.expose()].concat()).collect();
    let whole = Gf256::combine_bytes(&parts).map(Zeroizing::new);
    parts.iter_mut().for_each(Zeroize::zeroize);
    Secret::from_slice(&whole.ok()?).ok()
}

/// The next choice of as many of `all` in order; `false` after the last one.
fn next_choice(chosen: &mut [usize], all: usize) -> bool {
    let count = chosen.len();
    let Some(at) = (0..count).rev().find(|i| chosen[*i] < all - count + i) else { return false };
    chosen[at] += 1;
    for i in at + 1..count {
        chosen[i] = chosen[i - 1] + 1;
    }
    true
}

fn false_shares(needed: usize, given: usize) -> String {
    let how = match given - needed {
        0 => "one of them was not sealed from it; bring further shares, which show which one",
        _ => "fewer than are needed were sealed from it; bring further shares",
    };
    format!("the shares make another key than the one of this backup: {how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_comes_once() {
        for (count, all, choices) in [(2, 4, 6), (3, 5, 10), (5, 5, 1), (8, 16, 12_870)] {
            let mut chosen: Vec<usize> = (0..count).collect();
            let mut seen = std::collections::BTreeSet::from([chosen.clone()]);
            while next_choice(&mut chosen, all) {
                assert!(seen.insert(chosen.clone()) && chosen.is_sorted() && chosen.iter().all(|i| *i < all));
            }
            assert_eq!(seen.len(), choices);
        }
    }
}
