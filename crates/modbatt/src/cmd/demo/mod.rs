//! `modbatt demo`: a whole installation on one machine, all of it the real code — an embedded ledger, the bridge,
//! the gateway with the commissioning app, and a pack controller with its modules on two simulated buses.

mod app_key;
mod bench;
mod bootstrap;
mod entity;
mod faults;
mod key_log;
mod members;
mod parts;
mod provision;
mod report;
mod revoked;
mod signers;
mod source;
mod spoil;
mod takeover;
mod tasks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bus::udp::UdpConfig;
use lct::binding::Assurance;
use node::Chain;
use rand_chacha::ChaCha20Rng;

use super::check::Report;
use super::data_dir::DataDir;
use super::older::Older;
use super::service::Service;
use super::{Failure, Outcome, print, reason};
use crate::custody::Unlock;
use app_key::AppKey;
use parts::Parts;
use source::Source;

/// Arguments of `modbatt demo`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Replay a tester's file (three modules in series) and end with its data; without it a battery model runs
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Number of modules of a new pack, 1 to 31 [default: 3, or as the data directory has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=31))]
    modules: Option<u8>,
    /// Where keys, ledger, flash and receipts are kept; made when it does not exist
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// `max`, or how many times faster than real time
    #[arg(long, default_value = "1", value_parser = parse_speed)]
    speed: Speed,
    /// Only plain progress lines (there is no other display yet)
    #[arg(long)]
    headless: bool,
    /// End with one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Record both buses as DIR/can1.pcapng and DIR/can2.pcapng
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Both buses are CAN FD (500 kbit/s, data 2 Mbit/s): sealed messages of up to 64 bytes are one frame
    #[arg(long, conflicts_with = "fault")]
    can_fd: bool,
    /// Copy every frame of CAN 1 to a UDP multicast group of this host, as python-can's `udp_multicast` reads it; what
    /// others send there is not heard [port: 43113]
    #[arg(long, value_name = "GROUP[:PORT]")]
    can1_udp: Option<UdpConfig>,
    /// Write the keys of every channel to a new FILE: whoever has it reads, and can forge, all traffic of this run
    #[arg(long, value_name = "FILE")]
    key_log: Option<PathBuf>,
    /// Disturb the buses once the pack is operational: `drop=N` loses N frames of sealed messages, `flip=N` flips a
    /// bit in N sealed messages; may be given twice
    #[arg(long, value_name = "KIND=N", value_parser = parse_fault)]
    fault: Vec<Fault>,
    /// How app and pack of a new pack get to know each other: `b1` by the manufacturer's attestation, `b2` by the code
    /// printed on the pack, `b1+b2` by both, `b0` in clear in a commissioning window with a comparison of six digits
    #[arg(long, value_name = "MODE", default_value = "b1", value_parser = bootstrap::parse_bootstrap)]
    bootstrap: lct::binding::Assurance,
    /// The code that is typed under `--bootstrap b2` and `b1+b2` [default: what is printed on the simulated pack]
    #[arg(long, value_name = "CODE", value_parser = bootstrap::parse_code)]
    code: Option<lct::pake::Code>,
    /// Where the app of a new installation keeps its key: `private-file`, `encrypted-file` (under a passphrase) or
    /// `os-store` (the key store of this system) [default: private-file]
    #[arg(long, value_name = "PLACE", value_parser = app_key::parse)]
    app_key: Option<app_key::Place>,
    #[command(flatten)]
    unlock: Unlock,
    /// Temperature in degrees Celsius, tenths allowed, above which a module asks for a higher validation level: level 5
    /// from the app, and then level 7 from everybody; it opens no relay
    #[arg(long, value_name = "DEGC", allow_negative_numbers = true, value_parser = parse_temperature)]
    temperature_limit: Option<i32>,
    /// Spoil the stored keys of a component before the start, as a corrupted flash does: it starts Key-Lost, and `modbatt
    /// recover` gives it new ones
    #[arg(long, value_name = "COMPONENT", value_parser = super::order::component)]
    lose_keys: Option<String>,
    /// Before the start somebody takes the module or the pack controller OLD out and puts NEW in its place, which is made new;
    /// `modbatt replace OLD NEW` then gives it the place
    #[arg(long, value_name = "OLD=NEW", value_parser = parts::parse_exchange)]
    exchange: Option<(String, String)>,
    /// Most MiB of what devices sign that the app's host holds while a laptop bound them and its journal was not brought yet
    #[arg(long, value_name = "MIB", default_value_t = gateway::HOLD_MIB, value_parser = clap::value_parser!(u64).range(8..=1_048_576))]
    hold_mib: u64,
    /// Give up what is held so, under bindings of COMPONENT or all of it: the journal will never be brought. What the ledger refused
    /// is given up without
    #[arg(long, value_name = "COMPONENT", num_args = 0..=1, value_parser = super::order::component)]
    give_up_held: Option<Option<String>>,
    /// The computer of the app is lost: another one takes its place, with an app of its own. It takes the pack over with the
    /// code that is printed on it (`--code`), and the lost app is revoked
    #[arg(long)]
    new_host: bool,
    #[command(flatten)]
    older: Older,
    /// Where the API listens, a loopback address [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", hide_default_value = true,
        value_parser = parse_listen)]
    listen: SocketAddr,
    /// Where the gateway reaches the API instead, a loopback address: of a relay that lies between, to see what becomes of a run
    /// whose bridge is away
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_listen)]
    through: Option<SocketAddr>,
    /// Power the pack on, check it, and power it off.
    #[arg(skip)]
    check_only: bool,
    /// Seed of the battery model and of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How fast virtual time goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    /// As fast as this machine allows.
    Max,
    /// So many times real time.
    Times(f64),
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if times.is_finite() && (0.01..=100_000.0).contains(&times) => Ok(Speed::Times(times)),
        _ => Err("it is `max` or a number from 0.01 to 100000".into()),
    }
}

/// The API is plain HTTP: whoever reaches it may commission and write to the ledger.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("the API is in clear and stays on this machine: name a loopback address".into()),
        Err(_) => Err("it is a loopback address with a port, for example 127.0.0.1:8080 or [::1]:0".into()),
    }
}

/// Thousandths of a degree Celsius.
fn parse_temperature(text: &str) -> Result<i32, String> {
    match text.parse::<f64>() {
        Ok(degrees) if (-40.0..=125.0).contains(&degrees) => Ok((degrees * 1_000.0).round() as i32),
        _ => Err("it is a temperature from -40 to 125 degrees Celsius, for example 35".into()),
    }
}

/// A disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Frames to lose.
    Drop(u32),
    /// Messages to flip a bit in.
    Flip(u32),
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let wrong = || "it is `drop=N` or `flip=N`, for example `flip=3`".to_owned();
    let (kind, n) = text.split_once('=').ok_or_else(wrong)?;
    let n: u32 = n.parse().map_err(|_| wrong())?;
    match kind {
        "drop" => Ok(Fault::Drop(n)),
        "flip" => Ok(Fault::Flip(n)),
        _ => Err(wrong()),
    }
}

/// Modules of a pack unless told otherwise, and those of the measured pack.
const MODULES: usize = 3;

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let assurance = if args.new_host { with_code(args.bootstrap) } else { args.bootstrap };
    bootstrap::check(assurance, args.code.as_ref())?;
    if (args.new_host || args.exchange.is_some()) && !args.data_dir.exists() {
        let dir = args.data_dir.display();
        return Err(Failure::Input(format!(
            "there is no data directory {dir}, and nothing to exchange in it"
        )));
    }
    // Read first: a damaged file must not leave a data directory behind.
    let replay = args.replay.as_deref().map(Source::replay).transpose()?;
    let asked = args.modules.map(usize::from);
    if replay.is_some() && asked.is_some_and(|n| n != sim::replay::MODULES) {
        return Err(Failure::Input(format!(
            "the replayed file holds {} modules; leave --modules out",
            sim::replay::MODULES
        )));
    }
    args.older.check()?;
    let mut rng = super::os_rng()?;
    let now_ms = unix_ms()?;
    let founders = provision::Founders::draw((now_ms / 1_000) as u32, &mut rng)?;
    let app_key = AppKey { wanted: args.app_key, passphrase: args.unlock.passphrase.clone() };
    let mut fresh = false;
    let dir = DataDir::open_or_create(
        &args.data_dir,
        || Ok::<_, Failure>(founders.genesis(now_ms)),
        |dir| {
            fresh = true;
            founders.write(dir, &app_key, asked.unwrap_or(MODULES), &mut rng)?;
            // A complete directory has a ledger, so that it can be read even if this program dies before it runs.
            Chain::open(&dir.ledger(), dir.genesis()).map(drop).map_err(|e| super::ledger::failure(&e))
        },
    )?;
    if let Some((old, new)) = &args.exchange {
        Parts::exchange(&dir, old, new, &mut rng)?;
    }
    if args.new_host {
        Parts::new_host(&dir, &app_key, &mut rng)?;
    }
    let installation = provision::load(&dir, &app_key, &args.unlock)?;
    // Whoever takes a pack over proves that it stands before it.
    let assurance = if installation.lost.is_some() { with_code(assurance) } else { assurance };
    let plan = bootstrap::plan(&dir, &installation.pack.component_id, assurance, args.code.as_ref())?;
    if args.bootstrap == lct::binding::Assurance::Plain {
        say(
            "WARNING: B0 sends keys in clear and proves nobody's identity; only the comparison of digits does",
        );
    }
    let (modules, host) = (installation.modules.len(), installation.host);
    let wanted = if replay.is_some() { Some(sim::replay::MODULES) } else { asked };
    if let Some(wanted) = wanted.filter(|n| *n != modules) {
        return Err(Failure::Input(format!(
            "{} holds a pack of {modules} modules, not {wanted}; name another data directory",
            dir.path().display()
        )));
    }
    if let Some((_, false)) = replay {
        say("note: the file does not end with the tester's closing line; it may be cut short");
    }
    let source = match replay {
        Some((source, _)) => source,
        None => Source::model(modules, args.seed)?,
    };
    say(&if fresh {
        format!("manufactured: app, pack and {modules} modules with keys and certificates; host {host}")
    } else {
        format!("found: app, pack and {modules} modules of an earlier run; host {host}")
    });
    let outcome = runtime()?.block_on(operate(args, &dir, installation, plan, source, rng));
    let retired = dir.retire();
    let ended = outcome?;
    retired?;
    if let Ended::Ran(line) = ended
        && args.json
    {
        print(&format!("{line}\n"))?;
    }
    Ok(Outcome::Good)
}

/// Powers the installation in `path` on, checks it and powers it off.
pub fn check(path: &Path, unlock: &Unlock) -> Result<Report, Failure> {
    let args = Args {
        replay: None,
        modules: None,
        data_dir: path.to_owned(),
        speed: Speed::Max,
        headless: true,
        json: false,
        record: None,
        key_log: None,
        can_fd: false,
        can1_udp: None,
        fault: Vec::new(),
        temperature_limit: None,
        bootstrap: lct::binding::Assurance::Attested,
        code: None,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        through: None,
        app_key: None,
        lose_keys: None,
        exchange: None,
        hold_mib: gateway::HOLD_MIB,
        give_up_held: None,
        new_host: false,
        older: Older::default(),
        unlock: unlock.clone(),
        check_only: true,
        seed: 1,
    };
    let missing = || Failure::Input(format!("there is no data directory {}", path.display()));
    let dir = DataDir::open_or_create(path, || Err(missing()), |_| Err(missing()))?;
    let installation =
        provision::load(&dir, &AppKey { wanted: None, passphrase: unlock.passphrase.clone() }, unlock)?;
    if let Some(lost) = &installation.lost {
        return Err(Failure::Failed(format!(
            "{} has not taken the pack over from {lost} yet; `modbatt demo` goes on with that",
            installation.app.component_id
        )));
    }
    let source = Source::model(installation.modules.len(), args.seed)?;
    let outcome = runtime()?.block_on(operate(
        &args,
        &dir,
        installation,
        gateway::Plan::default(),
        source,
        super::os_rng()?,
    ));
    let retired = dir.retire();
    match outcome? {
        Ended::Checked(report) => retired.map(|()| report).map_err(Failure::from),
        Ended::Ran(_) => Err(Failure::Failed("the pack ran instead of being checked".into())),
    }
}

/// The same assurance, proved by the printed code besides.
fn with_code(assurance: Assurance) -> Assurance {
    match assurance {
        Assurance::Code => Assurance::Code,
        _ => Assurance::AttestedAndCode,
    }
}

/// The key of the installation's operator account.
pub fn operator(dir: &DataDir) -> Result<lct::sign::SigningKey, Failure> {
    provision::account(dir)
}

/// Makes a data directory with a chain and the keys of whoever runs it, and no parts.
pub fn found(path: &Path) -> Result<DataDir, Failure> {
    let mut rng = super::os_rng()?;
    let now_ms = unix_ms()?;
    let founders = provision::Founders::draw((now_ms / 1_000) as u32, &mut rng)?;
    DataDir::open_or_create(
        path,
        || Ok::<_, Failure>(founders.genesis(now_ms)),
        |dir| {
            founders.write_keys(dir)?;
            Chain::open(&dir.ledger(), dir.genesis()).map(drop).map_err(|e| super::ledger::failure(&e))
        },
    )
}

/// The key of the installation's validator.
pub fn validator(dir: &DataDir) -> Result<ed25519_dalek::SigningKey, Failure> {
    provision::validator(dir)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(format!("cannot start: {}", reason(&e))))
}

/// How [`operate`] ended.
enum Ended {
    /// With the figures of a run.
    Ran(serde_json::Value),
    /// With a report.
    Checked(Report),
}

/// A line of progress, on standard error.
pub(super) fn say(line: &str) {
    use std::io::Write;
    // Progress that nobody reads any more is no reason to stop.
    let _closed = writeln!(std::io::stderr(), "{line}");
}

pub(super) fn unix_ms() -> Result<u64, Failure> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Failure::Failed("the system clock stands before 1970; set it".into()))?;
    Ok(since.as_millis() as u64)
}

/// Starts ledger and bridge, runs the pack, ends in order, and returns the figures.
async fn operate(
    args: &Args,
    dir: &DataDir,
    installation: provision::Installation,
    plan: gateway::Plan,
    source: Source,
    mut rng: ChaCha20Rng,
) -> Result<Ended, Failure> {
    let started = std::time::Instant::now();
    let ledger_failure = |e: &node::Error| super::ledger::failure(e);
    let chain = Arc::new(Chain::open(&dir.ledger(), dir.genesis()).map_err(|e| ledger_failure(&e))?);
    // Simulated time may have run ahead of the clock on the wall in an earlier run: it never goes back.
    let start_ms = unix_ms()?.max(chain.tip().time_ms + 1);
    let clock = Arc::new(AtomicU64::new(start_ms));
    let now = clock.clone();
    let authority = installation.authority.public();
    let keys = (installation.authority, installation.validator.clone());
    let now: bridge::Clock = Arc::new(move || now.load(Ordering::Relaxed));
    let mut service = Service::start(dir, &chain, keys, now, args.listen, |bridge| {
        Ok((args.older.serve(bridge, dir)?, "http"))
    })
    .await?;
    let url = service.url.clone();
    say(&format!(
        "bridge, over REST and gRPC, and ledger at {url}, chain {}",
        hex::encode(&dir.chain_id()[..8])
    ));

    let pack = installation.pack.cid();
    let bench = bench::Bench {
        args,
        dir,
        chain: &chain,
        url: &url,
        start_ms,
        clock: clock.clone(),
        app: installation.app,
        pack: installation.pack,
        modules: installation.modules,
        account: installation.account,
        plan,
        host: installation.host,
        lost: installation.lost,
        authority,
        opening: installation.opening,
    };
    let ran = tokio::select! {
        ran = bench.run(source, &mut rng) => ran,
        died = service.died() => Err(died),
    };
    let ran = ran?;
    service.stop().await?;
    let (mut figures, components) = match ran {
        bench::Ended::Ran(figures, components) => (figures, components),
        bench::Ended::Checked(report) => return Ok(Ended::Checked(report)),
    };
    let receipts = report::write_receipts(dir, &chain, &components)?;
    figures.wall_ms = started.elapsed().as_millis() as u64;
    let line = report::as_json(dir, &chain, pack, &figures, receipts)?;
    say(&summary(&line));
    Ok(Ended::Ran(line))
}

fn summary(line: &serde_json::Value) -> String {
    let n = |key: &str| line.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    format!(
        "ended in order: {} rows; the ledger holds {} records in {} batches, {} blocks, {} mWh discharged, {} mWh \
         charged; {} receipts; {} sealed messages did not open",
        n("rows"),
        n("records"),
        n("batches"),
        n("blocks"),
        n("energy_discharged_mwh"),
        n("energy_charged_mwh"),
        n("receipts_written"),
        n("open_failures"),
    )
}
