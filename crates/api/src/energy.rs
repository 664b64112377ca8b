//! `GET /energy/{id}`: the energy account of a pack, its transfers and its offers. Energies in mWh, prices and amounts in
//! millionths (`spec/ledger.md`, L50 and L211 to L219).

use crate::encoding::Hex;
use ::lct::{id::Cid, sign::PublicKey, trade::TradeId};
use ledger::{
    energy::ratio,
    records::{Cycle, EnergyRecord, NO_OFFER, NOBODY, Objection, Offer, Pool, Settlement, Transfer},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most transfers in an answer.
pub const TRANSFERS_MAX: usize = ledger::records::FLOWS as usize;

/// Answer of `GET /energy/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = EnergyAccount)]
pub struct Account {
    /// The pack's component id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its owner's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Hex<33>>,
    /// Attested capacity.
    pub minted_mwh: u64,
    /// Charged and free.
    pub atp_mwh: u64,
    /// Room.
    pub adp_mwh: u64,
    /// Charged and promised to other packs.
    pub locked_mwh: u64,
    /// `(atp + locked) / minted`, ppm.
    pub ratio_ppm: u32,
    /// The last transfers in which it has a part, at most [`TRANSFERS_MAX`], newest first.
    pub transfers: Vec<Flow>,
    /// Offers that stand, by id.
    pub offers: Vec<Offered>,
}

/// What a ledger holds of a pack's energy at a block time.
pub struct Kept {
    /// The account.
    pub pool: Pool,
    /// The pack's owner.
    pub owner: Option<PublicKey>,
    /// Its transfers, newest first, with their settlements.
    pub transfers: Vec<(TradeId, Transfer, Option<Settlement>)>,
    /// Every offer about it.
    pub offers: Vec<(TradeId, Offer)>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
}

impl Account {
    /// Shows what a ledger holds of a pack.
    #[must_use]
    pub fn of(component_id: String, cid: &Cid, kept: &Kept) -> Self {
        let Kept { pool, owner, transfers, offers, height, time_ms } = kept;
        let stand = |o: &Offer| o.stands(owner.as_ref()) && *time_ms < o.until_ms;
        Account {
            component_id,
            cid: Hex(cid.0),
            height: *height,
            owner: owner.map(|key| Hex(key.0)),
            minted_mwh: pool.minted,
            atp_mwh: pool.atp,
            adp_mwh: pool.adp,
            locked_mwh: pool.locked,
            ratio_ppm: ratio(pool.atp.saturating_add(pool.locked), pool.adp),
            transfers: transfers.iter().map(|(id, t, s)| Flow::of(id, t, s.as_ref())).collect(),
            offers: offers.iter().filter(|(_, o)| stand(o)).map(|(id, o)| Offered::of(id, o)).collect(),
        }
    }
}

/// A transfer of energy between two packs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Its id.
    pub transfer: Hex<16>,
    /// Cid of who gives.
    pub giver: Hex<16>,
    /// Cid of who takes.
    pub taker: Hex<16>,
    /// `open`, `done` or `released`.
    pub state: String,
    /// Energy that was locked.
    pub locked_mwh: u64,
    /// Energy that left the giver.
    pub given_mwh: u64,
    /// Energy that reached the taker.
    pub received_mwh: u64,
    /// Block time from which it can be released, Unix milliseconds.
    pub until_ms: u64,
    /// The offer that it accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Hex<16>>,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Hex<33>>,
    /// Who is paid.
    pub payee: Hex<33>,
    /// What is owed, once it is settled, millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_amount: Option<u64>,
    /// The transaction that began it.
    pub begun_by: Hex<32>,
}

impl Flow {
    /// A recorded transfer, and its settlement if there is one.
    #[must_use]
    pub fn of(id: &TradeId, t: &Transfer, settlement: Option<&Settlement>) -> Self {
        Flow {
            transfer: Hex(id.0),
            giver: Hex(t.giver.0),
            taker: Hex(t.taker.0),
            state: t.state.name().into(),
            locked_mwh: t.locked,
            given_mwh: t.given,
            received_mwh: t.received,
            until_ms: t.until_ms,
            offer: (t.offer != NO_OFFER).then_some(Hex(t.offer.0)),
            payer: (t.payer != NOBODY).then_some(Hex(t.payer.0)),
            payee: Hex(t.payee.0),
            settled_amount: settlement.map(|s| s.amount),
            begun_by: Hex(t.begun_by),
        }
    }
}

/// An offer of a pack's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offered {
    /// Its id.
    pub offer: Hex<16>,
    /// `energy` or `capacity`.
    pub what: String,
    /// What is left of it.
    pub left_mwh: u64,
    /// Least that is accepted at once.
    pub least_mwh: u64,
    /// Per kWh, millionths, paid by who accepts.
    pub price_micro_per_kwh: u64,
    /// Block time from which it can be accepted, Unix milliseconds.
    pub from_ms: u64,
    /// Block time from which it cannot any more, Unix milliseconds.
    pub until_ms: u64,
}

impl Offered {
    /// A recorded offer.
    #[must_use]
    pub fn of(id: &TradeId, offer: &Offer) -> Self {
        Offered {
            offer: Hex(id.0),
            what: if offer.capacity { "capacity" } else { "energy" }.into(),
            left_mwh: offer.left,
            least_mwh: offer.least,
            price_micro_per_kwh: offer.price,
            from_ms: offer.from_ms,
            until_ms: offer.until_ms,
        }
    }
}

/// What is owed for a cycle or a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// Energy.
    pub mwh: u64,
    /// Per kWh, millionths.
    pub price_micro_per_kwh: u64,
    /// What is owed, millionths.
    pub amount: u64,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Hex<33>>,
    /// Who is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Hex<33>>,
    /// Block time, Unix seconds.
    pub settled_at: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

/// Somebody's word against a settlement to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Objected {
    /// Who objected.
    pub by: Hex<33>,
    /// One of [`OBJECTIONS`].
    pub reason: String,
    /// `open`, `dismissed` or `upheld`.
    pub state: String,
    /// Block time, Unix seconds.
    pub objected_at: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

/// Why somebody objects, in the order of the codes from 1.
pub const OBJECTIONS: [&str; 4] = ["not_delivered", "wrong_measurement", "another_price", "other"];

/// What became of what is owed for a cycle or transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owed {
    /// The settlement, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Settled>,
    /// The objection, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objection: Option<Objected>,
}

impl Owed {
    /// What a ledger has of it.
    #[must_use]
    pub fn of((settlement, objection): &(Option<Settlement>, Option<Objection>)) -> Self {
        let named = |key: PublicKey| (key != NOBODY).then_some(Hex(key.0));
        let settlement = settlement.as_ref().map(|s| Settled {
            mwh: s.mwh,
            price_micro_per_kwh: s.price,
            amount: s.amount,
            payer: named(s.payer),
            payee: named(s.payee),
            settled_at: s.time_ms / 1000,
            txhash: Hex(s.tx),
        });
        let reason = |code: u8| OBJECTIONS.get(usize::from(code).wrapping_sub(1)).copied();
        let objection = objection.as_ref().map(|o| Objected {
            by: Hex(o.by.0),
            reason: reason(o.reason).unwrap_or("unknown").into(),
            state: o.state.name().into(),
            objected_at: o.time_ms / 1000,
            txhash: Hex(o.tx),
        });
        Owed { settlement, objection }
    }
}

/// Most cycles, events or offers in an answer.
pub const ROWS_MAX: usize = 256;

/// An energy cycle of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CycleView {
    /// Its number.
    pub cycle: u32,
    /// Events of all kinds.
    pub events: u32,
    /// Sum of its charge.
    pub charged_mwh: u64,
    /// Sum of its discharge.
    pub discharged_mwh: u64,
    /// Start of the first event, Unix milliseconds of the device.
    pub start_ms: u64,
    /// End of the last event, Unix milliseconds of the device.
    pub end_ms: u64,
    /// Block time of its close, Unix seconds; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<u64>,
    /// Whose it is (`spec/ledger.md`, L224).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Hex<33>>,
    /// What is owed for it.
    #[serde(flatten)]
    pub owed: Owed,
}

impl CycleView {
    /// A recorded cycle.
    #[must_use]
    pub fn of(number: u32, c: &Cycle, owed: &(Option<Settlement>, Option<Objection>)) -> Self {
        CycleView {
            cycle: number,
            events: c.events,
            charged_mwh: c.charged,
            discharged_mwh: c.discharged,
            start_ms: c.start_ms,
            end_ms: c.end_ms,
            closed_at: (c.closed_ms > 0).then_some(c.closed_ms / 1000),
            owner: c.owner.filter(|owner| *owner != NOBODY).map(|owner| Hex(owner.0)),
            owed: Owed::of(owed),
        }
    }
}

/// Answer of `GET /energy/{id}/cycles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cycles {
    /// The pack's component id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Oldest first.
    pub cycles: Vec<CycleView>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An energy event of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number within the cycle.
    pub seq: u32,
    /// `charge`, `discharge` or `opening`.
    pub kind: String,
    /// Energy.
    pub mwh: u64,
    /// Unix milliseconds of the device.
    pub start_ms: u64,
    /// Unix milliseconds of the device.
    pub end_ms: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

impl EventView {
    /// A recorded event.
    #[must_use]
    pub fn of(seq: u32, e: &EnergyRecord) -> Self {
        let kind = match e.kind {
            1 => "charge",
            2 => "discharge",
            _ => "opening",
        };
        let (mwh, start_ms, end_ms) = (e.mwh, e.start_ms, e.end_ms);
        EventView { seq, kind: kind.into(), mwh, start_ms, end_ms, txhash: Hex(e.tx) }
    }
}

/// Answer of `GET /energy/{id}/cycles/{number}`: a cycle, event by event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cycled {
    /// The pack's component id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// The cycle.
    #[serde(flatten)]
    pub sums: CycleView,
    /// At most [`ROWS_MAX`] of its events after the one that was asked for, by number.
    pub flow: Vec<EventView>,
    /// Number of the last event told, where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// Answer of `GET /energy/transfers/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transferred {
    /// Height of the block after which it is so.
    pub height: u64,
    /// The transfer.
    #[serde(flatten)]
    pub flow: Flow,
    /// What is owed for it.
    #[serde(flatten)]
    pub owed: Owed,
}

/// An offer on the market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Priced {
    /// Component id of the pack.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// The offer.
    #[serde(flatten)]
    pub offer: Offered,
}

/// Answer of `GET /offers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Market {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its time, Unix seconds.
    pub time: u64,
    /// The cheapest first, then by id.
    pub offers: Vec<Priced>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
