//! How soon a program that opens a ledger is ready, and what it needs while it is idle.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lct::id::Cid;
use ledger::{excerpt::Found, records::key as state_key};
use node::{
    Chain,
    engine::solo::{Config, Solo},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{genesis, state::name};
use crate::{measure::median, world};

/// First argument of a program that is started so.
pub const CHILD: &str = "ledger-open";
/// Proofs of random components that a start checks.
const PROOFS: usize = 1_000;

/// Medians of several starts.
pub struct Starts {
    /// From the start of the program until it has tip, root and proofs.
    pub ready_ms: f64,
    /// Memory it then holds, idle.
    pub idle_mb: f64,
}

/// Starts this program on a ledger, several times.
pub fn starts(dir: &Path, components: usize, times: usize) -> Result<Starts> {
    let (mut ready, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .arg(dir)
            .arg(components.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("the program has an output")?).lines();
        let said = lines.next().context("the program ended early")??;
        ready.push(start.elapsed().as_secs_f64() * 1_000.0);
        ensure!(said == "ready", "the program said {said}");
        idle.push(lines.next().context("the program ended early")??.parse::<f64>()? / 1024.0);
        drop(child.stdin.take());
        ensure!(child.wait()?.success(), "the program failed");
    }
    Ok(Starts { ready_ms: median(ready.into_iter()), idle_mb: median(idle.into_iter()) })
}

/// What a started program does: opens the ledger, checks it, says `ready`, runs the engine, says how many KiB of memory it
/// holds, and ends with its input.
pub fn child(args: &[String]) -> Result<()> {
    let [dir, components] = args else { anyhow::bail!("name a directory and a number of components") };
    let components: usize = components.parse()?;
    let chain = Arc::new(Chain::open(Path::new(dir), &genesis())?);
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(std::process::id()));
    {
        let snapshot = chain.read()?;
        let tip = snapshot.tip();
        ensure!(tip == chain.tip(), "the tip is that of the store");
        let past = snapshot.at(tip.height)?;
        ensure!(past.tip().state_root == tip.state_root, "the root is that of the tip");
        for _ in 0..if components > 0 { PROOFS } else { 0 } {
            let cid = Cid::of(&name(rng.next_u64() as usize % components));
            let proof = past.prove(&state_key::component(&cid))?;
            ensure!(
                matches!(proof, Found::Present(proof) if proof.leads_to(&tip.state_root)),
                "a component is not proved"
            );
        }
    }
    println!("ready");
    std::io::stdout().flush()?;
    let engine = Solo::new(chain, world::validator("v"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    runtime.block_on(async {
        let run = tokio::spawn(engine.run(Config::default(), || world::START_MS, std::future::pending()));
        tokio::time::sleep(Duration::from_millis(100)).await;
        println!("{}", resident_kib()?);
        std::io::stdin().read_line(&mut String::new())?;
        run.abort();
        Ok(())
    })
}

/// Memory of this program in the machine's memory, KiB.
fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("the system tells memory")?;
    Ok(kib.parse()?)
}
