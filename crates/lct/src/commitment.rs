//! Keyed commitments (`spec/ledger.md`, L138): a ledger records what an owner registers, allows and withdraws without
//! learning what it is, and the owner opens single values later.
//!
//! ```text
//! opening    = HMAC-SHA256(owner's secret, "modbatt1 opening"    || u8 field || value)
//! commitment = HMAC-SHA256(opening,        "modbatt1 commitment" || u8 field || value)
//! ```
//!
//! Of one owner equal values have equal commitments, so that a pattern can be withdrawn; of two owners they have nothing in
//! common. Without the secret a commitment tells nothing, whatever short list of values it may be of. An opening lets
//! anyone check one value, and tells nothing about any other.

use crate::{Digest, schedule::mac, secret::Secret};

/// What a committed value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// A component id.
    Component = 1,
    /// A manufacturer's id.
    Manufacturer = 2,
    /// A component's type.
    Category = 3,
    /// The rule of an authorisation (L136).
    Rule = 4,
}

impl Field {
    /// The field with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Field::Component, Field::Manufacturer, Field::Category, Field::Rule]
            .into_iter()
            .find(|field| *field as u8 == code)
    }
}

/// What opens the commitment to one value; to be shown to whoever is to check it.
pub fn opening(owner: &Secret<32>, field: Field, value: &[u8]) -> Digest {
    mac(owner.expose(), &[b"modbatt1 opening", &[field as u8], value])
}

/// The commitment that `opening` opens to `value`.
pub fn commitment(opening: &Digest, field: Field, value: &[u8]) -> Digest {
    mac(opening, &[b"modbatt1 commitment", &[field as u8], value])
}

/// The owner's commitment to `value`.
pub fn commit(owner: &Secret<32>, field: Field, value: &[u8]) -> Digest {
    commitment(&opening(owner, field, value), field, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two of owner, field and value may be exchanged for others without another commitment.
    #[test]
    fn a_commitment_is_of_one_owner_one_field_and_one_value() {
        let (mine, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let committed = commit(&mine, Field::Component, b"module-1");
        assert_eq!(committed, commit(&mine, Field::Component, b"module-1"));
        assert_ne!(committed, commit(&other, Field::Component, b"module-1"));
        assert_ne!(committed, commit(&mine, Field::Category, b"module-1"));
        assert_ne!(committed, commit(&mine, Field::Component, b"module-2"));
        let shown = opening(&mine, Field::Component, b"module-1");
        assert_eq!(commitment(&shown, Field::Component, b"module-1"), committed);
        assert_ne!(
            commitment(&shown, Field::Component, b"module-2"),
            commit(&mine, Field::Component, b"module-2")
        );
    }
}
