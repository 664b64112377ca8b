//! `modbatt energy`: the arithmetic of energy accounts.

use ledger::energy::{self, Account, PPM, Refused, Transfer};
use serde_json::{Value, json};

use super::eval::{self, Op, Problem};
use super::{Failure, Outcome};

/// Arguments of `modbatt energy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Compute operations on energy accounts that a JSON file names
    #[command(after_help = EVAL_HELP)]
    Eval(eval::Args),
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
    let Command::Eval(args) = &args.command;
    eval::run(args, evaluate)
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
