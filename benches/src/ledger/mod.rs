//! Bench `ledger`: a replica through its own API, beside a bare log and three databases, in one run on one disk.
//!
//! Disk figures are times of the clock, contenders taking turns, medians: read the ratios. Figures of the CPU
//! alone are times of the thread.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
};

use anyhow::{Context, Result, ensure};
use ledger::genesis::{Genesis, Params};
use serde_json::{Value, json};

use crate::world;

mod clients;
mod open;
mod peers;
mod postgres;
mod records;
mod soak;
mod state;
mod transactions;

/// What this program does besides benches, by its first argument.
pub const PROGRAMS: [(&str, fn(&[String]) -> Result<()>); 2] =
    [(open::CHILD, open::child), (soak::SOAK, soak::soak)];

/// How much is measured.
struct Size {
    /// Accounts that send the transactions of `tx_ratio_many`.
    accounts: usize,
    /// Accounts that send those of `tx_ratio_few`.
    few: usize,
    /// Turns of transactions, each beside one of bare verification.
    turns: usize,
    /// Full blocks of a turn.
    blocks: usize,
    /// Blocks of 500 writes.
    commits500: usize,
    /// Commits of records of each contender.
    commits: usize,
    /// Components whose records come scattered.
    scattered: usize,
    /// Records that each waiting client appends.
    appends: usize,
    /// Components of the large ledger.
    components: usize,
    /// Starts of a program measured.
    starts: usize,
}

const FULL: Size = Size {
    accounts: 100_000,
    few: 1_000,
    turns: 3,
    blocks: 10,
    commits500: 400,
    commits: 2_048,
    scattered: 4_096,
    appends: 4_000,
    components: 1_000_000,
    starts: 21,
};

const QUICK: Size = Size {
    accounts: 20_000,
    few: 1_000,
    turns: 3,
    blocks: 2,
    commits500: 40,
    commits: 128,
    scattered: 256,
    appends: 200,
    components: 20_000,
    starts: 5,
};

/// A part of the bench.
type Part = fn(&Disk, &Size) -> Result<Value>;

/// The parts of the bench, and what each of them says that it does.
const PARTS: [(&str, &str, Part); 4] = [
    ("records", "records beside a bare log and databases", records::run),
    ("clients", "64 clients that wait", clients::run),
    ("transactions", "signed transactions", transactions::run),
    ("state", "a ledger with many components", state::run),
];

/// Runs all parts, or `only` one of them.
pub fn run(quick: bool, only: Option<&str>) -> Result<Value> {
    let size = if quick { QUICK } else { FULL };
    let names = PARTS.map(|(name, ..)| name);
    ensure!(only.is_none_or(|name| names.contains(&name)), "the parts are {}", names.join(", "));
    let base = base()?;
    let disk = Disk(tempfile::tempdir_in(&base).context("a directory for the ledgers")?);
    let mut figures = json!({});
    for (name, what, part) in PARTS.into_iter().filter(|(name, ..)| only.is_none_or(|only| only == *name)) {
        eprintln!("bench: {what}");
        let part = part(&disk, &size).with_context(|| format!("bench ledger, {name}"))?;
        for (key, value) in part.as_object().into_iter().flatten() {
            figures[key] = value.clone();
        }
    }
    figures["cores"] = cores().into();
    figures["settings"] = json!({
        "accounts": size.accounts, "accounts_few": size.few, "block": BLOCK, "turns": size.turns, "blocks": size.blocks,
        "commits": size.commits, "components": size.components, "scattered_components": size.scattered,
        "clients": clients::CLIENTS, "record_bytes": records::bytes_of_a_record(),
        "sqlite": "WAL, synchronous=FULL, prepared, one transaction per commit",
        "redb": "default durability (immediate), one transaction per commit",
        "postgres": "fsync and synchronous_commit on, prepared, one statement per commit, Unix socket",
        "raw": "file filled with zeros before, one pwrite and one fdatasync per commit",
        "growing": "the same into a file that grows",
    });
    // This bench has its own sizes.
    (figures["rounds"], figures["turn"]) = (size.turns.into(), (size.blocks * BLOCK).into());
    Ok(figures)
}

/// Where everything of a run lies: beside the program.
fn base() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let base = program.parent().context("the program is in a directory")?.join("data");
    fs::create_dir_all(&base)?;
    Ok(base)
}

/// The directory of a run, on the disk that is measured.
struct Disk(tempfile::TempDir);

impl Disk {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The directory of a ledger that is not there yet.
    fn ledger(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// Transactions in a full block.
const BLOCK: usize = 10_000;
/// Operators of the bench's chain.
const OPERATORS: usize = 16;

fn operator(i: usize) -> String {
    format!("operator-{i}")
}

/// The chain of the tests with larger blocks and more operators.
fn genesis() -> Genesis {
    let operators = (0..OPERATORS).map(|i| world::key(&operator(i)).public()).collect();
    let params = Params { max_block_txs: BLOCK as u32, max_block_bytes: 32 << 20, ..Params::default() };
    Genesis { operators, params, ..world::genesis() }
}

/// Cores that this program may use.
fn cores() -> usize {
    // Asked for once, because asking reads files.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Makes `n` things on all cores, in order.
fn on_all_cores<T: Send>(n: usize, make: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let share = n.div_ceil(cores()).max(1);
    let make = &make;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..n)
            .step_by(share)
            .map(|from| {
                scope.spawn(move || (from..(from + share).min(n)).map(make).collect::<Result<Vec<T>>>())
            })
            .collect();
        let mut all = Vec::with_capacity(n);
        for part in parts {
            all.extend(part.join().map_err(|_| anyhow::anyhow!("a thread stopped"))??);
        }
        Ok(all)
    })
}

/// The value below which `share` of the values lie.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0.0)
}

/// Bytes of all files below a directory.
fn bytes_below(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
