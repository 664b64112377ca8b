//! A ledger that grows: what an operation costs, what is held and how soon a program is ready, at each decade of size.

use std::{io::Write, path::Path, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use lct::id::Cid;
use node::{
    Chain,
    series::{Question, Resolution},
};
use serde_json::Value;

use super::{Disk, base, bytes_below, genesis, open, state};
use crate::measure::process_ns;

/// First argument of a program that does this.
pub const SOAK: &str = "ledger-soak";
/// Components of the first decade.
const FIRST: usize = 1_000;
/// Starts of a program at each size.
const STARTS: usize = 3;
/// Questions of each kind at each size.
const QUESTIONS: usize = 256;

/// What is stored of each component by one call.
struct Grown {
    /// CPU time of all threads, microseconds for each transaction.
    register_us: f64,
    /// Likewise for each record.
    append_us: f64,
}

/// Fills a ledger up to so many components and records, and prints what was measured at each decade as one line of JSON.
pub fn soak(args: &[String]) -> Result<()> {
    let [components, records] = args else { anyhow::bail!("say how many components and how many records") };
    let (components, records): (usize, usize) = (components.parse()?, records.parse()?);
    ensure!(components > 0 && records >= components, "at least one component, and a record of each");
    let each = u16::try_from(records / components)?;
    let disk = Disk(tempfile::tempdir_in(base()?)?);
    let dir = disk.ledger("soak")?;
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(FIRST), |n| n.checked_mul(10)).take_while(|n| *n < components).collect();
    sizes.push(components);
    let mut from = 0;
    for to in sizes {
        let begun = Instant::now();
        let grown = grow(&dir, from..to, each)?;
        let mut row = measured(&dir, to, each)?;
        row["components"] = to.into();
        row["records"] = (to * usize::from(each)).into();
        row["register_us"] = grown.register_us.into();
        row["append_us"] = grown.append_us.into();
        row["seconds"] = begun.elapsed().as_secs_f64().into();
        println!("{row}");
        std::io::stdout().flush()?;
        from = to;
    }
    Ok(())
}

fn grow(dir: &Path, new: std::ops::Range<usize>, each: u16) -> Result<Grown> {
    let chain = Arc::new(Chain::open(dir, &genesis())?);
    let count = new.len() as f64;
    let registered = state::register(&chain, new.clone())?;
    let appended = state::append(&chain, new, each)?;
    Ok(Grown {
        register_us: registered / 1_000.0 / count,
        append_us: appended / 1_000.0 / count / f64::from(each),
    })
}

/// What a ledger of so many components costs.
fn measured(dir: &Path, components: usize, each: u16) -> Result<Value> {
    let mut row = state::queries(dir, components)?;
    let records = components as f64 * f64::from(each);
    {
        let chain = Chain::open(dir, &genesis())?;
        let start = process_ns();
        while !chain.follow()?.complete {}
        row["followed_us"] = ((process_ns() - start) as f64 / 1_000.0).into();
        row["series_us"] = (state::each(QUESTIONS, components, |cid| asked(&chain, cid))? / 1_000.0).into();
    }
    let starts = open::starts(dir, components, STARTS)?;
    row["ready_ms"] = starts.ready_ms.into();
    row["resident_mb"] = starts.idle_mb.into();
    let size = |name: &str| std::fs::metadata(dir.join(name)).map(|meta| meta.len() as f64);
    row["state_bytes_per_component"] = (size("ledger.redb")? / components as f64).into();
    row["record_bytes"] = (bytes_below(&dir.join("segments"))? as f64 / records).into();
    row["series_bytes_per_component"] = (size("series.redb")? / components as f64).into();
    Ok(row)
}

/// The days of a component.
fn asked(chain: &Chain, cid: &Cid) -> Result<()> {
    let question =
        Question { cid: *cid, resolution: Resolution::Day, from_ms: 0, to_ms: u64::MAX, limit: usize::MAX };
    let answer = chain.series(&question)?;
    ensure!(answer.buckets.len() == 1 && answer.followed.complete, "the sums of a component are missing");
    Ok(())
}
