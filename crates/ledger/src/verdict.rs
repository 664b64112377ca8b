//! What a receipt proved, as facts and in words.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use lct::{
    Digest,
    binding::BindingRecord,
    consent::Consent,
    context::Statement,
    delegation::{Act, Delegation, DelegationId},
    energy::{CycleClose, EnergyEvent, EnergyKind, ModuleEnergy},
    id::{BindingId, Cid, PairingId},
    journal::Checkpoint,
    lifecycle::{State, Version},
    ownership::Transfer,
    pairing::Terms,
    record::{BatchStatement, RecordKind},
    registration::Registration,
    sign::PublicKey,
    trade::{self, TradeId, What},
    trust::MetricsReport,
    validation::{Event, EventKind},
};

use crate::{
    records::{AccountRole, LctStatus, NOBODY, Setting, Settlement, Tensor, registry},
    reject::Rejection,
    tx::{Change, Config, Governance, Kind, Registry, Subject, Target, registry::Anonymous},
};

/// Whether the signers of a consistent receipt are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// They are the validators of the trusted chain.
    Yes,
    /// No trust was given: the receipt is consistent, its signer unknown.
    SignerUnknown,
}

/// What the transaction of a receipt states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proved {
    /// A component was registered.
    Registration(Box<Registration>),
    /// A relationship LCT was created.
    Lct {
        /// First component.
        a: Cid,
        /// Second component.
        b: Cid,
        /// What it is for.
        context: String,
    },
    /// A binding was recorded.
    Binding(BindingRecord),
    /// A pairing was completed.
    Pairing {
        /// Its identity.
        pairing_id: PairingId,
        /// Side A.
        a: Cid,
        /// Side B.
        b: Cid,
        /// End of the lease, Unix milliseconds of block time.
        expires_ms: u64,
        /// The pairing that it renews.
        renews: Option<PairingId>,
    },
    /// The terms of a pairing were changed.
    Terms {
        /// Which.
        pairing_id: PairingId,
        /// As both sides and the authority signed them.
        terms: Terms,
    },
    /// Something was withdrawn.
    Revocation {
        /// What.
        target: Target,
        /// The side that signed for it; absent where the sender ordered it.
        by: Option<Cid>,
        /// `lct::revocation::Reason` code.
        reason: u8,
    },
    /// A component signed an event.
    Validation {
        /// The event.
        event: Box<Event>,
        /// Who saw it.
        witnesses: Vec<Cid>,
    },
    /// A binding took the place of another.
    Replacement {
        /// The new one.
        record: BindingRecord,
        /// The one that it replaces.
        old: BindingId,
    },
    /// A component changed hands.
    Ownership(Box<Transfer>),
    /// The owner of a component agreed to another binding of it.
    Consent {
        /// To what.
        consent: Box<Consent>,
        /// Who owned it.
        owner: PublicKey,
    },
    /// The sender let somebody act in its place.
    Delegation {
        /// Its name.
        id: DelegationId,
        /// As it was signed.
        delegation: Box<Delegation>,
    },
    /// A delegate did something.
    Act {
        /// As the delegate signed it.
        act: Act,
        /// What it did.
        kind: Kind,
        /// Why it took no effect, if so.
        refused: Option<Rejection>,
    },
    /// An owner ordered something about the energy of its pack.
    EnergyOrder(Box<trade::Order>),
    /// Both packs of a transfer signed what flowed.
    EnergyReceipt {
        /// What they signed.
        receipt: trade::Receipt,
        /// Who gave.
        giver: Cid,
        /// Who took.
        taker: Cid,
    },
    /// The time of a transfer was over, and its energy is free again.
    EnergyRelease {
        /// Which.
        transfer: TradeId,
        /// Who would have given.
        giver: Cid,
        /// Energy, mWh.
        mwh: u64,
    },
    /// Something was settled.
    Settlement {
        /// What.
        subject: Subject,
        /// What is owed.
        settlement: Box<Settlement>,
    },
    /// Somebody objected to a settlement to come.
    Objection {
        /// To which.
        subject: Subject,
        /// Reason code of `records::Objection`.
        reason: u8,
    },
    /// An objection was decided.
    Resolution {
        /// To the settlement of what.
        subject: Subject,
        /// Whether it stands.
        upheld: bool,
    },
    /// A telemetry batch was recorded.
    Batch(BatchStatement),
    /// A component was judged.
    Metrics {
        /// As the observer signed it.
        report: MetricsReport,
        /// What the ledger held of the subject after the block, with the last changes.
        tensor: Box<Tensor>,
    },
    /// An energy event was recorded.
    Energy(EnergyEvent),
    /// An energy cycle was closed.
    CycleClose(CycleClose),
    /// An audit log was anchored.
    Checkpoint(Checkpoint),
    /// A component went into another state.
    State {
        /// Which.
        cid: Cid,
        /// Where it was.
        from: State,
        /// Where it went.
        to: State,
        /// Who said so.
        by: registry::Party,
    },
    /// A component told its versions.
    Version(Box<Version>),
    /// Something was stated in the context of an LCT.
    Context(Box<Statement>),
    /// What the sender said in its own name; the ledger took it.
    Said(Box<Registry>),
    /// The chain was changed.
    Governance(Governance),
    /// A parameter of a pack was set or reported.
    Config {
        /// As it was sent.
        config: Config,
        /// What the ledger has of the parameter after the block.
        setting: Box<Setting>,
    },
}

/// The record that a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Who measured.
    pub cid: Cid,
    /// Number of the record.
    pub seq: u32,
    /// When it was measured, Unix milliseconds.
    pub time_ms: u64,
    /// What the values mean.
    pub kind: RecordKind,
    /// The values.
    pub values: Vec<i32>,
}

/// What a receipt proved. Its `Display` says it in words, one fact per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the signers are trusted.
    pub trusted: Trusted,
    /// The chain.
    pub chain_id: Digest,
    /// Height of the block.
    pub height: u64,
    /// Block time, Unix milliseconds.
    pub time_ms: u64,
    /// Identity of the block.
    pub block_id: Digest,
    /// Identity of the transaction.
    pub tx_id: Digest,
    /// Its index in the block.
    pub tx_index: u32,
    /// Its kind.
    pub kind: Kind,
    /// Account that sent it.
    pub sender: PublicKey,
    /// Role of that account; absent where it only carried what a component signed.
    pub sender_role: Option<AccountRole>,
    /// What it states.
    pub proved: Proved,
    /// The record, in a receipt for one.
    pub record: Option<RecordFacts>,
    /// Validators that signed the block; 0 where a checkpoint vouches for it, and its certificate was not judged.
    pub signatures: usize,
    /// Validators of the chain at that height, as far as they are known.
    pub validators: Option<usize>,
}

impl Verdict {
    /// The component that signed what is proven; of a binding or pairing side B, which is the lower device.
    #[must_use]
    pub fn component(&self) -> Option<Cid> {
        match &self.proved {
            Proved::Registration(r) => Some(Cid::of(&r.component_id)),
            Proved::Lct { .. } | Proved::Governance(_) => None,
            Proved::Config { config, .. } => Some(config.cid),
            Proved::Binding(r) => Some(r.entities[1].cid),
            Proved::Pairing { b, .. } => Some(*b),
            Proved::Terms { .. } | Proved::Delegation { .. } | Proved::Act { .. } => None,
            Proved::Revocation { by, .. } => *by,
            Proved::Validation { event, .. } => Some(event.cid),
            Proved::Replacement { record, .. } => Some(record.entities[1].cid),
            Proved::Ownership(t) => Some(t.cid),
            Proved::Consent { consent, .. } => Some(consent.cid),
            Proved::Batch(s) => Some(s.cid),
            Proved::Metrics { report, .. } => Some(report.observer),
            Proved::Energy(e) => Some(e.cid),
            Proved::CycleClose(c) => Some(c.cid),
            Proved::Checkpoint(p) => Some(p.cid),
            Proved::State { cid, .. } => Some(*cid),
            Proved::Version(v) => Some(v.cid),
            Proved::Context(_) | Proved::Said(_) => None,
            Proved::EnergyOrder(o) => Some(o.cid),
            Proved::EnergyReceipt { taker, .. } => Some(*taker),
            Proved::EnergyRelease { giver, .. } => Some(*giver),
            Proved::Settlement { subject, .. }
            | Proved::Objection { subject, .. }
            | Proved::Resolution { subject, .. } => match subject {
                Subject::Cycle { cid, .. } => Some(*cid),
                Subject::Transfer(_) => None,
            },
        }
    }
}

/// Lower-case hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Displays Unix milliseconds as `YYYY-MM-DD hh:mm:ss.mmm UTC` (proleptic Gregorian calendar).
pub struct Utc(
    /// Unix milliseconds.
    pub u64,
);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        // Days are counted in eras of 400 years beginning on 1 March of year 0.
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}.{:03} UTC", ms % 1000)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle { cid, cycle } => write!(f, "energy cycle {cycle} of component {cid}"),
            Self::Transfer(id) => write!(f, "energy transfer {id}"),
        }
    }
}

/// Who pays or is paid.
struct Party(PublicKey);

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == NOBODY { f.write_str("nobody named") } else { write!(f, "{}", self.0) }
    }
}

/// Millionths as a decimal number.
struct Millionths(u64);

impl fmt::Display for Millionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// mWh as Wh with three decimals, in integers.
struct Wh(u64);

impl fmt::Display for Wh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} Wh", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(r) => write!(
                f,
                "component {} (serial {}, cid {}) was registered with a manufacturer's attestation",
                r.component_id,
                r.serial,
                Cid::of(&r.component_id)
            ),
            Self::Lct { a, b, context } => {
                write!(f, "a relationship of components {a} and {b} was created for {context}")
            }
            Self::Binding(r) => write!(
                f,
                "components {} ({}) and {} ({}) were bound as {} with assurance {}",
                r.entities[0].cid,
                r.entities[0].role.name(),
                r.entities[1].cid,
                r.entities[1].role.name(),
                r.binding_id,
                r.assurance.name()
            ),
            Self::Pairing { pairing_id, a, b, expires_ms, renews } => {
                write!(f, "components {a} and {b} completed pairing {pairing_id}")?;
                if let Some(old) = renews {
                    write!(f, ", which renews {old}")?;
                }
                write!(f, ", valid until {}", Utc(*expires_ms))
            }
            Self::Delegation { id, delegation: d } => write!(
                f,
                "delegation {id} (number {}) lets the holder of {} act in the sender's place from {} to {} for {} pack(s)",
                d.number,
                d.delegate.sign_pub(),
                Utc(u64::from(d.not_before) * 1000),
                Utc(u64::from(d.not_after) * 1000),
                d.packs.len()
            ),
            Self::Act { act, kind, refused } => {
                let done = Utc(u64::from(act.time) * 1000);
                write!(
                    f,
                    "act {} under delegation {}, {} at {done}, ",
                    act.number,
                    act.delegation,
                    kind.name()
                )?;
                match refused {
                    None => f.write_str("took effect"),
                    Some(why) => write!(f, "took no effect: {why}"),
                }
            }
            Self::Terms { pairing_id, terms } => {
                write!(f, "both sides and the authority signed that pairing {pairing_id} is valid until ")?;
                write!(f, "{}, for ", Utc(u64::from(terms.expires) * 1000))?;
                match terms.max_uses {
                    0 => f.write_str("any number of sessions")?,
                    n => write!(f, "{n} session(s)")?,
                }
                write!(f, ", with operations {}", terms.operations)
            }
            Self::Revocation { target, by, reason } => {
                write!(f, "{} {} was revoked (reason {reason}) by ", target.name(), Hex(target.parts().1))?;
                match by {
                    Some(cid) => write!(f, "component {cid}"),
                    None => f.write_str("order of the sender"),
                }
            }
            Self::Validation { event: e, witnesses } => {
                write!(f, "component {} signed {} at level {}", e.cid, e.kind.name(), e.level() as u8)?;
                write!(f, " (boot {}, number {})", e.boot, e.seq)?;
                if let Ok(said) = ModuleEnergy::decode(&e.payload)
                    && e.kind == EventKind::Energy
                {
                    let way = if said.kind == EnergyKind::Charge { "in" } else { "out" };
                    let (start, end) = (Utc(said.start_ms), Utc(said.end_ms));
                    write!(f, ": {} {way}, {start} to {end}", Wh(said.mwh))?;
                    write!(f, ", of event {} of its pack's cycle {}", said.event, said.cycle)?;
                }
                if let Some(asked) = &e.escalation {
                    write!(f, ", asking for level {}: {}", asked.target as u8, asked.reason.name())?;
                }
                witnesses.iter().try_for_each(|witness| write!(f, ", seen by component {witness}"))
            }
            Self::Replacement { record: r, old } => {
                let [a, b] = &r.entities;
                write!(
                    f,
                    "components {} and {} were bound as {} in the place of {old}",
                    a.cid, b.cid, r.binding_id
                )
            }
            Self::Ownership(t) => {
                write!(f, "component {} went from {} to {} (hop {})", t.cid, t.from, t.to, t.hop)
            }
            Self::Consent { consent: c, owner } => {
                write!(
                    f,
                    "the owner {owner} of component {} agreed to a binding with {} ",
                    c.cid, c.partner
                )?;
                write!(f, "in the place of {} until {}", c.binding, Utc(c.until_ms))
            }
            Self::Config { config: c, setting: s } => {
                write!(f, "parameter {} of component {}: the sender said {}", c.parameter, c.cid, c.value)?;
                write!(f, "; after the block {} (version {}) is in force", s.value, s.version)?;
                match s.conflict {
                    true => write!(f, ", and the pack is at odds with it at {}", s.local),
                    false => Ok(()),
                }
            }
            Self::Governance(Governance { change, height }) => {
                write!(f, "it was decided that from height {height} on ")?;
                match change {
                    Change::Account { role, key } => write!(f, "{key} has an account as {}", role.name()),
                    Change::Roots { added, withdrawn, .. } => {
                        let named = |f: &mut fmt::Formatter<'_>, root: &Option<PublicKey>| match root {
                            Some(root) => write!(f, "{root}"),
                            None => f.write_str("none"),
                        };
                        f.write_str("the manufacturer's root ")?;
                        named(f, added)?;
                        f.write_str(" takes the place of ")?;
                        named(f, withdrawn)
                    }
                    Change::Params(_) => f.write_str("other parameters hold"),
                    Change::Validators(set) => write!(f, "{} validator(s) certify blocks", set.0.len()),
                    Change::Rules(version) => write!(f, "rules of version {version} hold"),
                }
            }
            Self::Batch(s) => write!(
                f,
                "component {} signed {} record(s) from number {}, measured {} to {}",
                s.cid,
                s.count,
                s.first_seq,
                Utc(s.first_ms),
                Utc(s.last_ms)
            ),
            Self::Metrics { report: r, tensor: t } => {
                let [efficiency, reliability, accuracy, responsiveness, safety] = r.metrics;
                write!(f, "component {} judged component {} in {}", r.observer, r.subject, r.context.name())?;
                write!(f, " from {} to {}: efficiency {efficiency}, ", Utc(r.start_ms), Utc(r.end_ms))?;
                write!(
                    f,
                    "reliability {reliability}, accuracy {accuracy}, responsiveness {responsiveness}, "
                )?;
                write!(f, "safety {safety} ppm; talent, training, temperament were then ")?;
                write!(f, "{}, {}, {} ppm", t.talent.get(), t.training.get(), t.temperament.get())
            }
            Self::Energy(e) => {
                let (cid, cycle, seq) = (e.cid, e.cycle, e.seq);
                match e.kind {
                    EnergyKind::Opening => {
                        write!(f, "component {cid} opened energy cycle {cycle} at {} ppm", e.soc_ppm)?
                    }
                    EnergyKind::Charge => write!(f, "component {cid} was charged with {}", Wh(e.mwh))?,
                    EnergyKind::Discharge => write!(f, "component {cid} delivered {}", Wh(e.mwh))?,
                }
                write!(f, " (cycle {cycle}, event {seq}), {} to {}", Utc(e.start_ms), Utc(e.end_ms))
            }
            Self::CycleClose(c) => write!(
                f,
                "component {} closed energy cycle {} after {} event(s): {} charged, {} delivered",
                c.cid,
                c.cycle,
                c.events,
                Wh(c.charged_mwh),
                Wh(c.discharged_mwh)
            ),
            Self::EnergyOrder(o) => {
                write!(f, "the owner of component {} signed order {} ({}): ", o.cid, o.id, o.what.name())?;
                match &o.what {
                    What::Transfer(g) => write!(f, "{} to component {}", Wh(g.mwh), g.to),
                    What::Balance(g) => {
                        write!(f, "as full as component {}, with at most {}", g.to, Wh(g.mwh))
                    }
                    What::OfferEnergy(t) | What::OfferCapacity(t) => write!(
                        f,
                        "{} at {} per kWh, {} to {}",
                        Wh(t.mwh),
                        Millionths(t.price),
                        Utc(t.from_ms),
                        Utc(t.until_ms)
                    ),
                    What::Accept(a) => {
                        write!(f, "{} to {} of offer {}", Wh(a.least), Wh(a.most), a.offer)
                    }
                    What::Withdraw => f.write_str("what is left is not offered any more"),
                }
            }
            Self::EnergyReceipt { receipt: r, giver, taker } => write!(
                f,
                "components {giver} and {taker} signed that in transfer {} {} left the first and {} reached the second, \
                 {} to {}",
                r.transfer,
                Wh(r.given),
                Wh(r.received),
                Utc(r.start_ms),
                Utc(r.end_ms)
            ),
            Self::EnergyRelease { transfer, giver, mwh } => {
                write!(
                    f,
                    "transfer {transfer} ended without delivery: {} of component {giver} is free again",
                    Wh(*mwh)
                )
            }
            Self::Settlement { subject, settlement: s } => write!(
                f,
                "{subject} was settled: {} at {} per kWh, so {} owes {} to {}",
                Wh(s.mwh),
                Millionths(s.price),
                Party(s.payer),
                Millionths(s.amount),
                Party(s.payee)
            ),
            Self::Objection { subject, reason } => {
                write!(f, "the sender objected to the settlement of {subject} (reason {reason})")
            }
            Self::Resolution { subject, upheld } => {
                let word = if *upheld { "upheld" } else { "dismissed" };
                write!(f, "the objection to the settlement of {subject} was {word}")
            }
            Self::Checkpoint(p) => {
                write!(f, "component {} signed that its audit log has {} entries", p.cid, p.number)?;
                write!(f, " and hashes to {}", Hex(&p.hash))
            }
            Self::State { cid, from, to, by } => {
                let (from, to) = (from.name(), to.name());
                write!(f, "component {cid} went from {from} to {to}, as its {} signed", by.name())
            }
            Self::Version(v) => {
                let (hardware, firmware) = (v.hardware, v.firmware);
                write!(
                    f,
                    "component {} told hardware version {hardware} and firmware version {firmware}",
                    v.cid
                )?;
                write!(f, ", image {}", Hex(&v.image))
            }
            Self::Context(s) => {
                let (name, number) = (s.content.name(), s.number);
                write!(f, "statement {number} about the {name} of LCT {} was signed", Hex(&s.lct))
            }
            Self::Said(body) => said(f, body),
        }
    }
}

/// What an account said in its own name.
fn said(f: &mut fmt::Formatter<'_>, body: &Registry) -> fmt::Result {
    match body {
        Registry::Grant { a, b, context, .. } => {
            write!(f, "component {a} lets itself be paired with {b} for {context}")
        }
        Registry::RevokeGrant { id, .. } => write!(f, "authorization {} was revoked", Hex(&id.0)),
        Registry::LctStatus { id, status, .. } => {
            let word = LctStatus::from_code(*status).map_or("unknown", LctStatus::name);
            write!(f, "LCT {} is {word}", Hex(id))
        }
        Registry::Anonymous(Anonymous::Register { component, .. }) => {
            write!(f, "a component was recorded under commitment {}", Hex(component))
        }
        Registry::Anonymous(Anonymous::Authorize { a, b, .. }) => {
            write!(f, "committed component {} lets itself be paired with {}", Hex(a), Hex(b))
        }
        Registry::Anonymous(Anonymous::Revoke { target, .. }) => {
            write!(f, "commitment {} was withdrawn", Hex(target))
        }
        Registry::Anonymous(Anonymous::Open { value, .. }) => {
            write!(f, "a commitment was opened to {value:?}")
        }
        Registry::Queue { initiator, target, .. } => {
            write!(f, "a request of component {initiator} about {target} was queued")
        }
        Registry::Process { cid } => write!(f, "what waits for component {cid} was tried"),
        Registry::Cancel { id, .. } => write!(f, "request {} was cancelled", Hex(&id.0)),
        Registry::Move { .. } | Registry::Version { .. } | Registry::Context { .. } => {
            f.write_str("a statement was recorded")
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(r) = &self.record {
            writeln!(f, "Proved: component {} measured record {} at {}", r.cid, r.seq, Utc(r.time_ms))?;
            writeln!(f, "Values: {:?}", r.values)?;
            writeln!(f, "Part of: {}", self.proved)?;
        } else {
            writeln!(f, "Proved: {}", self.proved)?;
        }
        writeln!(f, "Transaction: {} {} (index {})", self.kind.name(), Hex(&self.tx_id), self.tx_index)?;
        match self.sender_role {
            Some(role) => writeln!(f, "Sent by: {} account {}", role.name(), self.sender)?,
            None => writeln!(f, "Carried by: account {}", self.sender)?,
        }
        writeln!(f, "Block: height {}, {}, {}", self.height, Utc(self.time_ms), Hex(&self.block_id))?;
        writeln!(f, "Keys: not revoked at height {}, by proof against the state after it", self.height)?;
        match self.validators {
            Some(all) => writeln!(f, "Certified by: {} of {all} validator(s)", self.signatures)?,
            None if self.signatures == 0 => {
                f.write_str("Certified by: the checkpoint whose history holds the block\n")?
            }
            None => writeln!(f, "Certified by: {} key(s) that call themselves validators", self.signatures)?,
        }
        writeln!(f, "Chain: {}", Hex(&self.chain_id))?;
        match self.trusted {
            Trusted::Yes => f.write_str("Signer: trusted"),
            Trusted::SignerUnknown => {
                f.write_str("Signer: unknown (the receipt is consistent, no trust file was given)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn calendar_dates() {
        let rows = [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00.000 UTC"),
            (1_709_251_199_999, "2024-02-29 23:59:59.999 UTC"),
            (1_735_689_600_001, "2025-01-01 00:00:00.001 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
        ];
        for (ms, text) in rows {
            assert_eq!(Utc(ms).to_string(), text);
        }
        assert!(Utc(u64::MAX).to_string().ends_with("UTC"), "no overflow at the end of the range");
    }
}
