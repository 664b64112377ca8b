//! `modbatt succession`: another key follows that of the authority (`spec/channel.md`, H166). Guide: `docs/keys.md`.

mod take;

use std::path::{Path, PathBuf};

use lct::spk::Spk;
use lct::succession::Succession;
use ledger::verdict::Utc;
use pack::pdu::{self, delegation as op};
use serde_json::json;

use super::data_dir::replace_private;
use super::delegate::Give;
use super::factory::files::read_bounded;
use super::{Failure, Outcome, print};
use crate::custody::Unlock;
use crate::custody::authority::Keys;

/// Arguments of `modbatt succession`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Sign, with the old key and the new one, that the new one follows; needs no network
    Sign(Sign),
    /// Check a succession of the old key, and say what devices are to be told
    Show(Show),
    /// Have the installation go on under the new key; it is stopped for that: end `demo` or `serve` before, and start it afterwards
    Take(take::Take),
}

#[derive(clap::Args)]
struct Sign {
    /// Key file of the authority that goes
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Key file of the authority that comes, as `modbatt delegate key` makes one
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Where to write the succession, a file that is not there yet: whoever has it can take the authority away from the old key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
    /// When, in Unix seconds, where this computer's clock is wrong
    #[arg(long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Show {
    /// The succession
    file: PathBuf,
    /// Public key of the authority that goes, 136 hexadecimal digits
    #[arg(long, value_name = "KEY", value_parser = super::delegate::spk)]
    from: Spk,
    #[command(flatten)]
    give: Give,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Sign(sign) => self::sign(sign),
        Command::Show(show) => {
            let bytes = read_bounded(&show.file, "succession")?;
            tell(&bytes, &show.from, &show.file, Some(&show.give), show.json)
        }
        Command::Take(take) => take::run(take),
    }
}

fn sign(args: &Sign) -> Result<Outcome, Failure> {
    let [old, new] = [&args.from, &args.to].map(|file| Keys::at(file)?.open(&args.unlock));
    let (old, new) = (old?, new?);
    // It may be a key, and then nobody has it any more.
    if args.out.symlink_metadata().is_ok() {
        let out = args.out.display();
        return Err(Failure::Input(format!("--out {out} is there already; name a file that is not")));
    }
    if old.public() == new.public() {
        return Err(Failure::Input("both files hold the same key; nobody follows itself".into()));
    }
    let time = match args.time {
        Some(time) => time,
        None => u32::try_from(super::demo::unix_ms()? / 1_000).map_err(|_| {
            Failure::Failed("the system clock stands after 2105; set it, or give --time".into())
        })?,
    };
    let bytes = old.succession(&new, time).map_err(|e| Failure::Failed(e.to_string()))?;
    replace_private(&args.out, &bytes)?;
    let (from, to) = (old.public().id(), new.public().id());
    // What it says to devices is told by `show` only: whoever reads it on a screen has it.
    print(&match args.json {
        true => format!(
            "{}\n",
            json!({ "from": from.to_string(), "from_key": hex::encode(old.public().0), "to": to.to_string(), "time": time })
        ),
        false => format!(
            "{to} follows {from}, signed {}, in {}\nKeep with it the public key of {from}, which `take` wants once its file is gone:\n{}\n",
            Utc(u64::from(time) * 1_000),
            args.out.display(),
            hex::encode(old.public().0)
        ),
    })?;
    Ok(Outcome::Good)
}

fn tell(bytes: &[u8], old: &Spk, file: &Path, give: Option<&Give>, json: bool) -> Result<Outcome, Failure> {
    let succession = Succession::open(bytes, old)
        .map_err(|e| Failure::Failed(format!("{} is not a succession of that key: {e}", file.display())))?;
    let message = [&[pdu::DELEGATION, op::SUCCEED], bytes].concat();
    let given = give.map_or(Ok(Vec::new()), |give| give.give(&[message.as_slice()]))?;
    let message = hex::encode(message);
    let (from, to) = (old.id(), succession.new.id());
    print(&match json {
        true => format!(
            "{}\n",
            json!({ "from": from.to_string(), "to": to.to_string(), "time": succession.time, "message": message,
                "given": Give::object(&given) })
        ),
        false => format!(
            "{to} follows {from}, signed {}. Give every device this message (1C of the security PDUs):\n{message}\n{}",
            Utc(u64::from(succession.time) * 1_000),
            Give::words(&given)
        ),
    })?;
    Ok(Give::verdict(&given))
}
