//! `modbatt owner`: a component is handed from its manufacturer, or its owner, to somebody (`spec/ledger.md`, L113).

use std::path::PathBuf;

use api::Client;
use lct::id::Cid;
use lct::ownership::{TRANSFER_MAX, Transfer};
use ledger::tx::Body;
use serde_json::json;

use super::data_dir::DataDir;
use super::order::component;
use super::send::{Sender, key_file};
use super::{Failure, Outcome, ask, demo, os_rng, print};

/// Arguments of `modbatt owner`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id, for example `pack-0001`
    #[arg(value_parser = component)]
    id: String,
    /// Private key of who gives: the owner, or for the first time the batch authority that certified it; 32 bytes
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Private key of who takes, 32 bytes
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (giver, taker) = (key_file(&args.from)?, key_file(&args.to)?);
    let (dir, run) = DataDir::open_running(&args.data_dir, "its ledger can take it")?;
    let sender = Sender::new(&run.url, *dir.chain_id(), demo::operator(&dir)?)?;
    let client = Client::new(&run.url).map_err(|e| Failure::Input(e.to_string()))?;
    let known = ask(client.relations(&args.id))?;
    let now_ms = ask(client.time_token())?.time * 1_000;
    let (hops, previous) = known.owner.map_or((0, [0; 32]), |o| (o.hops.len() as u32, o.last_transfer.0));
    let transfer = Transfer {
        chain_id: *dir.chain_id(),
        cid: Cid(known.cid.0),
        lct: known.lct_id.0,
        hop: hops + 1,
        previous,
        from: giver.public(),
        to: taker.public(),
        time_ms: now_ms,
    };
    let unsignable = |e: lct::Error| Failure::Failed(format!("the transfer cannot be signed: {e}"));
    let mut bytes = [0; TRANSFER_MAX];
    let n = transfer.encode(&mut bytes).map_err(unsignable)?;
    let (digest, mut rng) = (transfer.digest().map_err(unsignable)?, os_rng()?);
    let signatures = [&giver, &taker].map(|key| key.sign(&digest, &mut rng));
    let tx = hex::encode(sender.send(Body::Transfer { statement: bytes[..n].to_vec(), signatures })?);
    let owner = taker.public();
    print(&match args.json {
        true => format!("{}\n", json!({ "format": 1, "owner": owner.to_string(), "txhash": tx })),
        false => format!("{} belongs to {owner}; transaction {tx}\n", args.id),
    })?;
    Ok(Outcome::Good)
}
