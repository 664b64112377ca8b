//! Telemetry records: signed, provable and on disk, beside a bare log and databases that hold the same rows.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use lct::{
    id::Cid,
    merkle,
    record::{BATCH_STATEMENT_MAX, BatchStatement, RECORD_MAX, Record, RecordKind},
    sign::SigningKey,
};
use node::{
    Chain,
    segments::{Appended, Entry, StoredBatch},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{
    Disk, Size, genesis,
    peers::{Key, RawLog, Redb, Sqlite},
    postgres::Server,
};
use crate::{measure::median, world};

/// Cell voltages in a record: it then has about 200 bytes.
const VALUES: i32 = 50;
/// Records of a batch.
pub const BATCH: u16 = 100;

/// A row of a database: where it belongs, and the record.
#[derive(Clone)]
pub struct Row {
    /// Place in the log.
    pub position: u64,
    /// Component and number of the record.
    pub id: Vec<u8>,
    /// The record.
    pub record: Vec<u8>,
}

/// What one commit makes durable.
pub struct Commit {
    /// For the product: what devices sign, and their batches.
    statements: Vec<BatchStatement>,
    batches: Vec<StoredBatch>,
    /// The same records for the others.
    pub rows: Vec<Row>,
}

/// Somebody who keeps records.
pub trait Keeper {
    /// Returns when the records of a commit are on disk.
    fn commit(&mut self, commit: &Commit) -> Result<()>;
}

/// A record of a component.
pub fn record(cid: Cid, seq: u32) -> Result<Vec<u8>> {
    let values = (0..VALUES).map(|i| 3_600 + i + (seq % 97) as i32).collect();
    let time_ms = world::START_MS + u64::from(seq) * 1_000;
    let mut out = [0; RECORD_MAX];
    let n = Record { cid, seq, time_ms, kind: RecordKind::Module, values }.encode(&mut out)?;
    Ok(out[..n].to_vec())
}

pub fn bytes_of_a_record() -> usize {
    record(Cid::of("module-1"), 1_000).map_or(0, |record| record.len())
}

/// Records `first..first + count` of a component as its batch, not yet signed.
pub fn batch(cid: Cid, first: u32, count: u16) -> Result<(BatchStatement, StoredBatch)> {
    let last = first + u32::from(count) - 1;
    let records = (first..=last).map(|seq| record(cid, seq)).collect::<Result<Vec<_>>>()?;
    let leaves: Vec<_> = records.iter().map(|record| merkle::leaf_hash(record)).collect();
    let statement = BatchStatement {
        cid,
        first_seq: first,
        count,
        root: merkle::root(&leaves),
        first_ms: world::START_MS + u64::from(first) * 1_000,
        last_ms: world::START_MS + u64::from(last) * 1_000,
    };
    let mut out = [0; BATCH_STATEMENT_MAX];
    let n = statement.encode(&mut out)?;
    let entries = records.into_iter().map(Entry::Record).collect();
    Ok((statement, StoredBatch { statement: out[..n].to_vec(), entries }))
}

/// The component with this number.
pub fn cid(i: usize) -> Cid {
    Cid::of(&format!("component-{i}"))
}

/// Batches, `batches` to a commit; the rows of the others are in the same order.
fn in_order(commits: usize, batches: usize, first: u32) -> Result<Vec<Commit>> {
    let mut position = 0;
    (0..commits)
        .map(|n| {
            let made = (0..batches)
                .map(|b| batch(cid(b), first + n as u32 * u32::from(BATCH), BATCH))
                .collect::<Result<Vec<_>>>()?;
            let rows = rows_of(&made, &mut position);
            Ok(Commit::of(made, rows))
        })
        .collect()
}

impl Commit {
    fn of(made: Vec<(BatchStatement, StoredBatch)>, rows: Vec<Row>) -> Self {
        let (statements, batches) = made.into_iter().unzip();
        Self { statements, batches, rows }
    }
}

fn rows_of(batches: &[(BatchStatement, StoredBatch)], position: &mut u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for (statement, batch) in batches {
        for (entry, seq) in batch.entries.iter().zip(statement.first_seq..) {
            let Entry::Record(record) = entry else { continue };
            let id = [&statement.cid.0[..], &seq.to_be_bytes()].concat();
            rows.push(Row { position: *position, id, record: record.clone() });
            *position += 1;
        }
    }
    rows
}

/// One batch of each of `components`, in random order. A database has to keep records when they come, the first of every
/// component, then the second: `interleaved`. The product keeps them when a component has signed a batch. With
/// `interleaved` false the databases too get them batch by batch.
fn scattered(components: usize, interleaved: bool) -> Result<Vec<Commit>> {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut order: Vec<usize> = (0..components).collect();
    shuffle(&mut order, &mut rng);
    let batches = order.iter().map(|i| batch(cid(*i), 0, BATCH)).collect::<Result<Vec<_>>>()?;
    let mut rows = rows_of(&batches, &mut 0);
    if interleaved {
        let mut round: Vec<usize> = (0..components).collect();
        let mut mixed = Vec::with_capacity(rows.len());
        for seq in 0..usize::from(BATCH) {
            shuffle(&mut round, &mut rng);
            mixed.extend(round.iter().map(|i| rows[i * usize::from(BATCH) + seq].clone()));
        }
        rows = mixed;
    }
    let rows = rows.chunks(BATCH.into()).map(<[Row]>::to_vec);
    Ok(batches.into_iter().zip(rows).map(|(batch, rows)| Commit::of(vec![batch], rows)).collect())
}

fn shuffle(order: &mut [usize], rng: &mut ChaCha20Rng) {
    for i in (1..order.len()).rev() {
        order.swap(i, rng.next_u64() as usize % (i + 1));
    }
}

/// The product: the device signs what it sealed, the node stores it.
struct Product {
    chain: Chain,
    device: SigningKey,
    signed: bool,
}

impl Product {
    fn open(dir: &Path, signed: bool) -> Result<Self> {
        let chain = Chain::open(dir, &genesis())?;
        Ok(Self { chain, device: world::key("device"), signed })
    }
}

impl Keeper for Product {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        if self.signed {
            // Each by a device of its own, so they do not wait for each other. Threads that stay: a new one first seeds its
            // generator of random numbers.
            commit.statements.par_iter().enumerate().try_for_each(|(i, statement)| {
                let mut rng = ChaCha20Rng::seed_from_u64(i as u64);
                statement.sign(&self.device, &mut rng).map(drop)
            })?;
        }
        let answers = self.chain.append(&commit.batches)?;
        ensure!(answers.iter().all(|a| *a == Appended::Stored), "a batch was there before");
        Ok(())
    }
}

/// What a keeper does with commits.
struct Pace {
    /// Records a second: records of a commit over the median of the times of its commits.
    median: f64,
    /// The same over all that its commits took, with those in which it makes room ahead or tidies up.
    mean: f64,
}

/// The pace of each keeper. They take turns commit by commit, so that somebody else's use of the disk or of the CPU meets all of
/// them, and few commits of each; and who begins takes turns as well, because caches are then cold.
fn paces(keepers: &mut [(&str, Box<dyn Keeper>)], commits: &[Commit]) -> Result<Vec<Pace>> {
    let mut times = vec![Vec::with_capacity(commits.len()); keepers.len()];
    for (turn, commit) in commits.iter().enumerate() {
        for i in 0..keepers.len() {
            let at = (turn + i) % keepers.len();
            let start = Instant::now();
            keepers[at].1.commit(commit)?;
            times[at].push(start.elapsed().as_secs_f64() / commit.rows.len() as f64);
        }
    }
    let pace = |times: Vec<f64>| {
        let mean = times.len() as f64 / times.iter().sum::<f64>();
        Pace { median: 1.0 / median(times.into_iter()), mean }
    };
    Ok(times.into_iter().map(pace).collect())
}

pub fn run(disk: &Disk, size: &Size) -> Result<Value> {
    let server = Server::start(disk);
    let postgres = match &server {
        Ok(server) => server.version.clone(),
        Err(e) => format!("not measured: {e:#}"),
    };
    let server = server.ok();
    let mut rows = Vec::new();
    let mut of = |name: &str, commits: Vec<Commit>, key: Key| -> Result<Value> {
        let row = beside(disk, name, &commits, key, server.as_ref())?;
        rows.push(row.clone());
        Ok(row)
    };
    let hundred = of("100 a commit", in_order(size.commits, 1, 0)?, Key::Position)?;
    let thousand = of("1000 a commit", in_order(size.commits.div_ceil(4), 10, 0)?, Key::Position)?;
    let scatter = of("100 a commit, scattered", scattered(size.scattered, true)?, Key::Id)?;
    of("100 a commit, scattered, databases by batch", scattered(size.scattered, false)?, Key::Id)?;
    // The lower of the two sizes counts.
    let times = |peer: &str| {
        let of = |row: &Value| row[peer].as_f64().map(|rate| row["product"].as_f64().unwrap_or(0.0) / rate);
        of(&hundred).zip(of(&thousand)).map(|(a, b)| a.min(b))
    };
    let over = |row: &Value, one: &str, other: &str| {
        row[one].as_f64().zip(row[other].as_f64()).map(|(one, other)| one / other)
    };
    let ratio = |row: &Value, peer: &str| over(row, "product", peer);
    let (frames, with_zeros) = write_amplification(disk, size)?;
    Ok(json!({
        "log_ratio_100": ratio(&hundred, "raw"),
        "log_ratio_1000": ratio(&thousand, "raw"),
        "x_sqlite": times("sqlite"),
        "x_redb": times("redb"),
        "x_postgres": times("postgres"),
        // What bounds these: how much faster a log is that checks, hashes and signs nothing.
        "raw_x_sqlite": over(&hundred, "raw", "sqlite"),
        "raw_x_redb": over(&hundred, "raw", "redb"),
        "raw_x_postgres": over(&hundred, "raw", "postgres"),
        "raw_x_sqlite_scattered": over(&scatter, "raw", "sqlite"),
        "raw_x_redb_scattered": over(&scatter, "raw", "redb"),
        // With the commits in which zeros are written ahead; the bare log wrote them before.
        "log_ratio_100_mean": over(&hundred["mean"], "product", "raw"),
        "log_ratio_1000_mean": over(&thousand["mean"], "product", "raw"),
        "growing_ratio_100": over(&hundred, "growing", "raw"),
        "growing_ratio_1000": over(&thousand, "growing", "raw"),
        "x_sqlite_scattered": ratio(&scatter, "sqlite"),
        "x_redb_scattered": ratio(&scatter, "redb"),
        "write_amplification": with_zeros,
        "write_amplification_frames": frames,
        "records_per_s": rows,
        "postgres": postgres,
        "sqlite": rusqlite::version(),
    }))
}

/// Every keeper with the same commits, in turns.
fn beside(disk: &Disk, name: &str, commits: &[Commit], key: Key, server: Option<&Server>) -> Result<Value> {
    let dir = disk.ledger("records")?;
    let bytes: usize = commits.iter().flat_map(|c| &c.rows).map(|row| row.record.len()).sum();
    let mut keepers: Vec<(&str, Box<dyn Keeper>)> = vec![
        ("raw", Box::new(RawLog::create(&dir.join("raw"), bytes)?)),
        ("growing", Box::new(RawLog::create(&dir.join("growing"), 0)?)),
        ("product", Box::new(Product::open(&disk.ledger("records/product")?, true)?)),
        ("product_unsigned", Box::new(Product::open(&disk.ledger("records/unsigned")?, false)?)),
        ("sqlite", Box::new(Sqlite::create(&dir.join("sqlite"), key)?)),
        ("redb", Box::new(Redb::create(&dir.join("redb"), key)?)),
    ];
    if let Some(server) = server {
        keepers.push(("postgres", Box::new(server.table(key)?)));
    }
    let paces = paces(&mut keepers, commits)?;
    let mut row = json!({ "commits": name, "mean": {} });
    for ((name, _), pace) in keepers.iter().zip(paces) {
        row[*name] = pace.median.into();
        row["mean"][*name] = pace.mean.into();
    }
    drop(keepers);
    fs::remove_dir_all(&dir)?;
    Ok(row)
}

/// Bytes that the product passes to write calls for the segments, rounded to pages of 4 KiB, per byte of records, at 100
/// records a commit: of frames alone, and with the zeros that are written ahead of them.
fn write_amplification(disk: &Disk, size: &Size) -> Result<(f64, f64)> {
    const PAGE: u64 = 4096;
    let mut product = Product::open(&disk.ledger("amplification")?, false)?;
    let (mut payload, mut frames, mut zeros) = (0, 0, 0);
    for (n, commit) in in_order(size.commits.min(1_024), 1, 0)?.iter().enumerate() {
        let before = product.chain.stored_bytes();
        let written = written()?;
        product.commit(commit)?;
        let written = self::written()? - written;
        let after = product.chain.stored_bytes();
        if n == 0 {
            // The file began before.
            continue;
        }
        zeros += written.checked_sub(after - before).context("a frame is written")?;
        frames += after.next_multiple_of(PAGE) - before / PAGE * PAGE;
        payload += commit.rows.iter().map(|row| row.record.len() as u64).sum::<u64>();
    }
    Ok((frames as f64 / payload as f64, (frames + zeros) as f64 / payload as f64))
}

/// Bytes that this program passed to write calls so far.
fn written() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.context("the system counts writes")?.parse()?)
}
