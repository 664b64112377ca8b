//! `GET /energy/{id}`: the energy account of a pack, its transfers and its offers. Energies in mWh, prices and amounts in
//! millionths (`spec/ledger.md`, L50 and L211 to L219).

use crate::encoding::Hex;
use ::lct::{id::Cid, sign::PublicKey, trade::TradeId};
use ledger::{
    energy::ratio,
    records::{NO_OFFER, NOBODY, Offer, Pool, Settlement, Transfer},
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
