//! What was decided about the chain itself, and from when it holds (`spec/ledger.md`, L163).

use super::*;
use crate::tx::{Change, Governance};

/// The last decided change of one kind, before and after its height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending(pub Governance);

impl Canonical for Pending {
    fn write(&self, w: &mut Writer) {
        let Governance { change, height } = &self.0;
        w.object(4, VERSION).uint(1).uint(change.kind() as u64).uint(2);
        change.write(w);
        w.uint(3).uint(*height);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(4, VERSION)?;
        r.key(1)?;
        let kind = r.int()?;
        r.key(2)?;
        let change = Change::read(kind, r)?;
        r.key(3)?;
        Ok(Self(Governance { change, height: r.uint()? }))
    }
}

object! {
    /// Which rules a block is executed by.
    RulesVersion {
        /// 1 for those of this document.
        version: u32 = 1,
    }
}
