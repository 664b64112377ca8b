//! `modbatt ledger init` and `run`: a ledger of its own, and its bridge on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::super::data_dir::DataDir;
use super::super::demo::{self, unix_ms};
use super::super::keys::AUTHORITY;
use super::super::service::Service;
use super::super::user::First;
use super::super::{Failure, Outcome, print, reason};
use super::{At, founded};
use crate::custody::authority::Keys;
use crate::custody::{PassphraseArgs, Unlock};

/// Arguments of `modbatt ledger init`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Init {
    #[command(flatten)]
    at: At,
    /// Make the first user besides, an administrator; then the bridge lets in users only, on this machine too
    #[arg(long, value_name = "NAME")]
    administrator: Option<String>,
    /// Read the administrator's passphrase from the first line of a private file [default: one is drawn, printed once, and
    /// replaced with the first login]
    #[arg(long, value_name = "FILE", requires = "administrator")]
    passphrase_file: Option<PathBuf>,
}

/// Arguments of `modbatt ledger run`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Run {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Address of this machine on which the bridge listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    unlock: Unlock,
}

/// Makes a data directory with a chain and the keys of whoever runs it.
pub fn init(args: &Init) -> Result<Outcome, Failure> {
    let path = &args.at.data_dir;
    if path.join("format").exists() {
        return Err(Failure::Failed(format!(
            "{} is a data directory already, nothing was changed; `modbatt ledger run` runs it",
            path.display()
        )));
    }
    // Before anything is made: whose passphrase is refused finds nothing half made.
    let chosen = args.passphrase_file.as_deref().map(PassphraseArgs::of_file);
    let first = args.administrator.as_deref().map(|name| First::new(name, chosen.as_ref())).transpose()?;
    let dir = demo::found(path)?;
    if let Some(first) = &first {
        first.keep(&dir)?;
    }
    let chain_id = hex::encode(dir.chain_id());
    print(&if args.at.json {
        let mut made = json!({ "data_dir": path.display().to_string(), "chain_id": chain_id });
        if let Some(first) = &first {
            let drawn = first.drawn.as_ref();
            made["administrator"] = json!({ "name": first.name(),
                "passphrase": drawn.map(|drawn| drawn.passphrase.as_str()), "until": drawn.map(|drawn| drawn.until) });
        }
        format!("{made}\n")
    } else {
        let drawn =
            first.as_ref().and_then(|first| Some(first.drawn.as_ref()?.in_words(first.name()) + "\n"));
        let chain =
            format!("{} holds the chain {chain_id}; keep its folder `keys` to yourself\n", path.display());
        chain + &drawn.unwrap_or_default()
    })?;
    Ok(Outcome::Good)
}

/// Runs ledger and bridge until Ctrl-C.
pub fn run(args: &Run) -> Result<Outcome, Failure> {
    let missing = || Failure::Input(format!("there is no data directory {}", args.data_dir.display()));
    let dir = DataDir::open_or_create(&args.data_dir, || Err(missing()), |_| Err(missing()))?;
    // First, so that nobody is asked for a passphrase in vain.
    let chain = Arc::new(founded(&dir)?);
    let authority = Keys::at(&dir.keys().join(AUTHORITY))?.open(&args.unlock)?;
    let keys = (authority, demo::validator(&dir)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Failed(format!("cannot start: {}", reason(&e))))?;
    // A demo may have run ahead of the clock on the wall: block time never goes back.
    let ahead = (chain.tip().time_ms + 1).saturating_sub(unix_ms()?);
    let start = unix_ms()? + ahead;
    let since = std::time::Instant::now();
    let clock = Arc::new(move || start + since.elapsed().as_millis() as u64);
    let ended = runtime.block_on(async {
        let mut service =
            Service::start(&dir, &chain, keys, clock, args.listen, |bridge| Ok((bridge, "http"))).await?;
        print(&format!("ready {} data {}\n", service.url, dir.path().display()))?;
        tokio::select! {
            died = service.died() => return Err(died),
            stop = stopped() => stop?,
        }
        service.stop().await
    });
    let retired = dir.retire();
    ended?;
    retired?;
    Ok(Outcome::Good)
}

/// Ends with Ctrl-C, or when the system asks the program to end.
async fn stopped() -> Result<(), Failure> {
    let fail = |e| Failure::Failed(format!("cannot wait for Ctrl-C: {}", reason(&e)));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate()).map_err(fail)?;
        tokio::select! {
            stop = tokio::signal::ctrl_c() => stop.map_err(fail),
            _ = term.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(fail)
}
