//! `modbatt serve`: the bridge and the ledger of a data directory as a service, without a pack. Guide:
//! `docs/operations.md`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bridge::access::users::UserFile;
use bridge::front::settings::Settings;
use bridge::ops::traces::Traces;

use super::data_dir::DataDir;
use super::demo::{runtime, say, unix_ms, validator};
use super::keys::AUTHORITY;
use super::older::Older;
use super::service::Service;
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
    /// Where a collector of OpenTelemetry takes traces, http://HOST:4318 [default: none are sent]
    #[arg(long, value_name = "URL")]
    otel_endpoint: Option<String>,
    #[command(flatten)]
    older: Older,
    /// Check the settings, say what they come to and what they risk, and end; `modbatt config check` is the same
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    unlock: Unlock,
}

/// Only checks the settings.
pub fn check(args: &Args) -> Result<Outcome, Failure> {
    prepare(args, true)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    prepare(args, args.check)
}

fn prepare(args: &Args, check: bool) -> Result<Outcome, Failure> {
    let mut flags = Vec::new();
    if let Some(listen) = args.listen {
        flags.push(("listen", listen.to_string()));
    }
    let environment =
        std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    if !args.name.is_empty() {
        flags.push(("names", args.name.join(",")));
    }
    flags.extend(args.otel_endpoint.clone().map(|url| ("otel_endpoint", url)));
    flags.extend(args.older.flags());
    let settings = Settings::read(args.config.as_deref(), environment, &flags)
        .map_err(|e| Failure::Input(format!("settings: {e}")))?;
    let front = settings.front(&args.data_dir);
    let users = front.users.as_deref().map(UserFile::read).transpose();
    let users = users.map_err(|e| Failure::Input(e.to_string()))?.is_some_and(|file| !file.users.is_empty());
    if !settings.listen.ip().is_loopback() && !users {
        let dir = args.data_dir.display();
        return Err(Failure::Input(format!(
            "{} is reached by others, and there are no users: make the first with `modbatt user add NAME \
             --role administrator --once --data-dir {dir}`",
            settings.listen
        )));
    }
    if check {
        let who = if users { "users" } else { "whoever sits at this machine" };
        let how = if settings.has_tls() { "https" } else { "http" };
        let mut text = format!("settings are in order: {how}://{} for {who}\n", settings.listen);
        if let Some(profile) = settings.older() {
            text += &format!("clients of the older contract are served, as {} by default\n", profile.name());
        }
        for (name, risk) in settings.risks() {
            text += &format!("RISK {name}: {risk}\n");
        }
        print(&text)?;
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
    // First, so that nobody is asked for a passphrase in vain.
    let chain = Arc::new(super::ledger::founded(dir)?);
    let key = Keys::at(&dir.keys().join(AUTHORITY))?.open(&args.unlock)?;
    // Simulated time may have run ahead of the clock on the wall in an earlier run: it never goes back.
    let (start_ms, began) = (unix_ms()?.max(chain.tip().time_ms + 1), Instant::now());
    let clock = Arc::new(move || start_ms + began.elapsed().as_millis() as u64);
    let end = ended()?;
    let mut service = Service::start(dir, &chain, (key, validator(dir)?), clock, settings.listen, |bridge| {
        let bridge = Older::of(settings).serve(bridge, dir)?;
        let bridge = bridge.behind(front).map_err(|e| Failure::Failed(e.to_string()))?;
        let bridge = bridge.watching(settings.watch());
        let traces = settings.otel_endpoint.as_deref().map(Traces::start).transpose();
        let bridge = match traces.map_err(|e| Failure::Failed(e.to_string()))? {
            None => bridge,
            Some(traces) => bridge.with_traces(traces),
        };
        Ok((bridge, if settings.has_tls() { "https" } else { "http" }))
    })
    .await?;
    for (name, risk) in settings.risks() {
        say(&format!("RISK {name}: {risk}"));
    }
    say(&format!(
        "bridge, over REST and gRPC, and ledger at {}, chain {}",
        service.url,
        hex::encode(&dir.chain_id()[..8])
    ));
    tokio::select! {
        () = end => {}
        failure = service.died() => return Err(failure),
    }
    // The ledger goes on until the last request has its answer.
    service.stop().await?;
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
