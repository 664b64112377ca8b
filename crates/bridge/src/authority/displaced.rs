//! In whose place a binding comes: what of the ledger gives way to it, who has a say in that (A93), under whose order (A80,
//! A95, A97), and on whose word (A81).
//!
//! Which binding gives way the ledger says, never a device or its host: they may have lost it, or leave it out. And it is
//! asked before a device learns of its new partner as well as at the completion: a device gives its old binding up when
//! the handshake ends, and nobody brings that back.

use api::binding::{Replacement, Replaces};
use api::problem::code;
use lct::{
    binding::{Assurance, BindingRecord},
    hash::sha256,
    id::{BindingId, Cid, Role},
    rebind::{Rebind, TOKEN_LEN},
    sign::PublicKey,
    validation::Event,
};
use ledger::records::{Binding, Status};
use node::Snapshot;

use super::{
    Core, active_binding,
    binding::not_found,
    ceremonies::{Bond, Side},
    component_id,
};
use crate::refusal::{Refusal, Reply};

/// What has to happen to the bindings that give way.
pub(super) enum Before {
    /// There is none, or none that stands in the way.
    Nothing,
    /// The device with this key says that the new one takes its place.
    Replaced { word: Replacement, device: PublicKey },
    /// It is withdrawn first.
    Cleared(BindingId),
}

/// Bindings in force that one ceremony's completion ends.
pub(super) type Displaced = Vec<(BindingId, Binding)>;

/// Cid and role of A and B.
pub(super) type Parties = [(Cid, Role); 2];

/// Whether a binding that gives way is one with somebody else.
fn with_another([a, b]: &[Side; 2], old: &Binding) -> bool {
    (old.a, old.b) != (a.cid, b.cid)
}

/// Whether it is one of the sides of the binding.
fn is_of(old: &Binding, cid: &Cid) -> bool {
    [old.a, old.b].contains(cid)
}

fn may_not(why: String) -> Refusal {
    Refusal::new(409, code::BINDING_REPLACE, "the entity has a binding that this one may not replace")
        .detail(why)
}

impl Bond {
    pub(super) fn parties(&self) -> Parties {
        self.sides.each_ref().map(|side| (side.cid, side.role))
    }
}

impl Core {
    /// What gives way to a binding of these two: the one that they have, unless it is in clear and gives way by itself (L36).
    /// And, for a pack has one app and a module one pack: of an app and a pack those of the pack with another app, and of a
    /// pack and a module those of the module with another pack. An app may have several packs: of those the one gives way
    /// in whose place an order that was in force at `ordered_s` puts this pack.
    pub(super) fn displaced(
        &self,
        snapshot: &Snapshot<'_>,
        [(a, role_a), (b, role_b)]: Parties,
        ordered_s: u32,
    ) -> Reply<Displaced> {
        let between = active_binding(snapshot, &a, &b)?;
        let mut found: Vec<_> =
            between.into_iter().filter(|(_, x)| x.assurance != Assurance::Plain as u8).collect();
        let upper = match [role_a, role_b] {
            [Role::App, Role::Pack] => Role::App,
            [Role::Pack, Role::Module] => Role::Pack,
            _ => return Ok(found),
        };
        let is_upper =
            |cid: &Cid| Ok::<_, Refusal>(snapshot.component(cid)?.is_some_and(|c| c.role == upper));
        for (id, old) in snapshot.bindings_of(&b)? {
            if old.status == Status::Active && old.b == b && old.a != a && is_upper(&old.a)? {
                found.push((id, old));
            }
        }
        if role_b == Role::Pack {
            for (id, old) in snapshot.bindings_of(&a)? {
                if old.status == Status::Active
                    && old.a == a
                    && old.b != b
                    && self.is_exchanged(snapshot, [&old.b, &b], ordered_s)?
                {
                    found.push((id, old));
                }
            }
        }
        Ok(found)
    }

    /// Whether an order that was in force at `ordered_s` puts the pack `new` in the place of `old` (A97).
    fn is_exchanged(&self, snapshot: &Snapshot<'_>, [old, new]: [&Cid; 2], ordered_s: u32) -> Reply<bool> {
        let [old, new] = [old, new].map(|cid| component_id(snapshot, cid));
        Ok(self.orders.exchanges([&old?, &new?], ordered_s.into()))
    }

    /// Refuses unless the bindings of this ceremony may give way to it: those with somebody else by an order that was in force
    /// at `ordered_s`, and all as far as owners agreed to it until `until_ms`.
    pub(super) fn may_displace(
        &self,
        snapshot: &Snapshot<'_>,
        bond: &Bond,
        displaced: &Displaced,
        ordered_s: u32,
        until_ms: u64,
    ) -> Reply<()> {
        let cids = bond.sides.each_ref().map(|side| &side.cid);
        for (id, old) in displaced {
            if with_another(&bond.sides, old) {
                self.may_displace_another(snapshot, bond, old, ordered_s)?;
            }
            self.owners_agree_to(snapshot, cids, (id, old), until_ms)?;
        }
        Ok(())
    }

    /// Refuses unless the binding of one of the two with somebody else may give way: that of a pack with another app (A95), or
    /// that of a module or an app with another pack (A97).
    fn may_displace_another(
        &self,
        snapshot: &Snapshot<'_>,
        bond: &Bond,
        old: &Binding,
        ordered_s: u32,
    ) -> Reply<()> {
        let [(a, _), (b, role_b)] = bond.parties();
        let takes_over = role_b == Role::Pack && old.b == b;
        if !takes_over {
            // The pack is the side nearer the app of a module, and the farther one of an app.
            let (stays, gone, comes) = if old.b == b { (b, old.a, a) } else { (a, old.b, b) };
            let [stays, gone_id, comes_id] = [stays, gone, comes].map(|cid| component_id(snapshot, &cid));
            return match self.is_exchanged(snapshot, [&gone, &comes], ordered_s)? {
                true => Ok(()),
                false => Err(may_not(format!(
                    "{} is in force with {}, which has to be revoked first; or an operator orders that {} takes its place",
                    stays?, gone_id?, comes_id?
                ))),
            };
        }
        let [new, pack, lost] = [a, b, old.a].map(|cid| component_id(snapshot, &cid));
        let (new, pack, lost) = (new?, pack?, lost?);
        if !self.orders.takes_over([&new, &pack], ordered_s.into()) {
            return Err(may_not(format!(
                "{pack} is in force with {lost}, which has to be revoked first; or an operator orders that {new} takes it over"
            )));
        }
        match bond.assurance.has_code() {
            true => Ok(()),
            false => Err(may_not(format!(
                "{pack} is taken over by whoever stands before it: with its code (B2, B1+B2)"
            ))),
        }
    }

    /// Leave for the entity of `side` to replace the binding that it names (channel.md, H147). One that the ledger does not
    /// have in force it may always give up.
    pub(super) fn leave(
        &self,
        snapshot: &Snapshot<'_>,
        bond: &Bond,
        displaced: &Displaced,
        side: usize,
        question: &Replaces,
    ) -> Reply<[u8; TOKEN_LEN]> {
        let (name, own) = (["a", "b"][side], bond.sides[side].cid);
        let refused = |why: &str| may_not(format!("{name}.replaces: {why}"));
        if bond.assurance == Assurance::Plain {
            return Err(refused("a binding in clear (B0) takes no other's place"));
        }
        let old = BindingId(question.binding_id.0);
        let known = snapshot.binding(&old)?.filter(|b| b.status == Status::Active);
        if let Some(known) = known.filter(|b| with_another(&bond.sides, b)) {
            let gives_way = displaced.iter().any(|(id, _)| *id == old) && is_of(&known, &own);
            if !gives_way {
                return Err(refused(
                    "binding_id: it is in force with another partner, and has to be revoked first",
                ));
            }
        }
        let asked = Rebind { device: own, nonce: question.nonce.0, old };
        tracing::info!(device = %own, %old, "leave to replace a binding");
        self.key.sign(|key, rng| asked.issue(key, rng)).map_err(Into::into)
    }

    /// What has to happen before `record` can be on the ledger: of what the two say that counts which names a binding that
    /// gives way, with the authority's own leave; of another app's only the word of the pack. Where neither could name it,
    /// the authority withdraws that binding.
    pub(super) fn before(
        &self,
        snapshot: &Snapshot<'_>,
        bond: &Bond,
        record: &BindingRecord,
        replacements: &[Option<Replacement>; 2],
    ) -> Reply<Before> {
        let displaced = self.displaced(snapshot, bond.parties(), record.time)?;
        self.may_displace(snapshot, bond, &displaced, record.time, (self.clock)())?;
        let mut spoken = None;
        for (side, word) in bond.sides.iter().zip(replacements) {
            let Some(word) = word else { continue };
            let event = Event::decode(&word.statement.0).ok();
            let named = event.as_ref().and_then(|e| e.payload.first_chunk().copied()).map(BindingId);
            let Some((old, known)) = displaced.iter().find(|(id, _)| Some(*id) == named) else { continue };
            let another = with_another(&bond.sides, known);
            let about = [&old.0[..], &sha256(&[&record.encode()])].concat();
            let leave = Rebind::open(&word.leave.0, &self.spk.sign_pub());
            let granted = leave.is_ok_and(|leave| (leave.device, leave.old) == (side.cid, *old));
            let says = event.is_some_and(|event| event.cid == side.cid && *event.payload == *about);
            let device = snapshot.component(&side.cid)?.ok_or_else(not_found)?.device_key;
            let signature = lct::sign::Signature(word.signature.0);
            let fits = api::sign::replacement(&word.statement.0, &device, &signature).is_ok();
            let speaks = is_of(known, &side.cid);
            if granted && says && fits && speaks {
                spoken.get_or_insert((*old, word, device));
            } else if another {
                // Whoever spoils the word of the side that stays gets no binding without it.
                return Err(may_not(format!(
                    "replacements: not the word of the side that stays that {old} gives way"
                )));
            }
        }
        let named = spoken.as_ref().map(|(old, ..)| *old);
        if let Some((old, _)) = displaced.iter().find(|(id, _)| Some(*id) != named) {
            return Ok(Before::Cleared(*old));
        }
        Ok(spoken
            .map_or(Before::Nothing, |(_, word, device)| Before::Replaced { word: word.clone(), device }))
    }

    /// Refuses where two are bound, more than in clear, and one of them has an owner who did not agree until `until_ms` to
    /// another binding of the two (A93).
    pub(super) fn owners_agree(
        &self,
        snapshot: &Snapshot<'_>,
        [a, b]: [&Cid; 2],
        until_ms: u64,
    ) -> Reply<()> {
        let between = active_binding(snapshot, a, b)?;
        match between.filter(|(_, known)| known.assurance != Assurance::Plain as u8) {
            Some((id, known)) => self.owners_agree_to(snapshot, [a, b], (&id, &known), until_ms),
            None => Ok(()),
        }
    }

    /// Refuses where an owner of one of the two did not agree that a binding of theirs takes the place of `old` (A93). Whose
    /// component is no side of `old` loses nothing by it.
    pub(super) fn owners_agree_to(
        &self,
        snapshot: &Snapshot<'_>,
        [a, b]: [&Cid; 2],
        (old, known): (&BindingId, &Binding),
        until_ms: u64,
    ) -> Reply<()> {
        for (own, partner) in [(a, b), (b, a)] {
            let Some(ownership) = snapshot.ownership(own)? else { continue };
            if !is_of(known, own) {
                continue;
            }
            let consent = snapshot.consent(own, old)?;
            if !consent.is_some_and(|c| c.allows(&ownership, partner, until_ms)) {
                let id = component_id(snapshot, own)?;
                let refusal =
                    Refusal::new(403, code::REBIND_OWNER, "the owner has to agree to another binding");
                return Err(refusal.detail(format!("{id} has an owner, who agrees with `modbatt consent`")));
            }
        }
        Ok(())
    }
}
