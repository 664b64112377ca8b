//! Orders of owners about the energy of their packs, and what ends them: offers, transfers, settlements (`spec/ledger.md`, L211 to
//! L219). An order is signed here with the owner's key; the transaction that carries it is sent by an account.

use std::path::PathBuf;

use api::encoding::Hex;
use lct::id::{Cid, PairingId};
use lct::sign::SigningKey;
use lct::trade::{Acceptance, Give, Order, TRADE_MAX, Terms, TradeId, What};
use ledger::tx::{Body, Subject};
use rand_core::Rng;

use super::super::order::component;
use super::super::send::{At, There, key_file};
use super::super::{Failure, Outcome, ask, os_rng};

/// Whose order it is.
#[derive(clap::Args)]
pub struct Owned {
    /// Private key of the owner of the pack, 32 bytes
    #[arg(long, value_name = "FILE")]
    owner_key: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt energy offer`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Offer {
    /// Component id of the pack
    #[arg(value_parser = component)]
    pack: String,
    /// Offer room to take energy in, instead of energy
    #[arg(long)]
    capacity: bool,
    /// All that is offered, mWh
    #[arg(long)]
    mwh: u64,
    /// Least that is accepted at once, mWh [default: all of it]
    #[arg(long, value_name = "MWH")]
    least: Option<u64>,
    /// What the one who accepts pays, millionths of the currency per kWh
    #[arg(long, value_name = "MICRO")]
    price: u64,
    /// How long the offer stands, seconds of the ledger's time
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 86_400)]
    seconds: u64,
    #[command(flatten)]
    owned: Owned,
}

/// Arguments of `modbatt energy accept`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Accept {
    /// Component id of the pack that accepts
    #[arg(value_parser = component)]
    pack: String,
    /// Component id of the pack that offers
    #[arg(value_parser = component)]
    from: String,
    /// The offer, as `modbatt energy show` names it
    offer: Hex<16>,
    /// Most that is wanted, mWh
    #[arg(long, value_name = "MWH")]
    most: u64,
    /// Least that is worth it, mWh
    #[arg(long, value_name = "MWH", default_value_t = 0)]
    least: u64,
    /// How long the packs may take, seconds of the ledger's time
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3_600)]
    seconds: u64,
    #[command(flatten)]
    owned: Owned,
}

/// Arguments of `modbatt energy withdraw`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Withdraw {
    /// Component id of the pack that offers
    #[arg(value_parser = component)]
    pack: String,
    /// The offer, as `modbatt energy show` names it
    offer: Hex<16>,
    #[command(flatten)]
    owned: Owned,
}

/// Arguments of `modbatt energy transfer`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Transfer {
    /// Component id of the pack that gives
    #[arg(value_parser = component)]
    from: String,
    /// Component id of the pack that takes
    #[arg(value_parser = component)]
    to: String,
    /// How much, mWh; with --balance the most
    #[arg(long)]
    mwh: u64,
    /// Only as much as makes both packs equally full
    #[arg(long)]
    balance: bool,
    /// How long the packs may take, seconds of the ledger's time
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3_600)]
    seconds: u64,
    #[command(flatten)]
    owned: Owned,
}

/// A transfer, or a cycle.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Settled {
    /// A transfer, as `modbatt energy show` names it
    #[arg(long, value_name = "ID")]
    transfer: Option<Hex<16>>,
    /// A closed cycle of the pack
    #[arg(long, value_name = "NUMBER", requires = "pack", value_parser = clap::value_parser!(u32).range(1..))]
    cycle: Option<u32>,
}

/// What is settled, or is to be.
#[derive(clap::Args)]
pub struct Bill {
    #[command(flatten)]
    what: Settled,
    /// Component id of the pack, with --cycle
    #[arg(long, value_parser = component)]
    pack: Option<String>,
}

impl Bill {
    /// As the ledger names it.
    pub fn subject(&self) -> Result<Subject, Failure> {
        match (&self.what, &self.pack) {
            (Settled { transfer: Some(id), .. }, _) => Ok(Subject::Transfer(TradeId(id.0))),
            (Settled { cycle: Some(cycle), .. }, Some(pack)) => {
                Ok(Subject::Cycle { cid: Cid::of(pack), cycle: *cycle })
            }
            _ => Err(Failure::Input("name a transfer, or a pack and a cycle".into())),
        }
    }
}

/// Arguments of `modbatt energy settle`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Settle {
    #[command(flatten)]
    what: Bill,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt energy release`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Release {
    /// The transfer, as `modbatt energy show` names it
    transfer: Hex<16>,
    #[command(flatten)]
    at: At,
}

impl There {
    /// Block time, Unix ms, in `seconds`.
    fn in_seconds(&self, pack: &str, seconds: u64) -> Result<[u64; 2], Failure> {
        let now_ms = ask(self.client.trust(pack))?.time * 1_000;
        Ok([now_ms, now_ms.saturating_add(seconds.saturating_mul(1_000))])
    }

    /// The pairing in force of two packs.
    fn pairing(&self, one: &str, other: &str) -> Result<PairingId, Failure> {
        let links = ask(self.client.relations(one))?.links;
        let pairing = links.iter().find(|link| link.relation == "paired" && link.peer_id == other);
        pairing.map(|link| PairingId(link.id.0)).ok_or_else(|| {
            Failure::Failed(format!(
                "{one} and {other} are not paired; energy flows between paired packs only"
            ))
        })
    }

    /// Signs an order with the owner's key and sends it; the answer is the id of what it is about.
    fn order(&self, pack: &str, id: [u8; 16], what: What, owner: &SigningKey) -> Result<[u8; 32], Failure> {
        let order = Order { chain_id: *self.dir.chain_id(), id: TradeId(id), cid: Cid::of(pack), what };
        let unsignable = |e: lct::Error| Failure::Failed(format!("the order cannot be signed: {e}"));
        let mut bytes = [0; TRADE_MAX];
        let n = order.encode(&mut bytes).map_err(unsignable)?;
        let signature = owner.sign(&order.digest().map_err(unsignable)?, &mut os_rng()?);
        self.sender.send(Body::EnergyOrder { statement: bytes[..n].to_vec(), signature })
    }
}

fn fresh_id() -> Result<[u8; 16], Failure> {
    let mut id = [0; 16];
    os_rng()?.fill_bytes(&mut id);
    Ok(id)
}

/// Runs `modbatt energy offer`.
pub fn offer(args: &Offer) -> Result<Outcome, Failure> {
    let owner = key_file(&args.owned.owner_key)?;
    let there = args.owned.at.open()?;
    let [from_ms, until_ms] = there.in_seconds(&args.pack, args.seconds)?;
    let (mwh, least) = (args.mwh, args.least.unwrap_or(args.mwh));
    let terms = Terms { mwh, least, price: args.price, from_ms, until_ms };
    let (what, word) = match args.capacity {
        true => (What::OfferCapacity(terms), "room for"),
        false => (What::OfferEnergy(terms), "energy:"),
    };
    let id = fresh_id()?;
    let tx = there.order(&args.pack, id, what, &owner)?;
    let words = format!("{} offers {word} {mwh} mWh, offer {}", args.pack, hex::encode(id));
    args.owned.at.tell(&tx, Some(&id), &words)
}

/// Runs `modbatt energy accept`.
pub fn accept(args: &Accept) -> Result<Outcome, Failure> {
    let owner = key_file(&args.owned.owner_key)?;
    let there = args.owned.at.open()?;
    let pairing = there.pairing(&args.pack, &args.from)?;
    let [_, until_ms] = there.in_seconds(&args.pack, args.seconds)?;
    let (most, least) = (args.most, args.least);
    let acceptance = Acceptance { offer: TradeId(args.offer.0), pairing, most, least, until_ms };
    let id = fresh_id()?;
    let tx = there.order(&args.pack, id, What::Accept(acceptance), &owner)?;
    let words = format!("{} accepts offer {}, transfer {}", args.pack, args.offer, hex::encode(id));
    args.owned.at.tell(&tx, Some(&id), &words)
}

/// Runs `modbatt energy withdraw`.
pub fn withdraw(args: &Withdraw) -> Result<Outcome, Failure> {
    let owner = key_file(&args.owned.owner_key)?;
    let there = args.owned.at.open()?;
    let tx = there.order(&args.pack, args.offer.0, What::Withdraw, &owner)?;
    args.owned.at.tell(&tx, Some(&args.offer.0), &format!("offer {} is withdrawn", args.offer))
}

/// Runs `modbatt energy transfer`.
pub fn transfer(args: &Transfer) -> Result<Outcome, Failure> {
    let owner = key_file(&args.owned.owner_key)?;
    let there = args.owned.at.open()?;
    let pairing = there.pairing(&args.from, &args.to)?;
    let [_, until_ms] = there.in_seconds(&args.from, args.seconds)?;
    let give = Give { to: Cid::of(&args.to), pairing, mwh: args.mwh, until_ms };
    let what = if args.balance { What::Balance(give) } else { What::Transfer(give) };
    let id = fresh_id()?;
    let tx = there.order(&args.from, id, what, &owner)?;
    let words = format!("energy of {} is locked for {}, transfer {}", args.from, args.to, hex::encode(id));
    args.owned.at.tell(&tx, Some(&id), &words)
}

/// Runs `modbatt energy settle`.
pub fn settle(args: &Settle) -> Result<Outcome, Failure> {
    let subject = args.what.subject()?;
    let there = args.at.open()?;
    let tx = there.sender.send(Body::Settle { subject, price: None })?;
    args.at.tell(&tx, None, "it is settled; the ledger says who owes what")
}

/// Runs `modbatt energy release`.
pub fn release(args: &Release) -> Result<Outcome, Failure> {
    let there = args.at.open()?;
    let tx = there.sender.send(Body::EnergyRelease { transfer: TradeId(args.transfer.0) })?;
    args.at.tell(&tx, Some(&args.transfer.0), "what was locked is free again")
}
