//! `modbatt pair`: an operator orders that two components are paired anew, and waits for what becomes of it
//! (`spec/api.md`, A60 to A63).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::encoding::{Fixed, Hex};
use api::order::{Order, Place, State, Task, WAIT_MAX_S, order_digest};
use lct::id::{Cid, valid_component_id};
use rand_core::Rng;

use super::data_dir::DataDir;
use super::{Failure, Outcome, ask, os_rng, print};

/// Pause between two looks at an order.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of `modbatt pair`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id of the side nearer the app, for example `app-0001`
    #[arg(value_name = "A", value_parser = component)]
    a: String,
    /// Component id of the other side, for example `pack-0001`
    #[arg(value_name = "B", value_parser = component)]
    b: String,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// How long the order may wait for the pack, in seconds of the bridge's time
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600,
        value_parser = clap::value_parser!(u64).range(1..=WAIT_MAX_S))]
    expires: u64,
    /// How long this command waits for the outcome, in seconds; 0 places the order and ends
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn component(text: &str) -> Result<String, String> {
    match valid_component_id(text) {
        true => Ok(text.to_owned()),
        false => Err("a component id has 3 to 64 characters of A-Z, a-z, 0-9, _ and -".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let run = dir.run()?.ok_or_else(|| {
        let name = dir.path().display();
        Failure::Failed(format!("nothing runs on {name}: start it, so that somebody can do it"))
    })?;
    let operator = super::demo::operator(&dir)?;
    let mut rng = os_rng()?;
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let now = ask(async { api::Client::new(&run.url)?.time_token().await })?.time;
    let expires_at = now + args.expires;
    let (a, b) = (Cid::of(&args.a), Cid::of(&args.b));
    let digest = order_digest(dir.chain_id(), &id, expires_at, Task::Pair, &a, &b);
    let request = Place {
        creator: "modbatt pair".into(),
        id: Hex(id),
        task: Task::Pair,
        a: args.a.clone(),
        b: args.b.clone(),
        expires_at,
        key: Hex(operator.public().0),
        signature: Fixed(operator.sign(&digest, &mut rng).0),
    };
    let mut order = ask(async { api::Client::new(&run.url)?.place_order(&request).await })?;
    let asked = Instant::now();
    while order.state == State::Waiting && asked.elapsed() < Duration::from_secs(args.wait) {
        std::thread::sleep(LOOK);
        order = ask(async { api::Client::new(&run.url)?.order(&order.id).await })?;
    }
    tell(&order, args)
}

fn tell(order: &Order, args: &Args) -> Result<Outcome, Failure> {
    if args.json {
        let text = serde_json::to_string(order).map_err(|e| Failure::Failed(e.to_string()))?;
        print(&format!("{text}\n"))?;
    } else {
        let (a, b) = (&order.a, &order.b);
        print(&match order.state {
            State::Done => format!("{a} and {b} are paired anew\n"),
            State::Failed => format!("{a} and {b} are not paired anew: {}\n", order.said),
            State::Expired => format!("the order {} expired; nobody did it\n", order.id),
            State::Waiting => {
                format!("the order {} waits for the pack, at most {} s\n", order.id, args.expires)
            }
        })?;
    }
    Ok(match order.state {
        State::Done | State::Waiting => Outcome::Good,
        State::Failed | State::Expired => Outcome::Bad,
    })
}
