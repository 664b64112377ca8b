//! What a delegate does with devices besides ending (`spec/channel.md`, H226 to H229): it pairs two that are bound, and binds
//! two, also where that gives them new keys. Its messages reach them over the app's host (`spec/api.md`, A96), one at a time,
//! each with its answer; whoever is asked the same again gives the same answer, so that a command that was cut off is given
//! once more.

use super::*;
use crate::{
    authority::{
        ceremonies::{Introduced, Side},
        issue,
    },
    entropy,
};
use api::{
    delegation::{Agreed, Brief, Kept, Made, Part, Relation, Stated},
    encoding::{Blob, Fixed, Hex},
};
use lct::{
    attest::{DeviceCertificate, spk_attestation_digest},
    binding::Assurance,
    delegation::Denied,
    id::{BindingId, Cid, PairingId, Role, is_side_a},
    metadata::{ClearMetadata, Entity, PairingContext, Timing},
    pairing::Completion,
    policy::{FACTORY_VERSION, Rotation},
    rebind::Rebind,
    registration::{REGISTRATION_MAX, Registration},
    revocation::RevocationList,
    sign::{Signature, Signer},
    spk::Spk,
};
use pack::{
    answers::{self, Completed, DeviceKeys},
    pdu::{self, Status, binding as op, delegation, key_package as package},
};
use rand_core::Rng;
use std::{collections::BTreeMap, slice, thread, time::Duration};

/// How often a device is asked whether a handshake stands.
const TRIES: u32 = 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// Whether the host says that the component itself is silent: it is there, looked for it, and nobody answered by that name.
    pub silent: bool,
    /// In words.
    pub why: String,
}

/// Gives a component a message, and returns its answer, or why there is none.
pub type Carry<'a> = dyn FnMut(&str, &[u8]) -> Result<Vec<u8>, NoAnswer> + 'a;

/// How messages reach devices.
pub struct Way<'a> {
    /// Over whom.
    pub carry: &'a mut Carry<'a>,
    /// Pause before a device is asked again whether a handshake stands.
    pub pause: Duration,
}

impl Way<'_> {
    fn ask(&mut self, who: &str, what: &'static str, message: &[u8]) -> Result<Vec<u8>, FieldError> {
        (self.carry)(who, message).map_err(|NoAnswer { why, .. }| FieldError::NotReached {
            who: who.into(),
            what,
            why,
        })
    }

    /// Gives `who` a message and waits for an answer that begins with `done`, as long as it only says that it accepted.
    fn until(
        &mut self,
        who: &str,
        what: &'static str,
        message: &[u8],
        done: [u8; 2],
    ) -> Result<Vec<u8>, FieldError> {
        for _ in 0..TRIES {
            let answer = self.ask(who, what, message)?;
            if let Some(body) = answer.strip_prefix(&done) {
                return Ok(body.to_vec());
            }
            accepted(who, what, &answer)?;
            thread::sleep(self.pause);
        }
        Err(FieldError::Unfinished { who: who.into(), what })
    }
}

/// The status at the end of an answer.
fn accepted(who: &str, what: &'static str, answer: &[u8]) -> Result<(), FieldError> {
    let why = match answer.last().map(|code| Status::from_code(*code)) {
        Some(Status::Accepted) => return Ok(()),
        Some(Status::NotAuthentic) => "its signature does not hold here, or the delegation was not shown",
        Some(Status::WrongParty) => "it is for somebody else, or the delegation does not reach so far",
        Some(Status::WrongState) => {
            "not now: by the device's clock the delegation does not hold, or its state is another"
        }
        Some(Status::Malformed) | None => "it cannot be read there",
    };
    Err(FieldError::Declined { who: who.into(), what, why })
}

/// A binding, as far as this laptop knows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    binding_id: BindingId,
    sides: [(String, Spk, String); 2],
    policy_version: u32,
    certificate_s: u32,
    certified_at: u32,
    /// This laptop made it.
    made_here: bool,
}

impl Known {
    fn read(told: &Relation) -> Result<Self, FieldError> {
        let side = |kept: &Kept| {
            let spk = Spk::from_slice(&kept.spk.0).map_err(|e| FieldError::Brief(e.to_string()))?;
            Ok::<_, FieldError>((kept.component_id.clone(), spk, kept.access.clone()))
        };
        Ok(Known {
            binding_id: BindingId(told.binding_id.0),
            sides: [side(&told.a)?, side(&told.b)?],
            policy_version: told.policy_version,
            certificate_s: told.certificate_s,
            certified_at: told.certified_at,
            made_here: false,
        })
    }

    /// When the next certificate is made, at `now` and later than the last one.
    fn after(&self, now: u32) -> u32 {
        now.max(self.certified_at.saturating_add(1))
    }

    fn between(&self, ids: [&str; 2]) -> bool {
        self.ids() == ids
    }

    fn ids(&self) -> [&str; 2] {
        self.sides.each_ref().map(|(id, ..)| id.as_str())
    }
}

/// What was told of a component: whether it has an owner, and its bindings, each with what he agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whose {
    owned: bool,
    bindings: BTreeMap<BindingId, Option<Agreed>>,
}

impl Whose {
    fn read(told: &Part) -> (Cid, Self) {
        let bindings = told.bindings.iter().map(|held| (BindingId(held.binding_id.0), held.agreed.clone()));
        (Cid(told.cid.0), Whose { owned: told.owned, bindings: bindings.collect() })
    }

    /// Whether its owner, if it has one, agrees at `now` that a binding with `partner` takes the place of `old`.
    fn agrees(&self, old: BindingId, partner: &Cid, now: u32) -> bool {
        let agreed = self.bindings.get(&old).and_then(Option::as_ref);
        !self.owned || agreed.is_some_and(|a| a.partner.0 == partner.0 && u64::from(now) <= a.until)
    }
}

/// A binding that this laptop ended, by its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Which.
    pub binding_id: BindingId,
    /// Whose it was: A, B.
    pub sides: [String; 2],
    /// Why it ended.
    pub reason: Reason,
    /// When, in Unix seconds.
    pub time: u32,
}

/// What a laptop knows of the packs that it is sent to: what it was told before it left, and what it did since.
#[derive(Debug, Clone)]
pub struct Ground {
    chain_id: Digest,
    list: Vec<u8>,
    number: u32,
    known: Vec<Known>,
    gone: Vec<Gone>,
    /// All that the journal ended, whether this laptop knew of it or not.
    over: Vec<BindingId>,
    /// Whose components are.
    parts: BTreeMap<Cid, Whose>,
}

impl Ground {
    /// From the brief (A205), and what the journal has of the same delegation.
    ///
    /// # Errors
    /// [`FieldError::Brief`], also for a journal whose notes cannot be read.
    pub fn new(brief: &Brief, journal: &Journal) -> Result<Self, FieldError> {
        let damaged = |e: lct::Error| FieldError::Brief(e.to_string());
        let number = RevocationList::claimed_number(&brief.list.0).map_err(damaged)?;
        let known = brief.relations.iter().map(Known::read).collect::<Result<_, _>>()?;
        let mut ground = Ground {
            chain_id: brief.chain_id.0,
            list: brief.list.0.clone(),
            number,
            known,
            gone: Vec::new(),
            over: Vec::new(),
            parts: brief.parts.iter().map(Whose::read).collect(),
        };
        for entry in &journal.entries {
            match Body::from_bytes(&entry.body) {
                Ok(Body::Bind { .. }) => ground.made(&note(&entry.note)?)?,
                Ok(Body::PairComplete(paired)) => ground.paired(&paired.binding_id, entry.act.time),
                Ok(Body::Revoke { target: Target::Binding(id), reason }) => {
                    ground.ended(&id, Reason::from_code(reason).map_err(damaged)?, entry.act.time);
                }
                _ => {}
            }
        }
        Ok(ground)
    }

    fn find(&self, ids: [&str; 2]) -> Option<&Known> {
        self.known.iter().find(|known| known.between(ids))
    }

    /// Whether it tells of the binding `id` and that is in force.
    fn knows(&self, id: BindingId) -> bool {
        self.by_id(id).is_some()
    }

    fn by_id(&self, id: BindingId) -> Option<&Known> {
        self.known.iter().find(|known| known.binding_id == id)
    }

    /// The modules that are to follow from the pack `old` to `new`, each with the binding that gives way where there is one: those of
    /// `old`, those whose binding with it gave way to one of which the journal has nothing, and those that `new` has and is not
    /// paired with.
    pub(super) fn followers(&self, old: &str, new: &str) -> BTreeMap<String, Option<BindingId>> {
        let mut all = BTreeMap::new();
        for gone in self.gone.iter().filter(|gone| gone.sides[0] == old) {
            match gone.reason {
                Reason::Superseded => all.insert(gone.sides[1].clone(), None),
                _ => all.remove(&gone.sides[1]),
            };
        }
        for known in &self.known {
            let [above, own] = known.ids();
            match above {
                above if above == old => all.insert(own.to_owned(), Some(known.binding_id)),
                above if above == new && known.certified_at == 0 => all.insert(own.to_owned(), None),
                // It has its place, here or elsewhere.
                _ => all.remove(own),
            };
        }
        all
    }

    /// The app of the pack `old`, or of `new` that has its place, and the binding of `old` that gives way.
    pub(super) fn app_of(&self, old: &str, new: &str) -> Option<(String, Option<BindingId>)> {
        if let Some((app, id)) = self.above(old) {
            return Some((app.to_owned(), Some(id)));
        }
        let ended = self.gone.iter().rev().find(|gone| gone.sides[1] == old);
        let ended = ended.filter(|gone| gone.reason == Reason::Superseded).map(|gone| gone.sides[0].as_str());
        let has = self.above(new).map(|(app, _)| app);
        let app = match (ended, has) {
            (Some(app), None) => app,
            // It may have had its place before the brief was made, and modules of the old one not have followed.
            (ended, Some(app)) if ended == Some(app) || !self.followers(old, new).is_empty() => app,
            _ => return None,
        };
        Some((app.to_owned(), None))
    }

    /// How many modules the pack `id` has that are paired with it.
    pub(super) fn paired_below(&self, id: &str) -> usize {
        self.known.iter().filter(|known| known.ids()[0] == id && known.certified_at > 0).count()
    }

    /// The binding of these two, A then B.
    pub fn binding(&self, ids: [&str; 2]) -> Option<BindingId> {
        self.find(ids).map(|known| known.binding_id)
    }

    /// With whom the module `id` is bound: the pack, and by which binding.
    pub fn above(&self, id: &str) -> Option<(&str, BindingId)> {
        let known = self.known.iter().find(|known| known.sides[1].0 == id)?;
        Some((&known.sides[0].0, known.binding_id))
    }

    /// The binding of the module `id` that this laptop ended last. None where that gave way to another one of the same two, of
    /// which the journal has nothing where it was cut off: then its devices may have the other one.
    pub fn gone(&self, id: &str) -> Option<&Gone> {
        let last = self.gone.iter().rev().find(|gone| gone.sides[1] == id);
        last.filter(|gone| gone.reason != Reason::Superseded)
    }

    /// The binding of these two, A then B, that this laptop made and did not get as far as to pair.
    pub fn unpaired(&self, ids: [&str; 2]) -> Option<BindingId> {
        let known = self.find(ids).filter(|known| known.made_here && known.certified_at == 0);
        known.map(|known| known.binding_id)
    }

    /// Whether A and B were paired since they were bound.
    pub fn is_paired(&self, ids: [&str; 2]) -> bool {
        self.find(ids).is_some_and(|known| known.certified_at > 0)
    }

    fn made(&mut self, made: &Made) -> Result<(), FieldError> {
        let mut known = Known::read(&Relation {
            binding_id: made.binding_id,
            a: made.a.clone(),
            b: made.b.clone(),
            policy_version: FACTORY_VERSION,
            certificate_s: Rotation::FACTORY.certificate_s,
            certified_at: 0,
        })?;
        known.made_here = true;
        let ids = [made.a.component_id.as_str(), made.b.component_id.as_str()];
        self.known.retain(|old| !old.between(ids));
        self.known.push(known);
        Ok(())
    }

    /// Whether `own` is a side of the binding `id`, as far as anybody told; of one that nobody told of anybody may be.
    fn is_side(&self, id: BindingId, own: &str) -> bool {
        let part = self.parts.get(&Cid::of(own)).map(|part| part.bindings.contains_key(&id));
        match self.by_id(id) {
            Some(known) => known.ids().contains(&own),
            None => part.is_none_or(|has| has || !self.parts.values().any(|p| p.bindings.contains_key(&id))),
        }
    }

    /// Whether the owners of A and B agreed at `now` that a binding of theirs takes the place of `old` (H236, H256). Of a
    /// component of which nobody told whether it has an owner, only what this laptop made between the same two gives way.
    ///
    /// # Errors
    /// [`FieldError::Owner`], [`FieldError::Whose`].
    pub fn owners_agree(&self, old: BindingId, [a, b]: [&str; 2], now: u32) -> Result<(), FieldError> {
        let remade = self.by_id(old).is_some_and(|known| known.made_here && known.between([a, b]));
        for (own, partner) in [(a, b), (b, a)] {
            if !self.is_side(old, own) {
                continue;
            }
            let (who, partner_id) = (own.to_owned(), Cid::of(partner));
            match self.parts.get(&Cid::of(own)) {
                Some(part) if part.agrees(old, &partner_id, now) => {}
                Some(_) => return Err(FieldError::Owner { who, partner: partner.into() }),
                None if remade => {}
                None => return Err(FieldError::Whose(who)),
            }
        }
        Ok(())
    }

    /// They were paired at `at`, under a certificate later than the last one, wherever the clock stood (H227).
    fn paired(&mut self, binding: &BindingId, at: u32) {
        let same = self.known.iter_mut().filter(|known| known.binding_id == *binding);
        same.for_each(|known| known.certified_at = known.after(at));
    }

    fn ended(&mut self, binding: &BindingId, reason: Reason, time: u32) {
        self.over.push(*binding);
        if let Some(at) = self.known.iter().position(|known| known.binding_id == *binding) {
            let [(a, ..), (b, ..)] = self.known.remove(at).sides;
            self.gone.push(Gone { binding_id: *binding, sides: [a, b], reason, time });
        }
    }
}

/// What is noted beside an act of binding.
///
/// # Errors
/// [`FieldError::Brief`].
pub fn note(bytes: &[u8]) -> Result<Made, FieldError> {
    serde_json::from_slice(bytes).map_err(|e| FieldError::Brief(format!("a note of the journal: {e}")))
}

/// A component that was met on a bus: its name is that of its certificate.
struct Met {
    id: String,
    cid: Cid,
    role: Role,
    registration: Registration,
}

impl Met {
    fn certificates(&self) -> (DeviceCertificate, DeviceCertificate) {
        (self.registration.device, self.registration.batch)
    }
}

/// Four numbers are drawn for a binding, and three for a pairing.
fn random<const N: usize>() -> Result<[u8; N], FieldError> {
    let drawn = entropy::with(|rng| {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        bytes
    });
    Ok(drawn.map_err(SignError::from)?)
}

impl Field {
    /// Shows `id` the delegation, and asks who it is.
    fn meet(&self, ground: &Ground, id: &str, way: &mut Way<'_>) -> Result<Met, FieldError> {
        let what = "the delegation";
        let show = [&[pdu::DELEGATION, delegation::SHOW], self.shown.as_slice()].concat();
        accepted(id, what, &way.ask(id, what, &show)?)?;
        let what = "the question for its certificates";
        let answer = way.ask(id, what, &[pdu::BINDING, op::CERTIFICATES])?;
        let misfit = || FieldError::Misfit { who: id.into(), what };
        let body = answer.strip_prefix(&[pdu::BINDING, op::IDENTITY]).ok_or_else(misfit)?;
        let registration = answers::registration(ground.chain_id, id, body).map_err(|_| misfit())?;
        let subject = registration.device.subject().map_err(|_| misfit())?;
        match subject.cid == Cid::of(id) {
            true => Ok(Met { id: id.into(), cid: subject.cid, role: subject.role, registration }),
            false => Err(misfit()),
        }
    }

    fn permitted(&self, operation: Operation, [a, b]: [&str; 2], now: u32) -> Result<(), FieldError> {
        self.may(operation, now)?;
        match self.delegation.permits(operation, &[Cid::of(a), Cid::of(b)]) {
            Err(Denied::Scope) => Err(FieldError::Scope(a.into(), b.into())),
            Err(_) => Err(FieldError::Operation),
            Ok(()) => Ok(()),
        }
    }

    /// Whether the delegate may pair these two.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn may_pair(&self, a: &str, b: &str, now: u32) -> Result<(), FieldError> {
        self.permitted(Operation::Pair, [a, b], now)
    }

    /// Whether `id` is a pack that the delegation names.
    pub fn names(&self, id: &str) -> bool {
        self.delegation.packs.contains(&Cid::of(id))
    }

    /// Whether a device gives answers under the name `id`. A host that cannot be asked, or is busy, does not say that nobody does.
    ///
    /// # Errors
    /// [`FieldError::NotReached`].
    pub(super) fn answers(&self, id: &str, way: &mut Way<'_>) -> Result<bool, FieldError> {
        let what = "the question for its certificates";
        match (way.carry)(id, &[pdu::BINDING, op::CERTIFICATES]) {
            Ok(_) => Ok(true),
            Err(NoAnswer { silent: true, .. }) => Ok(false),
            Err(NoAnswer { why, .. }) => Err(FieldError::NotReached { who: id.into(), what, why }),
        }
    }

    /// Whether the delegate may end the binding of these two.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn may_end(&self, a: &str, b: &str, now: u32) -> Result<(), FieldError> {
        self.permitted(Operation::Revoke, [a, b], now)
    }

    /// Pairs A and B anew at `now` (Unix seconds), under a certificate of the delegate. It is in the journal when this
    /// returns.
    ///
    /// # Errors
    /// [`FieldError`]; what was in force stays so until both have the new pairing.
    pub fn pair(
        &mut self,
        ground: &mut Ground,
        [a, b]: [&str; 2],
        now: u32,
        way: &mut Way<'_>,
    ) -> Result<PairingId, FieldError> {
        self.permitted(Operation::Pair, [a, b], now)?;
        let known = ground.find([a, b]).ok_or_else(|| FieldError::NotBound(a.into(), b.into()))?.clone();
        let met = [self.meet(ground, a, way)?, self.meet(ground, b, way)?];
        let what = "the revocation list";
        let list = [&[pdu::REVOCATION], ground.list.as_slice()].concat();
        for who in [a, b] {
            let answer = way.ask(who, what, &list)?;
            // A device keeps the latest that it was given (H106).
            let held = answer.get(2..6).and_then(|n| n.try_into().ok()).map_or(0, u32::from_be_bytes);
            if held < ground.number {
                accepted(who, what, &answer)?;
            }
        }
        let lease_s = self.delegation.lease_s.min(known.certificate_s);
        let (pairing_id, created) = (PairingId(random()?), known.after(now));
        let entity = |i: usize| {
            let access = known.sides[i].2.as_bytes().try_into().map_err(|_| lct::Error::BufferTooSmall);
            access.map(|access| Entity { cid: met[i].cid, role: met[i].role, access }).map_err(Unissued::from)
        };
        let expires = now.saturating_add(lease_s);
        let metadata = ClearMetadata {
            pairing_id,
            context: PairingContext::BatteryManagement,
            entities: [entity(0)?, entity(1)?],
            timing: Timing { created, valid_from: now, expires, max_uses: 0 },
            operations: 0b111,
            unencrypted_allowed: Default::default(),
            salt: random()?,
            iv_seed: random()?,
            policy_version: known.policy_version,
            compact: Default::default(),
            crl_number: ground.number,
        };
        let remains =
            issue::certificate(&self.key, &metadata, &known.sides.each_ref().map(|(_, spk, _)| *spk))?;
        let what = "the pairing certificate";
        let certificate = [&[pdu::CERTIFICATE], remains.certificate.as_slice()].concat();
        // B first: when A begins the handshake, B has the certificate already.
        for who in [b, a] {
            let answer = way.ask(who, what, &certificate)?;
            if !answer.starts_with(&[pdu::CERTIFICATE, pdu::PAIRING_COMPLETE]) {
                accepted(who, what, &answer)?;
            }
        }
        let mut done = Vec::with_capacity(2);
        for who in [a, b] {
            let body = way.until(who, what, &certificate, [pdu::CERTIFICATE, pdu::PAIRING_COMPLETE])?;
            let misfit = |_| FieldError::Misfit { who: who.into(), what };
            done.push(Completed::read(&body).map_err(misfit)?);
        }
        let misfit = || FieldError::Misfit { who: b.into(), what };
        let [by_a, by_b] = done[..] else { return Err(misfit()) };
        if !by_a.agrees_with(&by_b) || by_a.pairing_id != pairing_id {
            return Err(misfit());
        }
        let Completed { nonce, th4, .. } = by_a;
        let completion = Completion { pairing_id, nonce, cert_hash: remains.cert_hash, th4 };
        let own = self.key.sign(|key, rng| key.sign(&completion.digest(), rng))?;
        let keys = known.sides.each_ref().map(|(_, spk, _)| spk.sign_pub());
        let signatures = [Signature(by_a.signature), Signature(by_b.signature), own];
        let body = api::sign::pair_complete(&completion, (known.binding_id, keys), lease_s, signatures);
        self.write(Operation::Pair, &body.map_err(|_| misfit())?, &[], now)?;
        ground.paired(&known.binding_id, now);
        Ok(pairing_id)
    }

    /// Binds A and B at `now` (Unix seconds), with fresh keys of both, attested by their manufacturers; a binding that they
    /// have, and `instead` of one of them with another pack (H236), gives way and ends, whether this laptop knew of it or not, for
    /// which the delegation has to allow `revoke` too, and whoever owns a side has to have agreed. It is in the journal when this
    /// returns.
    ///
    /// # Errors
    /// [`FieldError`]; the old binding serves until the new one stands.
    pub fn bind(
        &mut self,
        ground: &mut Ground,
        [a, b]: [&str; 2],
        instead: Option<BindingId>,
        now: u32,
        way: &mut Way<'_>,
    ) -> Result<BindingId, FieldError> {
        self.permitted(Operation::Bind, [a, b], now)?;
        let old = ground.binding([a, b]);
        for end in [old, instead].into_iter().flatten() {
            let of = ground.by_id(end).map_or([a, b], Known::ids);
            self.permitted(Operation::Revoke, of, now)?;
            ground.owners_agree(end, [a, b], now)?;
        }
        let met = [self.meet(ground, a, way)?, self.meet(ground, b, way)?];
        let [at_a, at_b] = &met;
        if !is_side_a(at_a.role, at_a.cid, at_b.role, at_b.cid) {
            return Err(FieldError::Order(a.into(), b.into()));
        }
        let binding_id = BindingId(random()?);
        let access = met.each_ref().map(|met| format!("can:{}", met.id));
        let [(of_a, blind_a), (of_b, blind_b)] = entropy::with(|rng| {
            [0, 1].map(|i| Side::draw(met[i].cid, met[i].role, access[i].as_bytes(), rng))
        })
        .map_err(SignError::from)?;
        let (sides, blinds) = ([of_a, of_b], [blind_a, blind_b]);
        let mut drawn = Vec::with_capacity(2);
        for (own, who) in [a, b].into_iter().enumerate() {
            drawn.push(self.keys_of(binding_id, (&met[own], &sides), own, who, way)?);
        }
        let [of_a, of_b] = drawn[..] else { return Err(FieldError::Subject) };
        let introduced = Introduced { time: now, keys: [of_a.0, of_b.0] };
        let (mut leaves, mut ends) = ([Vec::new(), Vec::new()], Vec::new());
        for (own, (_, question)) in [of_a, of_b].into_iter().enumerate() {
            let Some((nonce, named)) = question else { continue };
            // To give leave is to end what the device has.
            self.permitted(Operation::Revoke, [a, b], now)?;
            let named = BindingId(named);
            // The ledger has none that was begun here and cut off, but what that was to take the place of.
            let begun = self.began(named).filter(|_| !ground.knows(named));
            for end in begun.unwrap_or(slice::from_ref(&named)) {
                if ground.knows(*end) && ![old, instead].contains(&Some(*end)) {
                    return Err(FieldError::Elsewhere(met[own].id.clone(), met[1 - own].id.clone()));
                }
                if ground.over.contains(end) || ends.contains(end) {
                    continue;
                }
                // Its device cannot read which one it has, and nobody can end that.
                let unread = end.0 == [0; 16];
                if !unread
                    || ![old, instead].into_iter().flatten().any(|told| ground.is_side(told, [a, b][own]))
                {
                    ground.owners_agree(*end, [a, b], now)?;
                }
                if !unread {
                    ends.push(*end);
                }
            }
            let asked = Rebind { device: met[own].cid, nonce, old: named };
            leaves[own] = self.key.sign(|key, rng| asked.issue(key, rng))?.to_vec();
        }
        // What devices name in its place another laptop may have begun: then the ledger has only what the brief tells of.
        // Where it has the other one, it refuses the end of this one, and nothing else.
        for old in [old, instead].into_iter().flatten() {
            if !ends.contains(&old) {
                ends.push(old);
            }
        }
        self.begin(binding_id, &ends)?;
        let what = "the sealed halves of the device key";
        for (who, sealed) in [a, b].into_iter().zip(issue::packages(&self.key, &sides, &introduced)?) {
            let head = [&[pdu::KEY_PACKAGE, package::SEALED], binding_id.0.as_slice()].concat();
            accepted(who, what, &way.ask(who, what, &[head, sealed].concat())?)?;
        }
        let what = "the introduction of its partner";
        let mut introductions = [Vec::new(), Vec::new()];
        for (own, message) in introductions.iter_mut().enumerate() {
            let (chain, assurance) = (met[1 - own].certificates(), Assurance::Attested);
            let partner = issue::introduction(binding_id, &sides, own, chain, &introduced, assurance);
            let signed = self.key.sign(|key, rng| partner.issue(key, rng))?.map_err(Unissued::from)?;
            *message = [&[pdu::BINDING, op::INTRODUCTION], signed.as_slice(), &leaves[own]].concat();
        }
        // B first: when A begins the handshake, B knows A's key already.
        for own in [1, 0] {
            let answer = way.ask(&met[own].id, what, &introductions[own])?;
            if !answer.starts_with(&[pdu::BINDING, op::SIGNED]) {
                accepted(&met[own].id, what, &answer)?;
            }
        }
        let record = issue::record(binding_id, &sides, &introduced, Assurance::Attested);
        let mut signatures = [Signature([0; 64]); 3];
        for (own, message) in introductions.iter().enumerate() {
            let who = met[own].id.as_str();
            let body = way.until(who, what, message, [pdu::BINDING, op::SIGNED])?;
            let misfit = |_| FieldError::Misfit { who: who.into(), what };
            signatures[own] = Signature(answers::Signed::read(&body).map_err(misfit)?.signature);
        }
        signatures[2] = self.key.sign(|key, rng| key.sign(&record.digest(), rng))?;
        let misfit = |_| FieldError::Misfit { who: b.into(), what };
        let body = api::sign::bind(&record, signatures).map_err(misfit)?;
        let kept = |i: usize| Kept {
            component_id: met[i].id.clone(),
            spk: Fixed(introduced.keys[i].0.0),
            access: access[i].clone(),
            blind: Some(Fixed(*blinds[i].expose())),
        };
        let mut registrations = Vec::new();
        for met in
            met.iter().filter(|met| !ground.known.iter().any(|k| k.sides.iter().any(|s| s.0 == met.id)))
        {
            registrations.push(registered(met, way)?);
        }
        let made = Made { binding_id: Hex(binding_id.0), a: kept(0), b: kept(1), registrations };
        let noted = serde_json::to_vec(&made).map_err(|e| FieldError::Brief(e.to_string()))?;
        for old in ends {
            let given_up = Body::Revoke { target: Target::Binding(old), reason: Reason::Superseded as u8 };
            self.write(Operation::Revoke, &given_up, &[], now)?;
            ground.ended(&old, Reason::Superseded, now);
        }
        self.write(Operation::Bind, &body, &noted, now)?;
        ground.made(&made)?;
        Ok(binding_id)
    }

    /// Has `own` draw a key of its relationship; its device vouches for it.
    fn keys_of(
        &self,
        binding_id: BindingId,
        (met, sides): (&Met, &[Side; 2]),
        own: usize,
        who: &str,
        way: &mut Way<'_>,
    ) -> Result<Drawn, FieldError> {
        let what = "the request for a key";
        let request = issue::request(&self.key, binding_id, &sides[own], &sides[1 - own])?;
        let answer = way.ask(who, what, &[&[pdu::BINDING, op::REQUEST], request.as_slice()].concat())?;
        let Some(body) = answer.strip_prefix(&[pdu::BINDING, op::KEYS]) else {
            accepted(who, what, &answer)?;
            return Err(FieldError::Misfit { who: who.into(), what });
        };
        let misfit = |_| FieldError::Misfit { who: who.into(), what };
        let (_, drawn) = DeviceKeys::read(body).map_err(misfit)?;
        let (spk, attestation) = (Spk::from_slice(&drawn.spk).map_err(misfit)?, Signature(drawn.attestation));
        let (side, partner) = (&sides[own], &sides[1 - own].cid);
        let digest = spk_attestation_digest(&side.cid, side.role, &spk, partner, &side.nonce);
        let device = met.registration.device.subject().map_err(misfit)?.key;
        device.verify(&digest, &attestation).map_err(|e| misfit(e.into()))?;
        Ok(((spk, attestation), drawn.replaces))
    }
}

/// A key with its attestation, and what its device asks before it takes the binding in the place of another one.
type Drawn = ((Spk, Signature), Option<([u8; 16], [u8; 16])>);

/// Has a component sign its registration.
fn registered(met: &Met, way: &mut Way<'_>) -> Result<Stated, FieldError> {
    let what = "its registration";
    let mut bytes = [0; REGISTRATION_MAX];
    let n = met.registration.encode(&mut bytes).map_err(Unissued::from)?;
    let statement = bytes[..n].to_vec();
    let answer = way.ask(&met.id, what, &[&[pdu::BINDING, op::REGISTER], statement.as_slice()].concat())?;
    let misfit = || FieldError::Misfit { who: met.id.clone(), what };
    let proof = answer.strip_prefix(&[pdu::BINDING, op::REGISTERED]).ok_or_else(misfit)?;
    let proof: [u8; 64] = proof.try_into().map_err(|_| misfit())?;
    // An answer to an earlier question is none to this one, and the ledger would refuse it later.
    api::sign::register(&statement, &Signature(proof)).map_err(|_| misfit())?;
    Ok(Stated { component_id: met.id.clone(), statement: Blob(statement), proof: Fixed(proof) })
}

#[cfg(test)]
mod tests;
