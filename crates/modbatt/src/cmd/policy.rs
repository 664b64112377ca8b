//! `modbatt policy`: which policy each binding is under, and an operator's order for another one (`spec/api.md`, A47 to
//! A50; `spec/channel.md`, H110 to H113).

mod table;

use std::fs;
use std::path::PathBuf;

use api::encoding::{Blob, Fixed, Hex};
use api::policy::{Periods, Policy, Propose, Standing, order_digest};
use lct::id::BindingId;
use lct::policy::{FACTORY_VERSION, Rotation, Rows};
use pack::policies::factory_rows;
use serde_json::json;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, print, reason};

const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 86_400;

/// Arguments of `modbatt policy`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show which policy each binding is under, and the periods of the last one
    Show(Show),
    /// Order another policy: both sides of each binding sign it, and are paired anew under it
    Propose(Order),
}

#[derive(clap::Args)]
struct Show {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print the class table of the last policy, in the form that `propose --table` reads
    #[arg(long, conflicts_with = "json")]
    table: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Order {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    changes: Changes,
    /// Number of the policy, above that of every one before [default: the next one]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Only for this binding, in hexadecimal as `policy show --json` tells it; may be repeated [default: all]
    #[arg(long, value_name = "ID")]
    binding: Vec<Hex<16>>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is to be different; everything else stays as in the last policy.
#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Hours after which the keys of a channel are renewed, 1 to 168
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=168))]
    rotation_hours: Option<u32>,
    /// Days after which two devices are to be paired anew, 1 to 90
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=90))]
    agreement_days: Option<u32>,
    /// Renewals of the keys after which two devices are to be paired anew, 1 to 4096
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    agreement_epochs: Option<u16>,
    /// Days for which a pairing certificate is given at most, 1 to 366
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=366))]
    certificate_days: Option<u32>,
    /// Days after which a pack draws a new group key, 1 to 30
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=30))]
    group_days: Option<u32>,
    /// The whole class table, in the form that `policy show --table` prints
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

impl Changes {
    fn apply(&self, terms: &mut Terms) -> Result<(), Failure> {
        let set = |to: &mut u32, given: Option<u32>, unit: u32| {
            if let Some(n) = given {
                *to = n * unit;
            }
        };
        let r = &mut terms.rotation;
        set(&mut r.epoch_s, self.rotation_hours, HOUR_S);
        set(&mut r.agreement_s, self.agreement_days, DAY_S);
        set(&mut r.certificate_s, self.certificate_days, DAY_S);
        set(&mut r.group_s, self.group_days, DAY_S);
        r.agreement_epochs = self.agreement_epochs.unwrap_or(r.agreement_epochs);
        if r.agreement_s < r.epoch_s {
            return Err(Failure::Input(format!(
                "keys are renewed every {}, which is longer than the {} after which devices are paired anew: shorten \
                 --rotation-hours or lengthen --agreement-days",
                in_words(r.epoch_s),
                in_words(r.agreement_s)
            )));
        }
        if let Some(path) = &self.table {
            let fail = |what: &str| Failure::Input(format!("{}: {what}", path.display()));
            let text = fs::read_to_string(path).map_err(|e| fail(&reason(&e)))?;
            terms.rows = table::read(&text).map_err(|e| fail(&e))?;
        }
        Ok(())
    }
}

/// What a policy says.
struct Terms {
    version: u32,
    rotation: Rotation,
    rows: Rows,
}

impl Terms {
    /// Those of the policy that was ordered last for one of the bindings.
    async fn last(client: &api::Client, standings: &[Standing]) -> Result<Terms, api::ClientError> {
        let last = standings.iter().max_by_key(|standing| standing.ordered);
        let signed = match last.filter(|standing| standing.ordered > FACTORY_VERSION) {
            Some(standing) => read(&client.policy(&standing.binding_id).await?),
            None => None,
        };
        let factory =
            || Terms { version: FACTORY_VERSION, rotation: Rotation::FACTORY, rows: factory_rows() };
        Ok(signed.unwrap_or_else(factory))
    }
}

/// What was ordered last for a binding.
fn read(policy: &Policy) -> Option<Terms> {
    let signed = [(policy.proposal.as_ref(), 64), (policy.update.as_ref(), 3 * 64)];
    let (Blob(bytes), signatures) = signed.into_iter().find_map(|(bytes, n)| Some((bytes?, n)))?;
    let body = bytes.get(..bytes.len().checked_sub(signatures)?)?;
    let policy = lct::policy::Policy::decode(body).ok()?;
    Some(Terms { version: policy.version, rotation: policy.rotation, rows: policy.rows })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(show) => show.run(),
        Command::Propose(order) => order.run(),
    }
}

fn open(path: &std::path::Path) -> Result<(DataDir, Run), Failure> {
    DataDir::open_running(path, "its authority can be asked")
}

impl Show {
    fn run(&self) -> Result<Outcome, Failure> {
        let (_, run) = open(&self.data_dir)?;
        let (standings, terms) = ask(async {
            let client = api::Client::new(&run.url)?;
            let standings = client.policies(None).await?.policies;
            let terms = Terms::last(&client, &standings).await?;
            Ok((standings, terms))
        })?;
        print(&if self.table {
            table::write(&terms.rows)
        } else if self.json {
            let periods = Periods::from(terms.rotation);
            let table: Vec<String> = table::write(&terms.rows).lines().skip(1).map(str::to_owned).collect();
            let line = json!({
                "policies": standings, "version": terms.version, "periods": periods, "table": table,
            });
            format!("{line}\n")
        } else {
            standings.iter().map(told).chain([periods(&terms)]).collect()
        })?;
        Ok(Outcome::Good)
    }
}

fn told(standing: &Standing) -> String {
    let Standing { a, b, in_force, agreed, ordered, due, .. } = standing;
    let mut line = format!("{a} and {b}: version {in_force} in force");
    if agreed > in_force {
        line += &format!("; both signed version {agreed}, a new pairing brings it into force");
    }
    if ordered > agreed {
        line += &format!("; version {ordered} was ordered and waits for their signatures");
    }
    if *due {
        line += "; the two are to be paired anew, because their keys or the lease come to their end";
    }
    line + "\n"
}

fn periods(terms: &Terms) -> String {
    let r = &terms.rotation;
    format!(
        "version {}: keys are renewed every {} or {} messages, devices are paired anew every {} or {} epochs, \
         certificates last at most {}, group keys {}\n",
        terms.version,
        in_words(r.epoch_s),
        r.epoch_messages,
        in_words(r.agreement_s),
        r.agreement_epochs,
        in_words(r.certificate_s),
        in_words(r.group_s)
    )
}

/// A period in the largest unit that divides it.
fn in_words(seconds: u32) -> String {
    let units = [(DAY_S, "day"), (HOUR_S, "hour"), (60, "minute"), (1, "second")];
    let (unit, name) =
        units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    let n = seconds / unit;
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

impl Order {
    fn run(&self) -> Result<Outcome, Failure> {
        let (dir, run) = open(&self.data_dir)?;
        let operator = super::demo::operator(&dir)?;
        let (mut standings, mut terms) = ask(async {
            let client = api::Client::new(&run.url)?;
            let standings = client.policies(None).await?.policies;
            let terms = Terms::last(&client, &standings).await?;
            Ok((standings, terms))
        })?;
        if !self.binding.is_empty() {
            if let Some(unknown) =
                self.binding.iter().find(|id| standings.iter().all(|s| s.binding_id != **id))
            {
                return Err(Failure::Input(format!(
                    "{unknown} is no binding in force; `modbatt policy show --json` names them"
                )));
            }
            standings.retain(|standing| self.binding.contains(&standing.binding_id));
        }
        if standings.is_empty() {
            return Err(Failure::Failed("nothing is bound yet: commission the installation first".into()));
        }
        self.changes.apply(&mut terms)?;
        terms.version = self.version.unwrap_or(terms.version.saturating_add(1));
        let ids: Vec<BindingId> = standings.iter().map(|s| BindingId(s.binding_id.0)).collect();
        let rows: Vec<u8> = terms.rows.iter().flatten().copied().collect();
        let order = order_digest(dir.chain_id(), terms.version, &terms.rotation, &rows, &ids);
        let request = Propose {
            creator: "modbatt policy".into(),
            version: terms.version,
            periods: terms.rotation.into(),
            table: Blob(rows),
            bindings: standings.iter().map(|s| s.binding_id).collect(),
            key: Hex(operator.public().0),
            signature: Fixed(operator.sign(&order, &mut os_rng()?).0),
        };
        let ordered = ask(async { api::Client::new(&run.url)?.propose_policy(&request).await })?.policies;
        print(&if self.json {
            format!("{}\n", json!({ "version": terms.version, "policies": ordered }))
        } else {
            let bindings =
                if ordered.len() == 1 { "one binding".into() } else { format!("{} bindings", ordered.len()) };
            format!(
                "version {} is ordered for {bindings}; it is in force once both sides have signed it and were paired \
                 anew: `modbatt policy show` tells\n",
                terms.version
            )
        })?;
        Ok(Outcome::Good)
    }
}
