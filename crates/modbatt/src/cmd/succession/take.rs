//! `modbatt succession take`: a data directory goes on under the key that follows (`spec/api.md`, A98).
//!
//! Everything is written under names that nobody reads yet; the file that says who followed comes last, and makes it so.

use std::path::PathBuf;
use std::sync::Arc;

use ::ledger::records::AccountRole;
use ::ledger::tx::{Body, Change, Governance};
use ::ledger::verdict::Utc;
use api::revocation::reason_name;
use api::sign::{Envelope, sign};
use bridge::Lineage;
use lct::revocation::Reason;
use lct::spk::Spk;
use node::Chain;
use node::engine::solo::Solo;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::data_dir::{DataDir, replace_private, unfinished};
use super::super::demo::{unix_ms, validator};
use super::super::factory::files::read_bounded;
use super::super::keys::{AUTHORITY, erase, synced};
use super::super::{Failure, Outcome, delegate, ledger, os_rng, print, reason};
use crate::custody::Unlock;
use crate::custody::authority::{Kept, Keys, LINEAGE};

/// Ends of the names of files that hold an authority's keys.
const ENDINGS: [&str; 4] = ["", ".age", ".token", "-opening.age"];
/// By how much a succession may be dated ahead, as clocks are.
const AHEAD_MS: u64 = 3_600_000;

#[derive(clap::Args)]
pub struct Take {
    /// The succession, as `modbatt succession sign` wrote it
    file: PathBuf,
    /// Key file of the authority that comes: plain, encrypted, or NEXT.token; a copy of it goes into the data directory
    #[arg(long, value_name = "NEXT")]
    key: PathBuf,
    /// The data directory of the installation
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Public key of the authority that goes, 136 hexadecimal digits; where its key file is gone or is not to be opened
    #[arg(long, value_name = "KEY", value_parser = delegate::spk)]
    from: Option<Spk>,
    /// Why the old key goes, on the ledger for ever: `key_compromise` where somebody else may have it, so that nothing counts which its
    /// delegates date back; `superseded` unless it is said
    #[arg(long, value_name = "REASON", value_parser = why)]
    reason: Option<Reason>,
    #[command(flatten)]
    unlock: Unlock,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn why(text: &str) -> Result<Reason, String> {
    let reason = api::revocation::reason(text);
    reason
        .filter(|reason| matches!(reason, Reason::Superseded | Reason::KeyCompromise))
        .ok_or_else(|| "it is `superseded` or `key_compromise`".into())
}

/// Runs `modbatt succession take`.
pub fn run(args: &Take) -> Result<Outcome, Failure> {
    let missing = || Failure::Input(format!("there is no data directory {}", args.data_dir.display()));
    let dir = DataDir::open_or_create(&args.data_dir, || Err(missing()), |_| Err(missing()))?;
    let bytes = read_bounded(&args.file, "succession")?;
    let named = dir.keys().join(AUTHORITY);
    let keys = Keys::at(&named)?;
    let new = Keys::at(&args.key)?;
    let line = line(&keys, args)?;
    if line.successions().last().is_some_and(|taken| *taken == bytes[..]) {
        // The command was given before, and its end was not seen.
        is_the_reason(&line, args)?;
        return done(&line, args);
    }
    if let Some(from) = args.from.filter(|from| from != line.last()) {
        let (from, goes) = (from.id(), line.last().id());
        return Err(Failure::Input(format!("--from names {from}, and the authority that goes is {goes}")));
    }
    let reason = args.reason.unwrap_or(Reason::Superseded);
    let line =
        line.with(&bytes, reason).map_err(|e| Failure::Input(format!("{}: {e}", args.file.display())))?;
    let chain = Arc::new(ledger::founded(&dir)?);
    is_dated(line.time(), unix_ms()?.max(chain.tip().time_ms))?;
    let key = new.open(&args.unlock)?;
    if key.public() != *line.last() {
        let (file, holds, comes) = (args.key.display(), key.public().id(), line.last().id());
        return Err(Failure::Input(format!(
            "{file} holds the key {holds}, and the one that follows is {comes}"
        )));
    }
    has_account(&dir, &chain, &keys, &line, &args.unlock)?;
    for write in writes(&new, &Keys::named(&named)?, &line)? {
        write.make()?;
    }
    done(&line, args)
}

/// Refuses another reason than the one for which the succession was taken.
fn is_the_reason(line: &Lineage, args: &Take) -> Result<(), Failure> {
    let kept = line.earlier().last().map(|goes| line.reason(goes));
    match (args.reason, kept) {
        (Some(given), Some(kept)) if given != kept => Err(Failure::Input(format!(
            "--reason is {}, and the succession was taken with {}, which stays",
            reason_name(given),
            reason_name(kept)
        ))),
        _ => Ok(()),
    }
}

/// Refuses a succession of a time that did not come yet: every device that took it would have that time, for good (H166).
fn is_dated(time: u32, now_ms: u64) -> Result<(), Failure> {
    let signed_ms = u64::from(time) * 1_000;
    if signed_ms <= now_ms.saturating_add(AHEAD_MS) {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "the succession is dated {}, and it is {}: devices would take that for the time; sign it anew, or set the clock",
        Utc(signed_ms),
        Utc(now_ms)
    )))
}

/// The authorities so far.
fn line(keys: &Keys, args: &Take) -> Result<Lineage, Failure> {
    let present = match keys.lineage() {
        Some(line) => return Ok(line.clone()),
        None => match args.from {
            Some(spk) => Some(spk),
            None => keys.public()?,
        },
    };
    match present {
        Some(spk) => Ok(Lineage::of(spk)),
        None if keys.kept()?.is_some() => keys.open(&args.unlock).map(|key| Lineage::of(key.public())),
        None => Err(Failure::Input(format!(
            "there is no key file {}; name the authority that goes by its public key, --from KEY",
            keys.file("").display()
        ))),
    }
}

/// Sees to it that the ledger takes what the last key of `line` signs: where that has no account, the old key gives it one.
fn has_account(
    dir: &DataDir,
    chain: &Arc<Chain>,
    old: &Keys,
    line: &Lineage,
    unlock: &Unlock,
) -> Result<(), Failure> {
    let failed = |e: node::Error| ledger::failure(&e);
    let account_of =
        |spk: &Spk| chain.read().and_then(|ledger| ledger.account(&spk.sign_pub())).map_err(failed);
    // The public key may have been typed.
    if account_of(line.first())?.is_none_or(|a| a.role != AccountRole::Authority) {
        return Err(Failure::Input(format!("{} is no authority of this installation", line.first().id())));
    }
    let spk = line.last();
    let account = || account_of(spk);
    if account()?.is_none() {
        give_account(dir, chain, old, spk, unlock)?;
    }
    let (id, next) = (spk.id(), chain.tip().height + 1);
    Err(Failure::Failed(match account()? {
        Some(a) if a.role == AccountRole::Authority && a.in_force(next) => return Ok(()),
        Some(a) if a.role == AccountRole::Authority && a.in_force(a.from_height) => format!(
            "the account of {id} holds from block {} on, and the next one of the ledger is {next}: run the installation until then",
            a.from_height
        ),
        Some(a) => format!(
            "the ledger has {id} as {} ({}), and only an authority in force follows: draw another key",
            a.role.name(),
            a.status.name()
        ),
        None => format!("the ledger did not take the account that the old key gave to {id}"),
    }))
}

fn give_account(
    dir: &DataDir,
    chain: &Arc<Chain>,
    old: &Keys,
    spk: &Spk,
    unlock: &Unlock,
) -> Result<(), Failure> {
    let failed = |e: node::Error| ledger::failure(&e);
    let key = old.open(unlock).map_err(|e| {
        Failure::Failed(format!(
            "the ledger has no account for {}, and the old key, which gives it one, cannot be used: {}",
            spk.id(),
            e
        ))
    })?;
    let engine =
        Solo::new(chain.clone(), validator(dir)?).and_then(|engine| engine.remembering(&dir.signed()));
    let engine = engine.map_err(failed)?;
    // The next block decides it, the one after certifies that.
    let height = chain.tip().height + 3;
    let change = Change::Account { role: AccountRole::Authority, key: spk.sign_pub() };
    let nonce = chain.next_nonce(&key.public().sign_pub()).map_err(failed)?;
    let envelope = Envelope { chain_id: chain.chain_id(), nonce, expiry_height: height };
    let (body, mut rng) = (Body::Govern(Governance { change, height }), os_rng()?);
    let signed = key.source().with(|hand| sign(body, &envelope, hand, &mut rng));
    let signed = signed.map_err(|e| Failure::Failed(e.to_string()))?;
    chain
        .submit(signed.bytes)
        .map_err(|e| Failure::Failed(format!("the ledger does not take the new account: {e}")))?;
    // A simulation may have run ahead of the clock on the wall: block time never goes back.
    let now = unix_ms()?.max(chain.tip().time_ms + 1);
    engine.drain(|| now).map_err(failed)
}

/// A file of the new keys under its new name; one that an earlier try left there and that is none of them; or the file that says who
/// followed.
enum Write {
    Copy(PathBuf, Zeroizing<Vec<u8>>),
    Erase(PathBuf),
    Line(PathBuf, Lineage),
}

impl Write {
    fn make(&self) -> Result<(), Failure> {
        match self {
            Write::Copy(path, bytes) => {
                replace_private(path, bytes)?;
                path.parent().map_or(Ok(()), synced)
            }
            Write::Erase(path) => erase(path),
            Write::Line(path, line) => line.write(path).map_err(|e| Failure::Failed(e.to_string())),
        }
    }
}

/// What makes the keys `from` those of the last of `line` where the first has those at `named`, in this order.
fn writes(from: &Keys, named: &Keys, line: &Lineage) -> Result<Vec<Write>, Failure> {
    let to = named.followed(line.clone());
    let kept = from.kept()?;
    let mut writes = Vec::new();
    for ending in ENDINGS {
        let (source, target) = (from.file(ending), to.file(ending));
        let is_of = match kept {
            Some(Kept::Plain) => ending.is_empty(),
            Some(Kept::Encrypted) => ending == ".age",
            Some(Kept::Token(_)) => ending == ".token" || ending == "-opening.age",
            None => false,
        };
        if source == target {
            continue;
        }
        let cut = unfinished(&target);
        if cut.exists() {
            writes.push(Write::Erase(cut));
        }
        if is_of && source.exists() {
            let read = std::fs::read(&source).map(Zeroizing::new);
            let failed = |e| Failure::Failed(format!("{}: {}", source.display(), reason(&e)));
            writes.push(Write::Copy(target, read.map_err(failed)?));
        } else if target.exists() {
            writes.push(Write::Erase(target));
        }
    }
    writes.push(Write::Line(named.file(LINEAGE), line.clone()));
    Ok(writes)
}

fn done(line: &Lineage, args: &Take) -> Result<Outcome, Failure> {
    let (new, dir) = (line.last().id(), args.data_dir.display());
    let earlier: Vec<String> = line.earlier().map(|spk| spk.id().to_string()).collect();
    print(&match args.json {
        true => format!("{}\n", json!({ "authority": new.to_string(), "followed": earlier })),
        false => format!(
            "{new} is the authority of {dir} in the place of {}, which signs nothing any more. Start it: parts follow when they are \
             reached. The copy of the key in {} is not needed there any more\n",
            earlier.last().map_or("", String::as_str),
            args.key.display()
        ),
    })?;
    Ok(Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge::AuthorityKey;
    use std::fs;

    /// A98: cut before any of its writes, within one, and after the last but one, the installation has its old authority, and the
    /// command once more ends what it began; after the last it has the new one, and nothing of a key is left beside it.
    #[test]
    fn every_cut_leaves_the_old_authority_or_the_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let (path, next) = (temp.path().join("authority"), temp.path().join("next"));
        let [a, b] = [&path, &next].map(|path| AuthorityKey::load_or_create(path).unwrap());
        let line = Lineage::of(a.public());
        let line = line.with(&a.succession(&b, 7).unwrap(), Reason::Superseded).unwrap();
        let who = || Keys::at(&path).unwrap().open(&Unlock::default()).unwrap().public();
        let (from, named) = (Keys::at(&next).unwrap(), Keys::named(&path).unwrap());
        let place = named.followed(line.clone());
        // What a try with the key in another place left, and what cuts within writes did.
        let stale = [place.file(".age"), unfinished(&place.file(".age")), unfinished(&place.file(""))];
        let leave = || stale.iter().for_each(|path| fs::write(path, b"stale").unwrap());
        leave();
        let count = writes(&from, &named, &line).unwrap().len();
        assert_eq!(count, 5);
        for cut in 0..=count {
            leave();
            assert_eq!(who(), a.public());
            for (n, write) in writes(&from, &named, &line).unwrap().iter().take(cut).enumerate() {
                write.make().unwrap();
                let expected = if n + 1 == count { b.public() } else { a.public() };
                assert_eq!(who(), expected, "cut after {n} of {count}");
            }
            if cut + 1 == count {
                // The file that makes it so was being written: it has another name until it is whole.
                fs::write(temp.path().join("authority.lineage.part"), b"MBAL").unwrap();
                assert_eq!(who(), a.public(), "cut in the last");
            }
            for write in writes(&from, &named, &line).unwrap() {
                write.make().unwrap();
            }
            assert_eq!((who(), stale.iter().any(|path| path.exists())), (b.public(), false), "{cut}");
            for file in [place.file(""), named.file(LINEAGE)] {
                fs::remove_file(file).unwrap();
            }
        }
        assert_eq!(who(), a.public());
    }

    /// A98: an hour ahead is a clock that differs, more is a date that devices would have for good.
    #[test]
    fn a_succession_of_a_time_to_come_is_not_taken() {
        let now_ms = 1_700_000_000_500;
        is_dated(0, now_ms).unwrap();
        is_dated(1_700_003_600, now_ms).unwrap();
        let why = is_dated(1_700_003_601, now_ms).unwrap_err().to_string();
        for part in ["2023-11-14", "23:13:21", "22:13:20"] {
            assert!(why.contains(part), "{part}: {why}");
        }
    }
}
