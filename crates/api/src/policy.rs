//! `GET /policies`, `GET /policies/{binding id}`, `POST /policies`, `POST /policies/{binding id}/signatures` (A47 to A50).

use crate::{
    binding::Sides,
    encoding::{Blob, Fixed, Hex, Label},
};
use ::lct::{Digest, hash::sha256, id::BindingId, policy::Rotation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most bindings that one order names: those of an app with a pack of 31 modules, and some more.
pub const BINDINGS_MAX: usize = 64;

/// Rotation periods (`spec/channel.md`, H110).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Periods {
    /// Longest life of an epoch of a channel, seconds of power.
    pub epoch_s: u32,
    /// Messages of one key after which its epoch is renewed.
    pub epoch_messages: u32,
    /// Longest time between two key agreements, seconds of power.
    pub agreement_s: u32,
    /// Epochs after which a key agreement is due.
    #[schema(maximum = 65535)]
    pub agreement_epochs: u16,
    /// Longest lease of a pairing certificate, seconds.
    pub certificate_s: u32,
    /// Longest life of the group key of a pack, seconds of power.
    pub group_s: u32,
    /// `rotation_days` of the policy hash.
    #[schema(maximum = 65535)]
    pub link_days: u16,
}

impl From<Rotation> for Periods {
    fn from(r: Rotation) -> Self {
        Periods {
            epoch_s: r.epoch_s,
            epoch_messages: r.epoch_messages,
            agreement_s: r.agreement_s,
            agreement_epochs: r.agreement_epochs,
            certificate_s: r.certificate_s,
            group_s: r.group_s,
            link_days: r.link_days,
        }
    }
}

impl From<Periods> for Rotation {
    fn from(p: Periods) -> Self {
        Rotation {
            epoch_s: p.epoch_s,
            epoch_messages: p.epoch_messages,
            agreement_s: p.agreement_s,
            agreement_epochs: p.agreement_epochs,
            certificate_s: p.certificate_s,
            group_s: p.group_s,
            link_days: p.link_days,
        }
    }
}

/// What an operator signs to order policy `version` for `bindings` on the chain `chain_id`: `H("modbatt1 policy order" ||
/// chain_id 32 || version u32 || periods 24 || n u16 || rows 8 n || m u16 || binding ids 16 m)`. A version is ordered once
/// for a binding and never goes back, so the same order again changes nothing and needs no number.
pub fn order_digest(
    chain_id: &Digest,
    version: u32,
    periods: &Rotation,
    table: &[u8],
    bindings: &[BindingId],
) -> Digest {
    let count = |n: usize| (n as u16).to_be_bytes();
    let ids: Vec<u8> = bindings.iter().flat_map(|id| id.0).collect();
    sha256(&[
        b"modbatt1 policy order",
        chain_id,
        &version.to_be_bytes(),
        &periods.to_bytes(),
        &count(table.len() / ::lct::policy::ROW_LEN),
        table,
        &count(bindings.len()),
        &ids,
    ])
}

/// Body of `POST /policies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Above that of every policy ordered before for these bindings.
    pub version: u32,
    /// How long keys live.
    pub periods: Periods,
    /// The whole class table: 1 to 48 rows of 8 bytes (`spec/can.md`, C94), ascending.
    pub table: Blob,
    /// For which bindings, 1 to [`BINDINGS_MAX`].
    pub bindings: Vec<Hex<16>>,
    /// Key of an active operator account.
    pub key: Hex<33>,
    /// Its signature over [`order_digest`].
    pub signature: Fixed<64>,
}

/// Where the policy of a binding and its pairing stand. All three versions are equal when nothing is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The binding.
    pub binding_id: Hex<16>,
    /// Id of side A.
    pub a: String,
    /// Id of side B.
    pub b: String,
    /// Version of the last completed pairing; 1 is the factory's.
    pub in_force: u32,
    /// Version that authority, A and B signed last: that of the next pairing.
    pub agreed: u32,
    /// Version that an operator ordered last.
    pub ordered: u32,
    /// The last pairing is older than the policy in force lets it be, or less than a quarter of its lease is left: the two
    /// are to be paired anew.
    pub due: bool,
}

impl Standing {
    /// True when signatures or a pairing are missing until the policy that was ordered is in force.
    pub fn is_open(&self) -> bool {
        self.in_force < self.ordered
    }
}

/// Answer of `GET /policies` and of `POST /policies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standings {
    /// One for each binding in force, by id.
    pub policies: Vec<Standing>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `GET /policies/{binding id}` and of `POST /policies/{binding id}/signatures`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// What both entities are asked to sign: `body | signature of the authority` (`spec/channel.md`, H112).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Blob>,
    /// What all three signed last; absent for the policy of the factory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Blob>,
}

/// Body of `POST /policies/{binding id}/signatures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// Version of the proposal.
    pub version: u32,
    /// Signatures of the relationship keys over it.
    pub signatures: Sides<Fixed<64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order for one policy or binding must not serve for another, or on another chain.
    #[test]
    fn an_order_names_all_that_it_is_about() {
        let one = [BindingId([2; 16])];
        let (rows, more) = ([7; 16], [7; 24]);
        let base = order_digest(&[1; 32], 2, &Rotation::FACTORY, &rows, &one);
        let longer = Rotation { group_s: 60, ..Rotation::FACTORY };
        for other in [
            order_digest(&[9; 32], 2, &Rotation::FACTORY, &rows, &one),
            order_digest(&[1; 32], 3, &Rotation::FACTORY, &rows, &one),
            order_digest(&[1; 32], 2, &longer, &rows, &one),
            order_digest(&[1; 32], 2, &Rotation::FACTORY, &more, &one),
            order_digest(&[1; 32], 2, &Rotation::FACTORY, &rows, &[BindingId([3; 16])]),
            order_digest(&[1; 32], 2, &Rotation::FACTORY, &rows, &[one[0], one[0]]),
        ] {
            assert_ne!(other, base);
        }
    }

    #[test]
    fn periods_are_those_of_the_statement() {
        let odd = Rotation {
            epoch_s: 1,
            epoch_messages: 2,
            agreement_s: 3,
            agreement_epochs: 4,
            certificate_s: 5,
            group_s: 6,
            link_days: 7,
        };
        assert_eq!(Rotation::from(Periods::from(odd)), odd);
    }
}
