//! Relationship LCTs: the key halves that go with one (A30, A31).

use api::{
    binding::Sides,
    encoding::{Blob, Hex},
    lct::{HALF_LEN, SealedHalf, half_info},
    problem::code,
};
use lct::{
    id::Cid,
    secret::Secret,
    spk::{HPKE_OVERHEAD, Spk},
};
use ledger::{
    records::pair_lct_id,
    tx::{MAX_CONTEXT, TxId},
};
use rand_core::Rng;

use super::{Core, component};
use crate::{
    entropy,
    refusal::{Refusal, Reply},
};

/// A relationship LCT under way.
#[derive(Clone, Copy)]
pub(crate) struct LctWaits {
    pub lct_id: Hex<32>,
    pub tx: TxId,
    cids: [Cid; 2],
}

/// The four halves of a relationship, each sealed to its owner.
pub(crate) struct Halves {
    pub lct: Sides<SealedHalf>,
    pub device: Sides<SealedHalf>,
}

impl Core {
    /// Submits the creation of an LCT between two components that are bound to each other.
    pub fn create_lct(&mut self, a: &str, b: &str, context: &str) -> Reply<LctWaits> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let (cid_a, _) = component(&snapshot, "component_a", a)?;
        let (cid_b, _) = component(&snapshot, "component_b", b)?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
        if !(1..=MAX_CONTEXT).contains(&context.len()) || !context.bytes().all(plain) {
            return Err(Refusal::new(
                400,
                code::LCT_CONTEXT,
                "a context has 1 to 64 characters of A-Z, a-z, 0-9, _ . and -",
            ));
        }
        self.relation(&snapshot, &cid_a, &cid_b)?;
        let lct_id = pair_lct_id(&chain.chain_id(), &cid_a, &cid_b, context);
        if snapshot.lct(&lct_id)?.is_some() {
            return Err(Refusal::new(
                409,
                code::LCT_EXISTS,
                "the two components have this relationship; its key halves were handed out when it was created",
            )
            .detail(Hex(lct_id).to_string()));
        }
        let tx = self.submit(api::sign::lct_create(cid_a, cid_b, context))?;
        Ok(LctWaits { lct_id: Hex(lct_id), tx, cids: [cid_a, cid_b] })
    }

    /// Draws the halves of a created LCT and seals each to its owner. They are kept nowhere.
    pub fn seal_halves(&self, lct: LctWaits) -> Reply<Halves> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let [a, b] = lct.cids;
        let (_, _, bond) = self.relation(&snapshot, &a, &b)?;
        let spk_of = |cid: Cid| {
            let keys = bond.introduced.iter().flat_map(|i| bond.sides.iter().zip(&i.keys));
            keys.filter(|(side, _)| side.cid == cid).map(|(_, (spk, _))| *spk).next()
        };
        let (Some(spk_a), Some(spk_b)) = (spk_of(a), spk_of(b)) else {
            return Err(Refusal::internal(&"a relationship without its keys"));
        };
        let sides = || -> Reply<Sides<SealedHalf>> {
            Ok(Sides { a: sealed_half(&lct.lct_id, &a, &spk_a)?, b: sealed_half(&lct.lct_id, &b, &spk_b)? })
        };
        Ok(Halves { lct: sides()?, device: sides()? })
    }
}

/// Draws one half, seals it, and forgets it.
fn sealed_half(lct_id: &Hex<32>, cid: &Cid, spk: &Spk) -> Reply<SealedHalf> {
    let sealed = entropy::with(|rng| {
        let half = Secret::<HALF_LEN>::random(rng);
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let mut out = vec![0; 16 + HPKE_OVERHEAD + HALF_LEN];
        out[..16].copy_from_slice(&nonce);
        spk.seal(&half_info(lct_id, cid, &nonce), half.expose(), &mut out[16..], rng).map(|_| out)
    })?;
    Ok(SealedHalf { to: Hex(spk.id().0), sealed: Blob(sealed.map_err(|e| Refusal::internal(&e))?) })
}
