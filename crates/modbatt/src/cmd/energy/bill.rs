//! What is owed for energy: cycles and the market to look at, objections to a settlement (`spec/ledger.md`, L216 to L219, L224).

use std::fmt::Write as _;

use api::encoding::Hex;
use api::energy::{CycleView, Cycled, Cycles, Market, OBJECTIONS, Owed};
use ledger::tx::Body;

use super::super::order::component;
use super::super::send::{At, There};
use super::super::{Asked, Failure, Outcome, ask};
use super::trade::Bill;

/// Arguments of `modbatt energy object`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Object {
    #[command(flatten)]
    what: Bill,
    /// `not_delivered`, `wrong_measurement`, `another_price` or `other`
    #[arg(long, value_parser = reason)]
    reason: u8,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt energy decide`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Decide {
    #[command(flatten)]
    what: Bill,
    /// `uphold`: it is never settled, or `dismiss`: it may be
    #[arg(long = "as", value_name = "HOW", value_parser = upheld, action = clap::ArgAction::Set)]
    upheld: bool,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt energy cycles`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct CyclesArgs {
    /// Component id of the pack
    #[arg(value_parser = component)]
    pack: String,
    /// One of them, event by event
    #[arg(long, value_name = "NUMBER")]
    cycle: Option<u32>,
    /// Of its events those after this one
    #[arg(long, value_name = "SEQ", requires = "cycle")]
    after: Option<u32>,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `modbatt energy market`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct MarketArgs {
    /// `energy` or `capacity` alone
    #[arg(long, value_parser = ["energy", "capacity"])]
    what: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

fn reason(text: &str) -> Result<u8, String> {
    let found = (1..).zip(OBJECTIONS).find(|(_, name)| *name == text);
    found.map(|(code, _)| code).ok_or_else(|| format!("it is one of {}", OBJECTIONS.join(", ")))
}

fn upheld(text: &str) -> Result<bool, String> {
    match text {
        "uphold" => Ok(true),
        "dismiss" => Ok(false),
        _ => Err("it is `uphold` or `dismiss`".into()),
    }
}

/// Runs `modbatt energy object`.
pub fn object(args: &Object) -> Result<Outcome, Failure> {
    let There { sender, .. } = args.at.open()?;
    let subject = args.what.subject()?;
    let tx = sender.send(Body::Object { subject, reason: args.reason })?;
    args.at.tell(&tx, None, &format!("the objection to {subject} waits for an authority"))
}

/// Runs `modbatt energy decide`.
pub fn decide(args: &Decide) -> Result<Outcome, Failure> {
    let There { sender, .. } = args.at.open()?;
    let subject = args.what.subject()?;
    let tx = sender.send(Body::Resolve { subject, upheld: args.upheld })?;
    let how = if args.upheld { "upheld: it is never settled" } else { "dismissed: it may be settled" };
    args.at.tell(&tx, None, &format!("the objection to {subject} is {how}"))
}

/// Runs `modbatt energy cycles`.
pub fn cycles(args: &CyclesArgs) -> Result<Outcome, Failure> {
    let client = args.asked.client()?;
    match args.cycle {
        None => args.asked.tell(&ask(client.cycles(&args.pack))?, all_in_words),
        Some(number) => args.asked.tell(&ask(client.cycle(&args.pack, number, args.after))?, one_in_words),
    }
}

fn all_in_words(c: &Cycles) -> String {
    let mut text = format!("{} had {} energy cycles\n", c.component_id, c.cycles.len());
    for cycle in &c.cycles {
        sums(&mut text, cycle);
    }
    text
}

fn one_in_words(c: &Cycled) -> String {
    let mut text = format!("{}\n", c.component_id);
    sums(&mut text, &c.sums);
    for e in &c.flow {
        let _ = writeln!(text, "    {}: {} {} mWh, transaction {}", e.seq, e.kind, e.mwh, e.txhash);
    }
    if let Some(next) = c.next {
        let _ = writeln!(text, "    and more: --after {next}");
    }
    text
}

fn sums(text: &mut String, c: &CycleView) {
    let owner = c.owner.map_or_else(|| "nobody".into(), |key| key.to_string());
    let state = if c.closed_at.is_some() { format!("closed, of {owner}") } else { "open".into() };
    let (charged, discharged) = (c.charged_mwh, c.discharged_mwh);
    let _ =
        writeln!(text, "  cycle {}: {charged} mWh charged, {discharged} mWh discharged, {state}", c.cycle);
    let Owed { settlement, objection } = &c.owed;
    if let Some(s) = settlement {
        let _ = writeln!(text, "    owed: {} millionths for {} mWh", s.amount, s.mwh);
    }
    if let Some(o) = objection {
        let _ = writeln!(text, "    objection: {} ({})", o.reason, o.state);
    }
}

/// Runs `modbatt energy market`.
pub fn market(args: &MarketArgs) -> Result<Outcome, Failure> {
    let market = ask(args.asked.client()?.offers(args.what.as_deref()))?;
    args.asked.tell(&market, |m: &Market| {
        let mut text = format!("{} offers stand\n", m.offers.len());
        for p in &m.offers {
            let (id, offer): (&Hex<16>, _) = (&p.offer.offer, &p.offer);
            let _ = writeln!(
                text,
                "  {} of {}: offer {id}, {} mWh left, {} millionths per kWh",
                offer.what, p.component_id, offer.left_mwh, offer.price_micro_per_kwh
            );
        }
        text
    })
}
