//! `modbatt serve`: the bridge and the ledger of a data directory as a service, without a pack. Guide:
//! `docs/operations.md`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bridge::front::settings::Settings;
use bridge::{Bridge, Config};
use node::Chain;
use node::engine::solo::{self, Solo};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::data_dir::{DataDir, Run};
use super::demo::{engine_failure, listen_failure, raised, runtime, say, unix_ms, validator};
use super::keys::AUTHORITY;
use super::{Failure, Outcome, print, reason};
use crate::custody::Unlock;
use crate::custody::authority::Keys;

/// Arguments of `modbatt serve`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The data directory whose ledger is served
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Settings in TOML; variables MODBATT_SERVE_NAME and the flags below win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; outside loopback with TLS and for users only (`modbatt user add`) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Names and addresses under which clients reach it; may be given several times
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Check the settings, say what they come to, and end
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    unlock: Unlock,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let mut flags = Vec::new();
    if let Some(listen) = args.listen {
        flags.push(("listen", listen.to_string()));
    }
    let environment =
        std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    if !args.name.is_empty() {
        flags.push(("names", args.name.join(",")));
    }
    let settings = Settings::read(args.config.as_deref(), environment, &flags)
        .map_err(|e| Failure::Input(format!("settings: {e}")))?;
    let front = settings.front(&args.data_dir);
    if !settings.listen.ip().is_loopback() && front.users.is_none() {
        let dir = args.data_dir.display();
        return Err(Failure::Input(format!(
            "{} is reached by others, and there are no users: make the first with `modbatt user add NAME \
             --role administrator --data-dir {dir}`",
            settings.listen
        )));
    }
    if args.check {
        let who = if front.users.is_some() { "users" } else { "whoever sits at this machine" };
        let how = if settings.has_tls() { "https" } else { "http" };
        print(&format!("settings are in order: {how}://{} for {who}\n", settings.listen))?;
        return Ok(Outcome::Good);
    }
    let missing = || Failure::Input(format!("there is no data directory {}", args.data_dir.display()));
    let dir = DataDir::open_or_create(&args.data_dir, || Err(missing()), |_| Err(missing()))?;
    let logs = settings.logs(dir.path()).install().map_err(|e| Failure::Failed(e.to_string()))?;
    let served = runtime()?.block_on(serve(args, &dir, &settings, &front));
    let retired = dir.retire();
    drop(logs);
    served?;
    retired?;
    Ok(Outcome::Good)
}

async fn serve(
    args: &Args,
    dir: &DataDir,
    settings: &Settings,
    front: &bridge::Front,
) -> Result<(), Failure> {
    let ledger_failure = |e: &node::Error| super::ledger::failure(e);
    let key = Keys::at(&dir.keys().join(AUTHORITY))?.open(&args.unlock)?;
    let chain = Arc::new(Chain::open(&dir.ledger(), dir.genesis()).map_err(|e| ledger_failure(&e))?);
    // Simulated time may have run ahead of the clock on the wall in an earlier run: it never goes back.
    let (start_ms, began) = (unix_ms()?.max(chain.tip().time_ms + 1), Instant::now());
    let clock = Arc::new(move || start_ms + began.elapsed().as_millis() as u64);
    let engine = Solo::new(chain.clone(), validator(dir)?).map_err(|e| ledger_failure(&e))?;
    let (stop, stops) = watch::channel(false);
    let engine_clock = clock.clone();
    let mut engine = tokio::spawn(engine.run(solo::Config::default(), move || engine_clock(), raised(stops)));
    let config = Config {
        chain: chain.clone(),
        clock,
        key,
        ceremonies: dir.path().join("ceremonies"),
        revocations: dir.path().join("revocations"),
        orders: dir.path().join("orders.json"),
        webhooks: dir.path().join("webhooks.redb"),
    };
    let failed = |e: bridge::BridgeError| Failure::Failed(e.to_string());
    let bridge = Bridge::open(config).map_err(failed)?.behind(front).map_err(failed)?;
    let listener =
        TcpListener::bind(settings.listen).await.map_err(|e| listen_failure(settings.listen, &e))?;
    let address = listener.local_addr().map_err(|e| listen_failure(settings.listen, &e))?;
    let url = format!("{}://{address}", if settings.has_tls() { "https" } else { "http" });
    let end = ended()?;
    dir.announce(&Run { url: url.clone(), pid: std::process::id() })?;
    say(&format!("bridge and ledger at {url}, chain {}", hex::encode(&dir.chain_id()[..8])));
    tokio::select! {
        served = bridge.serve(listener, end) => served.map_err(failed)?,
        died = &mut engine => return Err(engine_failure(died)),
    }
    // The ledger goes on until the last request has its answer.
    stop.send_replace(true);
    match engine.await {
        Ok(Ok(())) => {}
        died => return Err(engine_failure(died)),
    }
    say("ended in order");
    Ok(())
}

/// Resolves when the system or somebody at the terminal asks for the end.
#[cfg(unix)]
fn ended() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|e| Failure::Failed(format!("cannot wait for signals: {}", reason(&e))));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when somebody at the terminal asks for the end.
#[cfg(not(unix))]
fn ended() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    Ok(async {
        // Where no signal can be waited for, the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
