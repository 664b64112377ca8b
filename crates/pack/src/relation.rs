//! One entity's relationship with one peer, from the authority's bind request to a paired channel, and back
//! to life after each start (`spec/channel.md`, H10 to H19 and H45 to H55).
//!
//! The same machine serves both sides: which one it is follows from the roles. It consumes security PDUs and
//! time, and leaves [`Effect`]s in order; a [`Effect::Store`] must be durable before what follows it is sent.

mod agreement;
mod beside;
mod bond;
mod channel;
mod ending;
mod escalate;
mod handshakes;
mod lifecycle;
mod offer;
mod rotation;
mod stay_clear;
#[cfg(test)]
mod tests;
mod witness;

use crate::{
    announce::Heard,
    assurance::{Operation, permits},
    bootstrap::Offer,
    channel::Channel,
    escalation::Escalation,
    identity::{Identity, Loaded, Record, key, versioned_u32},
    lease::Lease,
    level,
    link::FrameFormat,
    pdu::{self, Pdu, Status, binding as op},
    policies::Policies,
    policy::{self, DeviceState},
    sealed_id::SealedId,
    session::{Alarm, Opened, Refusal, Session, compact::is_acceptable, limits::Limits, tier_of},
    testimony::Witnessed,
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{
    Digest, Error,
    binding::{Assurance, BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, SealedValidation, Section, VALIDATION_BUFFER},
    codec::Fields,
    exchange::{Side, open_half, pairing_key, seal_half},
    handshake::{
        Context, Ephemeral, Established, HALVES, Initiator, Kind, Psk, Request, Responder, Response, SIGNED,
    },
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role, is_side_a},
    metadata::{BASES_MAX, ClearMetadata, LinkParameters},
    pairing::Completion,
    resume,
    schedule::{Direction, ExchangeTag, MasterSecret, Tier},
    secret::Secret,
    spk::{Spk, SpkSecret},
    validation::{EscalationReason, Urgency, ValidationLevel},
};
use rand_core::CryptoRng;

/// How long A waits for M2 before it starts again, and a half-open run lives on B.
pub const RUN_TIMEOUT: Duration = Duration::from_millis(2_000);
/// How long A waits for the first sealed message of B before it repeats M3.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);
/// How long A waits before it tries RESUME again after it was given up.
pub const RESUME_AGAIN: Duration = Duration::from_millis(3_000);
/// Runs or repetitions before a handshake counts as failed.
pub const TRIES: u8 = 6;

/// Parameters of a link before any pairing: no seed, fixed suite.
const UNPAIRED: LinkParameters = LinkParameters { iv_seed: [0; 16], kdf: 1, aead: 1, rotation_days: 30 };

use lifecycle::{Counts, TOMBSTONE};

use bond::{Bond, PendingBond, PendingPair, binding_record};
use channel::home;
use rotation::Upkeep;

/// What the machine wants done, in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send on the security base to the peer, in clear: it authenticates itself.
    ToPeer(Pdu),
    /// Send to the peer, sealed with this tier.
    SealToPeer(Tier, Pdu),
    /// Carry to the authority.
    ToAuthority(Pdu),
    /// Make durable.
    Store(Record),
    /// Tell the owner.
    Event(RelationEvent),
}

/// Effects of one call.
pub type Effects = heapless::Deque<Effect, 12>;

/// What happened to the relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationEvent {
    /// Both sides proved possession of their relationship keys.
    Bound {
        /// Which binding.
        binding_id: BindingId,
        /// How the identities were established.
        assurance: Assurance,
        /// `H(record)` of what both sides signed.
        record: Digest,
    },
    /// The pairing's session stands on this side.
    Paired {
        /// Which pairing.
        pairing_id: PairingId,
        /// What both sides signed ([`lct::pairing::Completion::digest`]).
        completion: Digest,
    },
    /// A fresh epoch stands.
    ChannelUp {
        /// Its number.
        epoch: u32,
        /// The peer's first level-5 challenge, known to the A side.
        challenge: Option<u32>,
    },
    /// One of the two ended the pairing; the binding stays.
    Unpaired {
        /// Which pairing.
        pairing_id: PairingId,
        /// True when it was this device.
        own: bool,
    },
    /// The epoch of the pairing's channel was rotated; sequence numbers and states go on.
    Rotated {
        /// The new epoch.
        epoch: u32,
    },
    /// A fresh epoch of the channel of the binding stands.
    BindingUp {
        /// Its number.
        epoch: u32,
    },
    /// A full handshake is due: by age, by number of epochs, or after an alarm. The owner is to ask the authority
    /// for a new pairing; the present one works on until [`Limits::epochs_max`].
    HandshakeDue,
    /// A channel was sent too much that did not open.
    Alarm {
        /// Which channel, named by its tier.
        tier: Tier,
        /// What happened.
        alarm: Alarm,
    },
    /// More is required in this relationship from now on.
    Escalated {
        /// The level asked for.
        target: ValidationLevel,
        /// Why.
        reason: EscalationReason,
        /// How soon.
        urgency: Urgency,
        /// True when this device asked.
        own: bool,
    },
    /// What was raised is over.
    EscalationEnded {
        /// The level that was asked for.
        level: ValidationLevel,
        /// The validation that ended it; `None` for the passing of time.
        by: Option<ValidationLevel>,
    },
    /// The peer asks more often than it may.
    EscalationOverflow {
        /// Requests that were not judged, since this was last told.
        count: u32,
    },
    /// A handshake did not succeed within its tries.
    Failed {
        /// Which one.
        kind: Kind,
    },
    /// The assurance of the binding in force does not allow what was asked (H79); nothing was done.
    Denied {
        /// What was asked.
        operation: Operation,
    },
}

/// A PDU of this module's own making that it keeps for a repetition.
type Short = heapless::Vec<u8, 160>;

fn short(pdu: &Pdu) -> Result<Short, Error> {
    Short::from_slice(pdu).map_err(|_| Error::BufferTooSmall)
}

/// A statement for the authority, kept as long as it may be asked for.
type Answer = heapless::Vec<u8, 256>;

fn long(kept: &[u8]) -> Result<Pdu, Error> {
    Pdu::from_slice(kept).map_err(|_| Error::BufferTooSmall)
}

/// A handshake under way.
enum Run {
    /// A sent M1.
    Asked { kind: Kind, context: Context, initiator: Initiator },
    /// A sent M3 and waits for the peer's first sealed message; whether the authority is told then.
    Answered { kind: Kind, tier: Tier, m3: Short, tells: bool },
    /// B sent M2.
    Responded { kind: Kind, context: Context, responder: Responder, key: Option<Secret<64>> },
    /// A sent M1 of RESUME for the channel that `tier` names.
    ResumeAsked { tier: Tier, m1: resume::Request },
    /// B sent M2 of RESUME for the channel that `tier` names.
    ResumeResponded { tier: Tier, m1: resume::Request, m2: resume::Response },
}

struct Timer {
    due: Instant,
    tries: u8,
}

/// A relationship in any stage.
pub struct Relation {
    slot: u8,
    bond: Option<Bond>,
    /// The binding whose keys were lost or rest: zero when not even its number can be read (H137).
    lost: Option<BindingId>,
    pending_bond: Option<PendingBond>,
    pending_pair: Option<PendingPair>,
    run: Option<Run>,
    timer: Option<Timer>,
    /// Channel of the pairing, tiers exch and pair.
    pair: Option<Channel>,
    /// Side A, while B has one of two pairings: the other one.
    beside: Option<beside::Beside>,
    /// Flash holds a pairing beside that of the relationship.
    has_beside: bool,
    /// Channel of the binding.
    bind: Option<Channel>,
    /// In force.
    limits: Limits,
    agreement: agreement::Agreement,
    upkeep: Upkeep,
    format: FrameFormat,
    pairing_id: Option<PairingId>,
    lease: Option<Lease>,
    lease_end_told: bool,
    /// Powered seconds of the device, for the lease that a certificate grants.
    powered: u32,
    /// The peer that was revoked: its keys are erased and its place stays empty.
    revoked: Option<Cid>,
    counts: Counts,
    expires: u32,
    /// When the latest certificate that served this binding was issued: only a later one is taken (H53).
    issued: u32,
    /// What the certificate of the pairing in force lets stay clear.
    stay_clear: stay_clear::StayClear,
    peer_boot: u32,
    /// Last statement for the authority, repeated when it asks again.
    answer: Option<(BindingOrPairing, Answer)>,
    last_run: Option<Instant>,
    /// When A tries RESUME again after it was given up.
    again: Option<Instant>,
    /// Hash of the M3 that was accepted last: only its exact repetition is confirmed again.
    last_m3: Option<Digest>,
    /// The channel that it was about.
    last_m3_tier: Tier,
    /// First level-5 challenge that B hands out with its confirmation.
    challenge: u32,
    /// What a device channel says about the peer.
    offer: Option<Offer>,
    escalation: Escalation,
    /// Announces of the peer.
    pub(crate) heard: Heard,
    /// Events of the peer that this device was the witness of.
    witnessed: Witnessed,
    /// What both sides signed last: hash of the record of a binding, or digest of a completion.
    signed: Digest,
    ending: Option<ending::Ending>,
    proof: SessionProof,
}

/// Whether B is to state its next session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionProof {
    None,
    Wanted,
    /// It stands, and this is its T3.
    Of(Digest),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BindingOrPairing {
    Binding(BindingId),
    Pairing(PairingId),
}

impl Relation {
    /// An empty relationship, kept in flash slot `slot`.
    #[inline(never)]
    pub fn new(slot: u8) -> Self {
        Relation {
            slot,
            bond: None,
            lost: None,
            pending_bond: None,
            pending_pair: None,
            run: None,
            timer: None,
            pair: None,
            beside: None,
            has_beside: false,
            bind: None,
            limits: Limits::DEFAULT,
            agreement: agreement::Agreement::FACTORY,
            upkeep: Upkeep::default(),
            format: FrameFormat::Classical,
            pairing_id: None,
            lease: None,
            lease_end_told: false,
            powered: 0,
            revoked: None,
            counts: Counts::default(),
            expires: 0,
            issued: 0,
            stay_clear: stay_clear::StayClear::new(),
            peer_boot: 0,
            answer: None,
            last_run: None,
            again: None,
            last_m3: None,
            last_m3_tier: Tier::Pair,
            challenge: 0,
            offer: None,
            escalation: Escalation::default(),
            heard: Heard::default(),
            witnessed: Witnessed::default(),
            signed: [0; 32],
            ending: None,
            proof: SessionProof::None,
        }
    }

    /// Restores the records that `load` finds; absent ones leave that stage empty. After an error nothing is restored:
    /// a record is damaged, or a key in it is not one (H137).
    pub fn restore(&mut self, own: &Identity, load: impl FnMut(u16) -> Loaded) -> Result<(), Error> {
        let restored = self.try_restore(own, load);
        if restored.is_err() {
            *self = Relation::new(self.slot);
        }
        restored
    }

    fn try_restore(&mut self, own: &Identity, mut load: impl FnMut(u16) -> Loaded) -> Result<(), Error> {
        if let Some(bytes) = load(key::bond(self.slot))? {
            match *bytes {
                [TOMBSTONE, ref cid @ ..] => self.revoked = Some(Cid::from_slice(cid)?),
                _ => self.bond = Some(Bond::decode(&bytes)?),
            }
        }
        let Some(peer) = self.peer() else {
            return Ok(());
        };
        self.restore_binding(own, peer, load(key::binding(self.slot))?.as_deref())?;
        if let Some(record) = load(key::issued(self.slot))? {
            self.restore_issued(&record)?;
        }
        if let (Some(record), Some((binding, _))) = (load(key::agreed(self.slot))?, self.binding()) {
            self.agreement.restore(&record, binding)?;
        }
        let raised = load(key::escalation(self.slot))?.filter(|record| !record.is_empty());
        if let (Some(record), Some((binding, _))) = (raised, self.binding()) {
            self.escalation = Escalation::restore(&record, binding)?;
        }
        let Some(bytes) = load(key::session(self.slot))?.filter(|record| !record.is_empty()) else {
            return Ok(());
        };
        let (issued, sends) = (self.issued, direction(own, peer));
        self.restore_session(&bytes, sends)?;
        self.restore_rights(&mut load)?;
        self.upkeep.used_s = load(key::age(self.slot))?.map_or(Ok(0), |record| versioned_u32(&record))?;
        self.restore_beside(sends, load)?;
        self.issued = self.issued.max(issued);
        Ok(())
    }

    /// Its place in flash.
    pub fn slot(&self) -> u8 {
        self.slot
    }
    /// The bound peer.
    pub fn peer(&self) -> Option<(Cid, Role)> {
        self.bond.as_ref().map(|b| b.peer)
    }
    /// The binding in force and its assurance.
    pub fn binding(&self) -> Option<(BindingId, Assurance)> {
        self.bond.as_ref().map(|b| (b.binding_id, b.assurance))
    }
    /// The peer's relationship key.
    pub fn peer_spk(&self) -> Option<&Spk> {
        self.bond.as_ref().map(|b| &b.peer_spk)
    }
    /// The highest boot counter that the peer proved.
    pub(crate) fn peer_boot(&self) -> u32 {
        self.peer_boot
    }
    /// This entity's relationship key.
    pub fn own_spk(&self) -> Option<&SpkSecret> {
        self.bond.as_ref().map(|b| &b.own)
    }
    /// True when a pairing is stored, whether or not its channel is up.
    pub fn is_paired(&self) -> bool {
        self.pair.is_some()
    }
    /// True when sealed messages flow in an epoch of this start.
    pub fn is_up(&self) -> bool {
        self.pair.as_ref().is_some_and(Channel::is_up)
    }
    /// How far this relationship protects, for the class table.
    pub fn device_state(&self) -> DeviceState {
        match (self.is_paired(), self.bond.is_some()) {
            (true, _) => DeviceState::Paired,
            (false, true) => DeviceState::Bootstrap,
            (false, false) => DeviceState::Factory,
        }
    }
    /// True while A waits for the first answer to the RESUME of the pairing.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.run, Some(Run::ResumeAsked { tier: Tier::Pair, .. }))
    }
    /// True while a handshake is under way that nothing may displace. That of the binding's RESUME waits for the
    /// pairing's.
    pub fn is_busy(&self) -> bool {
        match &self.run {
            None | Some(Run::ResumeAsked { tier: Tier::Bind, .. }) => false,
            Some(Run::Answered { kind: Kind::Resume, tier: Tier::Bind, .. }) => false,
            Some(_) => true,
        }
    }
    /// The session of the pairing, if its channel is up.
    pub fn session(&self) -> Option<&Session> {
        self.pair.as_ref().filter(|c| c.is_up()).map(|c| &c.session)
    }
    /// The session of the stored pairing, whether or not its channel is up.
    pub fn stored_session(&self) -> Option<&Session> {
        self.pair.as_ref().map(|c| &c.session)
    }
    /// The sessions of the stored binding and pairing, whether or not their channels are up.
    pub fn stored_sessions(&self) -> impl Iterator<Item = &Session> {
        [&self.bind, &self.pair].into_iter().flatten().map(|c| &c.session)
    }
    /// True when the relationship concerns this partner, bound or being bound.
    pub fn concerns(&self, partner: Cid) -> bool {
        self.peer().is_some_and(|(cid, _)| cid == partner)
            || self.pending_bond.as_ref().is_some_and(|p| p.request.partner.0 == partner)
    }
    /// Says what a device channel established about the peer; `None` when there is none (H78).
    pub fn set_offer(&mut self, offer: Option<Offer>) {
        self.offer = offer;
    }
    /// True while a binding is under way whose introduction came while a device channel with the partner stood: its run
    /// travels inside that channel or not at all (H78).
    pub fn is_shielded(&self) -> bool {
        self.pending_bond.as_ref().is_some_and(|p| p.shielded)
    }
    /// Sets the challenge that B announces with its next confirmation.
    pub fn set_challenge(&mut self, challenge: u32) {
        self.challenge = challenge;
    }

    /// True when this is the relationship that `binding_id` is about.
    pub fn is_about(&self, binding_id: BindingId) -> bool {
        self.pending_bond.as_ref().is_some_and(|p| p.request.binding_id == binding_id)
            || self.bond.as_ref().is_some_and(|b| b.binding_id == binding_id)
    }

    /// When RESUME is tried again; a pairing that ended meanwhile leaves nothing to try.
    fn resume_due(&self) -> Option<Instant> {
        self.again.filter(|_| self.run.is_none() && self.is_paired())
    }

    /// When [`Relation::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let escalation = self.escalation.due(self.is_up());
        let timer = self.timer.as_ref().map(|t| t.due);
        [timer, self.resume_due(), escalation, self.ending_due(), self.upkeep_due()]
            .into_iter()
            .flatten()
            .min()
    }

    // --- authority's messages -------------------------------------------------------------------------

    /// A bind request addressed to this entity: draws a fresh relationship key and answers with it.
    pub fn bind_request(
        &mut self,
        own: &Identity,
        issuer: &Spk,
        request: &[u8],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let request = BindRequest::open(request, &issuer.sign_pub())?;
        if request.own != (own.cid(), own.role) {
            return Err(Error::WrongParty);
        }
        let repeated =
            self.pending_bond.as_ref().is_some_and(|p| p.request == request && p.issuer == *issuer);
        if !repeated {
            let secret = SpkSecret::generate(rng)?;
            self.pending_bond = Some(PendingBond {
                request,
                issuer: *issuer,
                own: secret,
                introduction: None,
                shielded: false,
                package: None,
                leave: self.question(own, rng),
                position: None,
            });
            // A run for the request before has no key any more.
            let stale = match &self.run {
                Some(Run::Asked { kind, .. } | Run::Answered { kind, .. } | Run::Responded { kind, .. }) => {
                    *kind == Kind::Bind
                }
                _ => false,
            };
            if stale {
                (self.run, self.timer) = (None, None);
            }
        }
        let Some(pending) = &self.pending_bond else {
            return Err(Error::WrongParty);
        };
        let spk = pending.own.public();
        let digest = lct::attest::spk_attestation_digest(
            &own.cid(),
            own.role,
            &spk,
            &pending.request.partner.0,
            &pending.request.nonce,
        );
        let attestation = own.key.sign(&digest, rng);
        let mut keys =
            pdu::build(&[&[pdu::BINDING, op::KEYS], &pending.request.binding_id.0, &spk.0, &attestation.0])?;
        if let Some(question) = &pending.leave {
            keys.extend_from_slice(&question.nonce).map_err(|_| Error::BufferTooSmall)?;
            keys.extend_from_slice(&question.old.0).map_err(|_| Error::BufferTooSmall)?;
        }
        push(fx, Effect::ToAuthority(keys))
    }

    /// The partner's attested key. A starts the BIND handshake at once. `position` is boot counter and number of the event
    /// in which this device says what the binding replaces, where it replaces one.
    pub fn introduction(
        &mut self,
        own: &Identity,
        issuer: &Spk,
        bytes: &[u8],
        now: Instant,
        position: (u32, u32),
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (bytes, token) = Introduction::split(bytes)?;
        let intro = Introduction::open(bytes, &issuer.sign_pub())?;
        if self.repeat_answer(BindingOrPairing::Binding(intro.binding_id), fx)? {
            return Ok(());
        }
        let id = intro.binding_id;
        let pending =
            self.pending_bond.as_mut().filter(|p| p.request.binding_id == id).ok_or(Error::WrongParty)?;
        // H162: a ceremony has one issuer from its request on.
        if intro.own != own.cid() || pending.issuer != *issuer {
            return Err(Error::WrongParty);
        }
        let partner = pending.request.partner;
        let device = self.offer.filter(|o| o.cid == partner.0);
        let shielded = device.is_some();
        if let Some(question) = &pending.leave {
            if !permits(intro.assurance, Operation::Rebind) {
                // What was open to anybody on the bus never takes the place of a binding.
                push(fx, Effect::Event(RelationEvent::Denied { operation: Operation::Rebind }))?;
                return Err(Error::WrongParty);
            }
            question.is_granted_by(token.ok_or(Error::NotAuthentic)?, &issuer.sign_pub())?;
        }
        offer::judge(&intro, partner, &own.root, device)?;
        (pending.introduction, pending.shielded, pending.position) = (Some(intro), shielded, Some(position));
        push(fx, Effect::ToAuthority(status(pdu::BINDING, op::STATUS, &id.0, Status::Accepted)?))?;
        if is_side_a(own.role, own.cid(), partner.1, partner.0) {
            self.start(Kind::Bind, own, now, position.0, fx, rng)?;
        }
        Ok(())
    }

    /// A pairing certificate. A starts the PAIR handshake at once.
    pub fn certificate(
        &mut self,
        own: &Identity,
        issuer: &Spk,
        policies: &Policies,
        bytes: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let cert = Certificate::parse(bytes)?;
        cert.verify(&issuer.sign_pub())?;
        if self.repeat_answer(BindingOrPairing::Pairing(cert.pairing_id), fx)? {
            return Ok(());
        }
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let metadata = ClearMetadata::decode(cert.clear_metadata)?;
        let [a, b] = &metadata.entities;
        let side = if is_side_a(own.role, own.cid(), bond.peer.1, bond.peer.0) { Side::A } else { Side::B };
        let (me, peer) = match side {
            Side::A => (a, b),
            Side::B => (b, a),
        };
        if metadata.pairing_id != cert.pairing_id
            || (me.cid, me.role) != (own.cid(), own.role)
            || (peer.cid, peer.role) != bond.peer
        {
            return Err(Error::WrongParty);
        }
        // One that waits for its run, or whose run is not confirmed yet, may come again.
        let waits = self.pending_pair.as_ref().is_some_and(|p| p.cert_hash == cert.hash());
        if metadata.timing.created <= self.issued && !waits {
            return Err(Error::Expired);
        }
        if !is_acceptable(&metadata.compact) {
            return Err(Error::WrongParty);
        }
        let lease_s = metadata.timing.expires.saturating_sub(metadata.timing.valid_from);
        let agreed = self.next_terms(policies).filter(|t| t.version == metadata.policy_version);
        // H151: what asks for more than level 6 asks for another binding.
        let enough = self.suffices(now, level::Operation::Pair, ValidationLevel::Pairing);
        let Some(terms) = agreed.filter(|t| enough && lease_s <= t.rotation.certificate_s) else {
            let (kind, id) = (pdu::CERTIFICATE_STATUS, &cert.pairing_id.0);
            let refused = status(pdu::CERTIFICATE, kind, id, Status::WrongState)?;
            return push(fx, Effect::ToAuthority(refused));
        };
        let section = cert.open_section(side, &bond.own, issuer)?;
        self.pending_pair = Some(PendingPair {
            pairing_id: cert.pairing_id,
            issuer: issuer.sign_pub(),
            section,
            cm_hash: cert.cm_hash(),
            cert_hash: cert.hash(),
            salt: metadata.salt,
            policy_hash: terms.hash(metadata.iv_seed)?,
            limits: self.limits_under(&terms),
            expires: metadata.timing.expires,
            issued: metadata.timing.created,
            lease: Lease::granted(&metadata, self.powered),
            compact: metadata.compact,
            stay_clear: stay_clear::admitted(terms.table, &metadata.unencrypted_allowed),
            validation: cert.validation()?,
        });
        let accepted =
            status(pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS, &cert.pairing_id.0, Status::Accepted)?;
        push(fx, Effect::ToAuthority(accepted))?;
        if side == Side::A {
            self.start(Kind::Pair, own, now, boot, fx, rng)?;
        }
        Ok(())
    }

    /// Whether an introduction of this binding is one that was carried out, and only its answer is told again.
    pub(crate) fn has_answered(&self, id: BindingId) -> bool {
        matches!(&self.answer, Some((BindingOrPairing::Binding(known), _)) if *known == id)
    }

    fn repeat_answer(&self, what: BindingOrPairing, fx: &mut Effects) -> Result<bool, Error> {
        match &self.answer {
            Some((known, pdu)) if *known == what => {
                push(fx, Effect::ToAuthority(long(pdu)?))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    // --- time -----------------------------------------------------------------------------------------

    /// Repeats or abandons what waited too long.
    pub fn tick(
        &mut self,
        own: &Identity,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.tend_escalation(now, fx)?;
        self.tend_ending(now, fx)?;
        if self.upkeep(now, boot, fx, rng)? {
            return Ok(());
        }
        if self.resume_due().is_some_and(|t| t <= now) {
            return self.resume(now, boot, fx, rng);
        }
        let Some(timer) = self.timer.as_ref().filter(|t| t.due <= now) else {
            return Ok(());
        };
        let tries = timer.tries;
        match &self.run {
            Some(Run::Answered { m3, .. }) if tries < TRIES => {
                push(fx, Effect::ToPeer(long(m3)?))?;
                self.arm(now, CONFIRM_TIMEOUT);
                Ok(())
            }
            Some(Run::Asked { kind, .. }) if tries < TRIES => {
                let kind = *kind;
                self.start(kind, own, now, boot, fx, rng)
            }
            Some(Run::ResumeAsked { tier, .. }) if tries < TRIES => {
                let tier = *tier;
                self.resume_channel(tier, now, boot, fx, rng)
            }
            Some(run) => {
                let (kind, tier, initiated) = match run {
                    Run::Answered { kind, tier, .. } => (*kind, *tier, true),
                    Run::Asked { kind, .. } => (*kind, home(*kind), true),
                    Run::Responded { kind, .. } => (*kind, home(*kind), false),
                    Run::ResumeAsked { tier, .. } => (Kind::Resume, *tier, true),
                    Run::ResumeResponded { tier, .. } => (Kind::Resume, *tier, false),
                };
                (self.run, self.timer) = (None, None);
                // What was answered but never confirmed may be begun again when the authority asks again.
                if kind != Kind::Resume && !self.channel(tier).is_some_and(Channel::is_up) {
                    self.answer = None;
                }
                // The channel of the binding has a longer pause of its own.
                if tier != Tier::Bind || kind != Kind::Resume {
                    self.again = (initiated && self.is_paired()).then(|| now + RESUME_AGAIN);
                }
                if initiated { push(fx, Effect::Event(RelationEvent::Failed { kind })) } else { Ok(()) }
            }
            None => {
                self.timer = None;
                Ok(())
            }
        }
    }

    // --- sealed traffic -------------------------------------------------------------------------------

    /// Seals `body` as message `base` of `id`; first leaves a due reservation in `fx`.
    ///
    /// What it leaves there counts as durable from then on: it must be stored also when sealing fails.
    pub fn seal(
        &mut self,
        own: &Identity,
        id: SealedId,
        base: u16,
        h0: u8,
        body: &[&[u8]],
        out: &mut [u8],
        fx: &mut Effects,
    ) -> Result<usize, Error> {
        let tier = tier_of(id.level());
        let (slot, format) = (self.slot, self.format);
        self.save(tier, fx)?;
        let channel = self.channel_mut(tier).filter(|c| c.fresh).ok_or(Error::InvalidKey)?;
        channel.session.set_format(format);
        reserve(&mut channel.session, tier, slot, own, fx)?;
        let n = channel.session.seal(id, base, h0, body, out)?;
        self.counts.sealed = self.counts.sealed.saturating_add(1);
        Ok(n)
    }

    /// Seals `body` of 4 or 8 bytes as compact message `base`; `None` when the pairing does not allow that. For `fx` holds
    /// what [`Relation::seal`] says.
    pub fn seal_compact(
        &mut self,
        own: &Identity,
        id: SealedId,
        base: u16,
        body: &[u8],
        out: &mut [u8],
        fx: &mut Effects,
    ) -> Result<Option<usize>, Error> {
        let slot = self.slot;
        let allowed = |c: &&mut Channel| c.fresh && c.session.compact_bases().contains(&base);
        if self.pair.as_mut().filter(allowed).is_none() {
            return Ok(None);
        }
        self.save(Tier::Pair, fx)?;
        let channel = self.pair.as_mut().ok_or(Error::InvalidKey)?;
        reserve(&mut channel.session, Tier::Exch, slot, own, fx)?;
        channel.session.seal_compact(id, base, body, out).map(Some)
    }

    /// Opens a sealed message of the peer.
    pub fn open<'a>(
        &mut self,
        now: Instant,
        id: SealedId,
        sealed: &'a mut [u8],
    ) -> Result<Opened<'a>, Refusal> {
        let tier = tier_of(id.level());
        let limits = self.limits;
        let channel = self.channel_mut(tier).filter(|c| c.fresh).ok_or(Refusal::UnknownKey)?;
        let result = channel.session.open(now, &limits, id, sealed);
        self.counts.opened(result.as_ref().err());
        self.noticed(now, tier);
        result
    }

    /// Says what frames the bus carries: on CAN FD short sealed messages are padded to one frame (H99).
    pub fn set_format(&mut self, format: FrameFormat) {
        self.format = format;
    }
}

/// Leaves a due reservation in `fx`, and takes note of it.
fn reserve(
    session: &mut Session,
    tier: Tier,
    slot: u8,
    own: &Identity,
    fx: &mut Effects,
) -> Result<(), Error> {
    if let Some(due) = session.due(tier, slot) {
        let record = due.encode(&own.storage_key()?);
        push(fx, Effect::Store(Record::new(key::counter(slot, tier), &[&record])?))?;
        session.reserved(&due);
    }
    Ok(())
}

fn direction(own: &Identity, peer: (Cid, Role)) -> Direction {
    if is_side_a(own.role, own.cid(), peer.1, peer.0) { Direction::Ab } else { Direction::Ba }
}

fn status(kind: u8, operation: u8, id: &[u8; 16], status: Status) -> Result<Pdu, Error> {
    pdu::build(&[&[kind, operation], id, &[status as u8]])
}

fn push(fx: &mut Effects, effect: Effect) -> Result<(), Error> {
    fx.push_back(effect).map_err(|_| Error::BufferTooSmall)
}
