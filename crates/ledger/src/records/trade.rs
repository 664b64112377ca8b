//! Objects about energy between packs: transfers, offers, settlements, objections (L211).

use super::*;

/// Nobody, where a [`Transfer`] or a [`Settlement`] names who pays or is paid.
pub const NOBODY: PublicKey = PublicKey([0; 33]);
/// No offer, where a [`Transfer`] names one.
pub const NO_OFFER: TradeId = TradeId([0; 16]);
/// Transfers of a pack that its flow history keeps.
pub const FLOWS: u64 = 256;

codes! {
    /// How far a transfer has come.
    TransferState {
        /// The energy is locked.
        Open = 1 "open",
        /// Both packs signed what flowed.
        Done = 2 "done",
        /// Its time was over, and the energy is free again.
        Released = 3 "released",
    }
}

object! {
    /// Energy that one pack gives to another.
    Transfer {
        /// Who gives.
        giver: Cid = 1,
        /// Who takes.
        taker: Cid = 2,
        /// The binding whose keys sign the receipt.
        binding_id: BindingId = 3,
        /// Who pays: the owner of the taker, or who accepted the offer; [`NOBODY`] for a taker without owner.
        payer: PublicKey = 4,
        /// Who is paid: the owner of the giver, or who offered.
        payee: PublicKey = 5,
        /// Millionths per kWh; of a transfer without offer 0, and the chain's price counts.
        price: u64 = 6,
        /// The offer that it accepts; [`NO_OFFER`] for none.
        offer: TradeId = 7,
        /// Energy locked at the beginning, mWh.
        locked: u64 = 8,
        /// Energy that left the giver, mWh.
        given: u64 = 9,
        /// Energy that reached the taker, mWh.
        received: u64 = 10,
        /// Block time from which it can be released, Unix milliseconds.
        until_ms: u64 = 11,
        /// How far it has come.
        state: TransferState = 12,
        /// Block time of its end, Unix milliseconds; 0 before.
        ended_ms: u64 = 13,
        /// Transaction that began it.
        begun_by: Digest = 14,
        /// Transaction that ended it; zero before.
        ended_by: Digest = 15,
    }
}

object! {
    /// Energy, or room for it, that an owner offers.
    Offer {
        /// The owner's pack.
        cid: Cid = 1,
        /// Whether it takes energy in, and does not give it.
        capacity: bool = 2,
        /// Who offered.
        owner: PublicKey = 3,
        /// All that was offered, mWh.
        mwh: u64 = 4,
        /// Least that is accepted at once, mWh.
        least: u64 = 5,
        /// Millionths per kWh, paid by who accepts.
        price: u64 = 6,
        /// Block time from which it can be accepted, Unix milliseconds.
        from_ms: u64 = 7,
        /// Block time from which it cannot any more, Unix milliseconds.
        until_ms: u64 = 8,
        /// What is neither locked nor given yet, mWh.
        left: u64 = 9,
        /// Transaction that published it.
        published_by: Digest = 10,
        /// Transaction that withdrew it; zero before.
        withdrawn_by: Digest = 11,
    }
}

impl Offer {
    /// Whether it was not withdrawn and its author still owns the pack, whose owner is `owner` (L218).
    #[must_use]
    pub fn stands(&self, owner: Option<&PublicKey>) -> bool {
        self.withdrawn_by == [0; 32] && owner == Some(&self.owner)
    }
}

object! {
    /// What is owed for a cycle or a transfer.
    Settlement {
        /// Energy, mWh: what a cycle charged less what it discharged, without its sign, or what a transfer brought.
        mwh: u64 = 1,
        /// Millionths per kWh.
        price: u64 = 2,
        /// Millionths.
        amount: u64 = 3,
        /// Who owes it; [`NOBODY`] for a price of the chain without parties.
        payer: PublicKey = 4,
        /// To whom.
        payee: PublicKey = 5,
        /// Height of recording.
        height: u64 = 6,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 7,
        /// Transaction that recorded it.
        tx: Digest = 8,
    }
}

codes! {
    /// What became of an objection.
    ObjectionState {
        /// Nobody decided yet.
        Open = 1 "open",
        /// What it is about can be settled.
        Dismissed = 2 "dismissed",
        /// What it is about is never settled.
        Upheld = 3 "upheld",
    }
}

object! {
    /// That somebody does not agree to what is to be settled.
    Objection {
        /// Who.
        by: PublicKey = 1,
        /// Reason: 1 the energy was not delivered, 2 a measurement is wrong, 3 another price was agreed, 4 other.
        reason: u8 = 2,
        /// What became of it.
        state: ObjectionState = 3,
        /// Block time of recording, Unix milliseconds.
        time_ms: u64 = 4,
        /// Transaction that recorded it.
        tx: Digest = 5,
        /// Transaction that decided it; zero before.
        resolved_by: Digest = 6,
    }
}
