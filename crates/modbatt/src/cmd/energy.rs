//! `modbatt energy`: the energy accounts of packs, and the arithmetic of such accounts.

mod bill;
mod trade;

use std::fmt::Write as _;
use std::path::PathBuf;

use api::energy::Kept;
use lct::id::Cid;
use ledger::energy::{self, Account, PPM, Refused, Transfer};
use node::Snapshot;
use serde_json::{Value, json};

use super::data_dir::DataDir;
use super::eval::{self, Op, Problem};
use super::ledger::{Ledger, failure, open};
use super::{Failure, Outcome, When, ask, print_answer};

/// Arguments of `modbatt energy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what the ledger holds of a pack's energy: balances, the last transfers, offers that stand
    Show(ShowArgs),
    /// Offer energy of a pack, or room in it, at a price
    Offer(trade::Offer),
    /// Accept an offer, or a part of it: the energy is locked until both packs sign what flowed
    Accept(trade::Accept),
    /// Withdraw an offer; transfers that were begun go on
    Withdraw(trade::Withdraw),
    /// Give energy of a pack to another one of which it is a partner
    Transfer(trade::Transfer),
    /// Have the ledger say what is owed for a closed cycle or an ended transfer
    Settle(trade::Settle),
    /// Object to what would be owed for a closed cycle or an ended transfer
    Object(bill::Object),
    /// As an authority, decide an objection
    Decide(bill::Decide),
    /// Show the energy cycles of a pack, with what is owed for each, or one of them event by event
    Cycles(bill::CyclesArgs),
    /// Show the offers of everybody, the cheapest first
    Market(bill::MarketArgs),
    /// Free the energy of a transfer whose time is over
    Release(trade::Release),
    /// Compute operations on energy accounts that a JSON file names
    #[command(after_help = EVAL_HELP)]
    Eval(eval::Args),
}

/// Arguments of `modbatt energy show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct ShowArgs {
    /// Component id of the pack, for example `pack-0001`
    #[arg(value_name = "ID")]
    id: String,
    /// The data directory of the installation; a program may be running on it
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    when: When,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The fields of every operation.
const EVAL_HELP: &str = "\
FILE is {\"ops\":[{\"id\":\"a\",\"op\":\"transfer\",\"sender\":100000,\"receiver\":50000,\"amount\":20000,\"fee\":0.05}]},
the answer {\"results\":[{\"id\":\"a\",\"sender\":79000,\"receiver\":70000,\"fee\":1000,\"credited\":20000,\"returned\":0}]}.

Energies are whole mWh; NAME_wh in place of NAME is a decimal number of Wh (at most 3 decimals).
Ratios are decimal numbers with at most 6 decimals. Divisions truncate. Fields in [] may be missing.

  op              fields                                        result
  transfer        sender receiver amount [fee] [cap]            sender receiver fee credited returned
  lock            available [locked] amount                     available locked
  commit          available locked [amount]                     available locked
  rollback        available locked [amount]                     available locked
  recharge        balance initial rate multiplier               balance added
  ratio           atp adp                                       ppm
  sliding_payment amount quality                                ppm payment

transfer: the fee is a share (ratio) of amount, comes on top of it, and is owed also for what finds no room under cap and
returns. commit and rollback without amount take all that is locked. recharge adds initial x rate, up to
initial x multiplier. sliding_payment: nothing up to quality 0.3, all from 0.7, linear between.
An operation that is refused has `error` (insufficient_balance, too_large) and `message`; the exit code is then 1.";

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Offer(args) => trade::offer(args),
        Command::Accept(args) => trade::accept(args),
        Command::Withdraw(args) => trade::withdraw(args),
        Command::Transfer(args) => trade::transfer(args),
        Command::Settle(args) => trade::settle(args),
        Command::Object(args) => bill::object(args),
        Command::Decide(args) => bill::decide(args),
        Command::Cycles(args) => bill::cycles(args),
        Command::Market(args) => bill::market(args),
        Command::Release(args) => trade::release(args),
        Command::Eval(args) => eval::run(args, evaluate),
    }
}

fn show(args: &ShowArgs) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let account = match open(&dir)? {
        Ledger::Here(ledger) => {
            let kept = recorded(&args.when.read(&ledger)?, &args.id).map_err(|e| failure(&e))?;
            kept.ok_or_else(|| {
                Failure::Failed(format!(
                    "{} has no energy account on this ledger; name a bound pack",
                    args.id
                ))
            })?
        }
        Ledger::At(client) => ask(args.when.client(client).energy(&args.id))?,
    };
    print_answer(&account, args.json, in_words)
}

fn recorded(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<api::energy::Account>, node::Error> {
    let cid = Cid::of(id);
    let Some((pool, component)) = snapshot.pool(&cid)?.zip(snapshot.component(&cid)?) else {
        return Ok(None);
    };
    let kept = Kept {
        pool,
        owner: snapshot.ownership(&cid)?.map(|o| o.owner),
        transfers: snapshot.transfers_of(&cid)?,
        offers: snapshot.offers_of(&cid, &node::Span::all())?,
        height: snapshot.tip().height,
        time_ms: snapshot.tip().time_ms,
    };
    Ok(Some(api::energy::Account::of(component.component_id, &cid, &kept)))
}

fn in_words(a: &api::energy::Account) -> String {
    let wh = |mwh: u64| format!("{}.{:03} Wh", mwh / 1000, mwh % 1000);
    let mut text = format!(
        "{}: {} charged, {} locked, {} room, of {} ({} ppm)\n",
        a.component_id,
        wh(a.atp_mwh),
        wh(a.locked_mwh),
        wh(a.adp_mwh),
        wh(a.minted_mwh),
        a.ratio_ppm
    );
    for t in &a.transfers {
        let (way, peer) = if t.giver == a.cid { ("to", t.taker) } else { ("from", t.giver) };
        let _ = writeln!(
            text,
            "  transfer {} {way} {peer}: {}, {} locked, {} given, {} received",
            t.transfer,
            t.state,
            wh(t.locked_mwh),
            wh(t.given_mwh),
            wh(t.received_mwh)
        );
    }
    for o in &a.offers {
        let price = o.price_micro_per_kwh;
        let _ = writeln!(
            text,
            "  offer {} of {}: {} left, at least {} at once, {}.{:06} per kWh",
            o.offer,
            o.what,
            wh(o.left_mwh),
            wh(o.least_mwh),
            price / 1_000_000,
            price % 1_000_000
        );
    }
    text
}

fn evaluate(op: &Op<'_>) -> Result<Value, Problem> {
    let refused = |r: Refused| Problem::Refused(r.name(), r.to_string());
    let account = |a: Account| json!({ "available": a.available, "locked": a.locked });
    match op.name() {
        "transfer" => {
            let transfer = Transfer {
                sender: op.energy("sender")?,
                receiver: op.energy("receiver")?,
                amount: op.energy("amount")?,
                fee_ppm: op.ratio_if_given("fee")?.unwrap_or(0),
                cap: op.energy_if_given("cap")?,
            };
            let t = transfer.run().map_err(refused)?;
            Ok(json!({
                "sender": t.sender, "receiver": t.receiver, "fee": t.fee, "credited": t.credited,
                "returned": t.returned,
            }))
        }
        "lock" => {
            let locked = op.energy_if_given("locked")?.unwrap_or(0);
            let before = Account { available: op.energy("available")?, locked };
            before.lock(op.energy("amount")?).map(account).map_err(refused)
        }
        name @ ("commit" | "rollback") => {
            let before = Account { available: op.energy("available")?, locked: op.energy("locked")? };
            let amount = op.energy_if_given("amount")?.unwrap_or(before.locked);
            let after = if name == "commit" { before.commit(amount) } else { before.roll_back(amount) };
            after.map(account).map_err(refused)
        }
        "recharge" => {
            let before = op.energy("balance")?;
            let (rate, multiplier) = (op.ratio("rate")?, op.ratio("multiplier")?);
            let after = energy::recharge(before, op.energy("initial")?, rate, multiplier).map_err(refused)?;
            Ok(json!({ "balance": after, "added": after - before }))
        }
        "ratio" => Ok(json!({ "ppm": energy::ratio(op.energy("atp")?, op.energy("adp")?) })),
        "sliding_payment" => {
            let quality = op.ratio("quality")?;
            if quality > PPM {
                return Err(Problem::Input("the field \"quality\" must be at most 1".into()));
            }
            let ppm = energy::payment_share(quality);
            Ok(json!({ "ppm": ppm, "payment": energy::share(op.energy("amount")?, ppm) }))
        }
        other => Err(Problem::Input(format!(
            "there is no operation {other:?}; there are transfer, lock, commit, rollback, recharge, ratio and \
             sliding_payment"
        ))),
    }
}
