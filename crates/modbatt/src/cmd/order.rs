//! Orders of an operator: placed with the bridge, done by whoever holds the pack's channel (`spec/api.md`, A60 to A63).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::encoding::{Fixed, Hex};
use api::order::{Order, Place, State, Task, WAIT_MAX_S, order_digest};
use lct::id::{Cid, valid_component_id};
use rand_core::Rng;
use serde_json::Value;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, print};

/// Pause between two looks at an order.
pub const LOOK: Duration = Duration::from_millis(250);

/// Of an order that concerns two components.
#[derive(clap::Args)]
pub struct Pair {
    /// Component id of the side nearer the app, for example `app-0001`
    #[arg(value_name = "A", value_parser = component)]
    pub a: String,
    /// Component id of the other side, for example `pack-0001`
    #[arg(value_name = "B", value_parser = component)]
    pub b: String,
}

/// Where an order goes, how long it may wait, and how its outcome is told.
#[derive(clap::Args)]
pub struct Options {
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

/// Reads a component id.
pub fn component(text: &str) -> Result<String, String> {
    match valid_component_id(text) {
        true => Ok(text.to_owned()),
        false => Err("a component id has 3 to 64 characters of A-Z, a-z, 0-9, _ and -".into()),
    }
}

impl Options {
    /// The installation, and the program that runs on it.
    pub fn open(&self) -> Result<(DataDir, Run), Failure> {
        DataDir::open_running(&self.data_dir, "somebody can do it")
    }

    /// Whether the outcome is told as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Places an order, unless the same waits already, and waits for its outcome, as long as is wanted. `command` is the label
    /// in the bridge's log; a level belongs to an order to validate only.
    pub fn place(
        &self,
        dir: &DataDir,
        run: &Run,
        command: &str,
        (task, level): (Task, Option<u8>),
        [a, b]: [&str; 2],
    ) -> Result<Order, Failure> {
        let waiting = ask(async { api::Client::new(&run.url)?.orders().await })?.orders;
        let same = |o: &Order| (o.task, o.level, o.a.as_str(), o.b.as_str()) == (task, level, a, b);
        let order = match waiting.into_iter().find(same) {
            Some(order) => order,
            None => {
                let now = ask(async { api::Client::new(&run.url)?.time_token().await })?.time;
                let place = signed(dir, command, (task, level), [a, b], now + self.expires)?;
                ask(async { api::Client::new(&run.url)?.place_order(&place).await })?
            }
        };
        self.wait_for(run, order)
    }

    fn wait_for(&self, run: &Run, mut order: Order) -> Result<Order, Failure> {
        let asked = Instant::now();
        while order.state == State::Waiting && asked.elapsed() < Duration::from_secs(self.wait) {
            std::thread::sleep(LOOK);
            order = ask(async { api::Client::new(&run.url)?.order(&order.id).await })?;
        }
        Ok(order)
    }

    /// Tells what became of an order: `done` and `not` say it in words, `more` is added to the JSON object.
    pub fn tell(
        &self,
        order: &Order,
        done: &str,
        not: &str,
        more: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Outcome, Failure> {
        if self.json {
            let mut object = serde_json::to_value(order).map_err(|e| Failure::Failed(e.to_string()))?;
            if let Some(members) = object.as_object_mut() {
                members.extend(more);
            }
            print(&format!("{object}\n"))?;
        } else {
            print(&match order.state {
                State::Done => format!("{done}\n"),
                State::Failed => format!("{not}: {}\n", order.said),
                State::Expired => format!("the order {} expired; nobody did it\n", order.id),
                State::Waiting => {
                    format!("the order {} waits for the pack, at most {} s\n", order.id, self.expires)
                }
            })?;
        }
        Ok(match order.state {
            State::Done | State::Waiting => Outcome::Good,
            State::Failed | State::Expired => Outcome::Bad,
        })
    }
}

/// An order of the operator; `command` is the label in the bridge's log.
pub fn signed(
    dir: &DataDir,
    command: &str,
    (task, level): (Task, Option<u8>),
    [a, b]: [&str; 2],
    expires_at: u64,
) -> Result<Place, Failure> {
    let operator = super::demo::operator(dir)?;
    let mut rng = os_rng()?;
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let what = (task, level);
    let digest = order_digest(dir.chain_id(), &id, expires_at, what, &Cid::of(a), &Cid::of(b));
    Ok(Place {
        creator: format!("modbatt {command}"),
        id: Hex(id),
        task,
        level,
        a: a.into(),
        b: b.into(),
        expires_at,
        key: Hex(operator.public().0),
        signature: Fixed(operator.sign(&digest, &mut rng).0),
    })
}
