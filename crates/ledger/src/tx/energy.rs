//! What is settled, and at which price (L216).

use super::*;

/// What can be settled: a cycle of a pack, or a transfer. Written as 16 bytes and a cycle, which is 0 for a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A cycle, from 1.
    Cycle {
        /// The pack.
        cid: Cid,
        /// Its number.
        cycle: u32,
    },
    /// A transfer between two packs.
    Transfer(TradeId),
}

impl Subject {
    /// Identity and cycle.
    #[must_use]
    pub fn parts(&self) -> ([u8; 16], u32) {
        match self {
            Self::Cycle { cid, cycle } => (cid.0, *cycle),
            Self::Transfer(id) => (id.0, 0),
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let (id, cycle) = self.parts();
        w.uint(2).bytes(&id).uint(3).uint(cycle.into());
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let id = fixed(r, 2)?;
        Ok(match int(r, 3)? {
            0 => Self::Transfer(TradeId(id)),
            cycle => Self::Cycle { cid: Cid(id), cycle },
        })
    }
}

/// A price that the owner of a pack and another one signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `lct::trade::Quote` bytes.
    pub quote: Vec<u8>,
    /// By the owner, by the other.
    pub signatures: [Signature; 2],
}

impl Agreed {
    pub(super) fn write(agreed: Option<&Self>, w: &mut Writer) {
        w.uint(4);
        match agreed {
            None => w.array(0),
            Some(Self { quote, signatures: [owner, other] }) => {
                w.array(3).bytes(quote).bytes(&owner.0).bytes(&other.0)
            }
        };
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Option<Self>, FormatError> {
        r.key(4)?;
        match r.array(3)? {
            0 => Ok(None),
            3 => {
                let quote = r.bytes(MAX_STATEMENT)?.into();
                let signatures = [Signature(r.fixed()?), Signature(r.fixed()?)];
                Ok(Some(Self { quote, signatures }))
            }
            _ => Err(FormatError::Unexpected),
        }
    }
}
