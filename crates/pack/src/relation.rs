//! One entity's relationship with one peer, from the authority's bind request to a paired channel, and back
//! to life after each start (`spec/channel.md`, H10 to H19 and H45 to H55).
//!
//! The same machine serves both sides: which one it is follows from the roles. It consumes security PDUs and
//! time, and leaves [`Effect`]s in order; a [`Effect::Store`] must be durable before what follows it is sent.

use crate::{
    identity::{Identity, Record, key},
    pdu::{self, Pdu, Status, binding as op},
    policy,
    sealed_id::SealedId,
    session::{Opened, Refusal, Session, tier_of},
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    binding::{Assurance, BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, SealedValidation, Section, VALIDATION_BUFFER},
    codec::Fields,
    exchange::{Side, open_half, pairing_key, seal_half},
    handshake::{
        Context, Ephemeral, Established, Initiator, Kind, Psk, Request, Responder, Response, SIGNED,
    },
    id::{BindingId, Cid, PairingId, Role, is_side_a},
    metadata::{ClearMetadata, LinkParameters},
    pairing::Completion,
    resume,
    schedule::{Direction, ExchangeTag, MasterSecret, Tier},
    secret::Secret,
    spk::{Spk, SpkSecret},
};
use rand_core::CryptoRng;

/// How long A waits for M2 before it starts again, and a half-open run lives on B.
pub const RUN_TIMEOUT: Duration = Duration::from_millis(2_000);
/// How long A waits for the first sealed message of B before it repeats M3.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);
/// Runs or repetitions before a handshake counts as failed.
pub const TRIES: u8 = 6;

/// Parameters of a link before any pairing: no seed, fixed suite.
const UNPAIRED: LinkParameters = LinkParameters { iv_seed: [0; 16], kdf: 1, aead: 1, rotation_days: 30 };

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
pub type Effects = heapless::Deque<Effect, 8>;

/// What happened to the relationship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationEvent {
    /// Both sides proved possession of their relationship keys.
    Bound {
        /// Which binding.
        binding_id: BindingId,
        /// How the identities were established.
        assurance: Assurance,
    },
    /// The pairing's session stands on this side.
    Paired {
        /// Which pairing.
        pairing_id: PairingId,
    },
    /// A fresh epoch stands.
    ChannelUp {
        /// Its number.
        epoch: u32,
        /// The peer's first level-5 challenge, known to the A side.
        challenge: Option<u32>,
    },
    /// A handshake did not succeed within its tries.
    Failed {
        /// Which one.
        kind: Kind,
    },
    /// Something was refused.
    Refused {
        /// Why.
        error: Error,
    },
}

struct Bond {
    binding_id: BindingId,
    peer: (Cid, Role),
    peer_spk: Spk,
    own: SpkSecret,
    assurance: Assurance,
}

struct PendingBond {
    request: BindRequest,
    own: SpkSecret,
    introduction: Option<Introduction>,
}

struct PendingPair {
    pairing_id: PairingId,
    section: Section,
    cm_hash: Digest,
    cert_hash: Digest,
    salt: [u8; 32],
    parameters: LinkParameters,
    expires: u32,
    validation: SealedValidation,
}

/// A PDU of this module's own making that it keeps for a repetition.
type Short = heapless::Vec<u8, 160>;

fn short(pdu: &Pdu) -> Result<Short, Error> {
    Short::from_slice(pdu).map_err(|_| Error::BufferTooSmall)
}

fn long(short: &Short) -> Result<Pdu, Error> {
    Pdu::from_slice(short).map_err(|_| Error::BufferTooSmall)
}

/// A handshake under way.
enum Run {
    /// A sent M1.
    Asked { kind: Kind, context: Context, initiator: Initiator },
    /// A sent M3 and waits for the peer's first sealed message.
    Answered { kind: Kind, m3: Short, completion: Option<Short> },
    /// B sent M2.
    Responded { kind: Kind, context: Context, responder: Responder, key: Option<Secret<64>> },
    /// A sent M1 of RESUME.
    ResumeAsked { m1: resume::Request },
    /// B sent M2 of RESUME.
    ResumeResponded { m1: resume::Request, m2: resume::Response },
}

struct Timer {
    due: Instant,
    tries: u8,
}

/// A relationship in any stage.
pub struct Relation {
    slot: u8,
    bond: Option<Bond>,
    pending_bond: Option<PendingBond>,
    pending_pair: Option<PendingPair>,
    run: Option<Run>,
    timer: Option<Timer>,
    /// Session of the binding handshake until a pairing's takes its place.
    session: Option<Session>,
    /// Master secret before the last RESUME, until the peer proved the new epoch.
    previous: Option<MasterSecret>,
    /// True once this start's epoch is agreed: nothing sealed is accepted before.
    fresh: bool,
    pairing_id: Option<PairingId>,
    expires: u32,
    peer_boot: u32,
    /// Last statement for the authority, repeated when it asks again.
    answer: Option<(BindingOrPairing, Short)>,
    last_run: Option<Instant>,
    /// First level-5 challenge that B hands out with its confirmation.
    challenge: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BindingOrPairing {
    Binding(BindingId),
    Pairing(PairingId),
}

impl Relation {
    /// An empty relationship, kept in flash slot `slot`.
    pub fn new(slot: u8) -> Self {
        Relation {
            slot,
            bond: None,
            pending_bond: None,
            pending_pair: None,
            run: None,
            timer: None,
            session: None,
            previous: None,
            fresh: false,
            pairing_id: None,
            expires: 0,
            peer_boot: 0,
            answer: None,
            last_run: None,
            challenge: 0,
        }
    }

    /// Restores the records that `load` finds; absent ones leave that stage empty, damaged ones are an error.
    pub fn restore<'a>(
        &mut self,
        own: &Identity,
        mut load: impl FnMut(u16) -> Option<&'a [u8]>,
    ) -> Result<(), Error> {
        if let Some(bytes) = load(key::bond(self.slot)) {
            self.bond = Some(Bond::decode(bytes)?);
        }
        let (Some(bytes), Some(bond)) = (load(key::session(self.slot)), &self.bond) else {
            return Ok(());
        };
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        self.pairing_id = Some(PairingId(f.array()?));
        self.expires = f.u32()?;
        self.peer_boot = f.u32()?;
        let th4 = f.array()?;
        let epoch = f.u32()?;
        let master = MasterSecret(Secret::new(f.array()?));
        let previous = MasterSecret(Secret::new(f.array()?));
        let has_previous = f.u8()? == 1;
        let exchange = ExchangeTag(Secret::new(f.array()?));
        f.end()?;
        self.previous = has_previous.then_some(previous);
        let sends = direction(own, bond.peer);
        self.session = Some(Session::at_epoch(Kind::Pair, th4, epoch, master, Some(exchange), sends)?);
        Ok(())
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
    /// This entity's relationship key.
    pub fn own_spk(&self) -> Option<&SpkSecret> {
        self.bond.as_ref().map(|b| &b.own)
    }
    /// True when a pairing is stored, whether or not its channel is up.
    pub fn is_paired(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.kind() == Kind::Pair)
    }
    /// True when sealed messages flow in an epoch of this start.
    pub fn is_up(&self) -> bool {
        self.is_paired() && self.fresh && !matches!(self.run, Some(Run::Answered { .. }))
    }
    /// True while a handshake is under way.
    pub fn is_busy(&self) -> bool {
        self.run.is_some()
    }
    /// The session, if its channel is up.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| self.is_up())
    }
    /// True when the relationship concerns this partner, bound or being bound.
    pub fn concerns(&self, partner: Cid) -> bool {
        self.peer().is_some_and(|(cid, _)| cid == partner)
            || self.pending_bond.as_ref().is_some_and(|p| p.request.partner.0 == partner)
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

    /// When [`Relation::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.timer.as_ref().map(|t| t.due)
    }

    // --- authority's messages -------------------------------------------------------------------------

    /// A bind request addressed to this entity: draws a fresh relationship key and answers with it.
    pub fn bind_request(
        &mut self,
        own: &Identity,
        request: &[u8],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let request = BindRequest::open(request, &own.authority.sign_pub())?;
        if request.own != (own.cid(), own.role) {
            return Err(Error::WrongParty);
        }
        let repeated = self.pending_bond.as_ref().is_some_and(|p| p.request == request);
        if !repeated {
            let secret = SpkSecret::generate(rng)?;
            self.pending_bond = Some(PendingBond { request, own: secret, introduction: None });
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
        let head = [pdu::BINDING, op::KEYS];
        push(
            fx,
            Effect::ToAuthority(pdu::build(&[&head, &pending.request.binding_id.0, &spk.0, &attestation.0])?),
        )
    }

    /// The partner's attested key. A starts the BIND handshake at once.
    pub fn introduction(
        &mut self,
        own: &Identity,
        bytes: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let intro = Introduction::open(bytes, &own.authority.sign_pub())?;
        if self.repeat_answer(BindingOrPairing::Binding(intro.binding_id), fx)? {
            return Ok(());
        }
        let id = intro.binding_id;
        let pending =
            self.pending_bond.as_mut().filter(|p| p.request.binding_id == id).ok_or(Error::WrongParty)?;
        if intro.own != own.cid() {
            return Err(Error::WrongParty);
        }
        intro.verify_partner(pending.request.partner, &[own.root])?;
        pending.introduction = Some(intro);
        let partner = pending.request.partner;
        push(fx, Effect::ToAuthority(status(pdu::BINDING, op::STATUS, &id.0, Status::Accepted)?))?;
        if is_side_a(own.role, own.cid(), partner.1, partner.0) {
            self.start(Kind::Bind, own, now, boot, fx, rng)?;
        }
        Ok(())
    }

    /// A pairing certificate. A starts the PAIR handshake at once.
    pub fn certificate(
        &mut self,
        own: &Identity,
        bytes: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let cert = Certificate::parse(bytes)?;
        cert.verify(&own.authority.sign_pub())?;
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
        let section = cert.open_section(side, &bond.own, &own.authority)?;
        self.pending_pair = Some(PendingPair {
            pairing_id: cert.pairing_id,
            section,
            cm_hash: cert.cm_hash(),
            cert_hash: cert.hash(),
            salt: metadata.salt,
            parameters: LinkParameters { iv_seed: metadata.iv_seed, ..UNPAIRED },
            expires: metadata.timing.expires,
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

    fn repeat_answer(&self, what: BindingOrPairing, fx: &mut Effects) -> Result<bool, Error> {
        match &self.answer {
            Some((known, pdu)) if *known == what => {
                push(fx, Effect::ToAuthority(long(pdu)?))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    // --- handshakes -----------------------------------------------------------------------------------

    /// A starts RESUME of a stored pairing.
    pub fn resume(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let session = self.paired_session()?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m1 = state(session, session.master(), session.epoch()).request(boot, &nonce);
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.run = Some(Run::ResumeAsked { m1 });
        self.arm(now, RUN_TIMEOUT);
        Ok(())
    }

    /// B asks A for a run: it lost its epoch.
    pub fn ask_for_run(fx: &mut Effects) -> Result<(), Error> {
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE, 0x01, 0x7F, 0x00, lct::SUITE]])?))
    }

    fn arm(&mut self, now: Instant, after: Duration) {
        let tries = self.timer.as_ref().map_or(0, |t| t.tries) + 1;
        self.timer = Some(Timer { due: now + after, tries });
    }

    fn context(&self, kind: Kind, own: &Identity) -> Result<Context, Error> {
        let (peer, own_spk, peer_spk) = match kind {
            Kind::Bind => {
                let p = self.pending_bond.as_ref().ok_or(Error::WrongParty)?;
                let intro = p.introduction.as_ref().ok_or(Error::WrongParty)?;
                (p.request.partner, p.own.public(), intro.spk)
            }
            Kind::Pair => {
                let b = self.bond.as_ref().ok_or(Error::WrongParty)?;
                (b.peer, b.own.public(), b.peer_spk)
            }
            _ => return Err(Error::WrongParty),
        };
        let pending = self.pending_pair.as_ref().filter(|_| kind == Kind::Pair);
        if kind == Kind::Pair && pending.is_none() {
            return Err(Error::WrongParty);
        }
        let parameters = pending.map_or(UNPAIRED, |p| p.parameters);
        let mine = (own.cid(), own_spk);
        let theirs = (peer.0, peer_spk);
        let (a, b) =
            if is_side_a(own.role, own.cid(), peer.1, peer.0) { (mine, theirs) } else { (theirs, mine) };
        Ok(Context {
            kind,
            flags: SIGNED,
            cid_a: a.0,
            cid_b: b.0,
            spk_a: Some(a.1),
            spk_b: Some(b.1),
            cert_hash: pending.map(|p| p.cert_hash),
            policy_hash: lct::metadata::policy_hash(&policy::table_bytes(), &parameters),
            salt: pending.map_or([0; 32], |p| p.salt),
        })
    }

    fn start(
        &mut self,
        kind: Kind,
        own: &Identity,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let context = self.context(kind, own)?;
        let half = match (kind, &self.pending_pair) {
            (Kind::Pair, Some(p)) => {
                Some(seal_half(Side::A, &p.section.half, &p.section.exchange_key, &p.cm_hash, &p.pairing_id)?)
            }
            _ => None,
        };
        let (initiator, m1) =
            Initiator::start(&context, Ephemeral::generate(rng), boot, half.as_ref(), None)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.run = Some(Run::Asked { kind, context, initiator });
        self.arm(now, RUN_TIMEOUT);
        Ok(())
    }

    /// A handshake message of the peer (without the PDU type byte).
    pub fn handshake(
        &mut self,
        own: &Identity,
        message: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let [version, code, ..] = *message else {
            return Err(Error::Malformed);
        };
        if version != 1 {
            return Err(Error::Malformed);
        }
        let kind = match code & 0x1F {
            2 => Kind::Bind,
            3 => Kind::Pair,
            4 => Kind::Resume,
            0x1F if code == 0x7F => return self.asked_for_run(now, boot, fx, rng),
            _ => return Err(Error::Malformed),
        };
        match (code & 0xE0, kind) {
            (0x00, Kind::Resume) => self.resume_m1(message, now, boot, fx, rng),
            (0x40, Kind::Resume) => self.resume_m2(message, now, fx),
            (0x80, Kind::Resume) => self.resume_m3(message, fx),
            (0x00, _) => self.on_m1(kind, own, message, now, boot, fx, rng),
            (0x40, _) => self.on_m2(own, message, now, fx, rng),
            (0x80, _) => self.on_m3(kind, own, message, fx, rng),
            _ => Err(Error::Malformed),
        }
    }

    fn asked_for_run(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let recent = self.last_run.is_some_and(|t| now < t + RUN_TIMEOUT);
        if !self.is_paired() || self.run.is_some() || recent {
            return Ok(());
        }
        self.last_run = Some(now);
        self.resume(now, boot, fx, rng)
    }

    fn on_m1(
        &mut self,
        kind: Kind,
        own: &Identity,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        // One new run a second per peer, before any agreement is computed.
        if self.last_run.is_some_and(|t| now < t + Duration::from_millis(1_000)) {
            return Ok(());
        }
        let context = self.context(kind, own)?;
        if context.cid_b != own.cid() {
            return Err(Error::WrongParty);
        }
        let request = Request::parse(&context, m1)?;
        self.last_run = Some(now);
        let (exchange, pairing) = match (&request.exchange, &self.pending_pair) {
            (Some(theirs), Some(p)) => {
                let xk = &p.section.exchange_key;
                let half_a = open_half(Side::A, theirs, xk, &p.cm_hash, &p.pairing_id)?;
                let pk = pairing_key(&half_a, &p.section.half)?;
                p.validation.check_key(&pk)?;
                (Some(seal_half(Side::B, &p.section.half, xk, &p.cm_hash, &p.pairing_id)?), Some(pk))
            }
            _ => (None, None),
        };
        let zero = [0; 32];
        let psk_pair = [pairing.as_ref().map_or(&[][..], |k| k.expose().as_slice()), &context.salt];
        let psk_bind = [zero.as_slice()];
        let psk = if kind == Kind::Pair { Psk(&psk_pair) } else { Psk(&psk_bind) };
        let key = match kind {
            Kind::Bind => self.pending_bond.as_ref().map(|p| p.own.signing_key()),
            _ => self.bond.as_ref().map(|b| b.own.signing_key()),
        };
        let ephemeral = Ephemeral::generate(rng);
        let (responder, m2) =
            Responder::answer(&context, ephemeral, boot, None, m1, exchange.as_ref(), &psk, key, rng)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::Responded { kind, context, responder, key: pairing });
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    fn on_m2(
        &mut self,
        own: &Identity,
        m2: &[u8],
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(Run::Asked { .. }) = self.run else {
            return Ok(());
        };
        let Some(Run::Asked { kind, context, initiator }) = self.run.take() else {
            return Ok(());
        };
        let response = Response::parse(&context, m2)?;
        let (done, m3, pairing) = match kind {
            Kind::Pair => {
                let p = self.pending_pair.as_ref().ok_or(Error::WrongParty)?;
                let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
                let theirs = response.exchange.as_ref().ok_or(Error::Malformed)?;
                let half_b = open_half(Side::B, theirs, &p.section.exchange_key, &p.cm_hash, &p.pairing_id)?;
                let pk = pairing_key(&p.section.half, &half_b)?;
                p.validation.check_key(&pk)?;
                let parts = [pk.expose().as_slice(), &context.salt];
                let (m3, done) =
                    initiator.finish(&context, m2, &Psk(&parts), Some(bond.own.signing_key()), rng)?;
                (done, m3, Some(pk))
            }
            _ => {
                let p = self.pending_bond.as_ref().ok_or(Error::WrongParty)?;
                let zero = [0; 32];
                let parts = [zero.as_slice()];
                let (m3, done) =
                    initiator.finish(&context, m2, &Psk(&parts), Some(p.own.signing_key()), rng)?;
                (done, m3, None)
            }
        };
        self.peer_boot = self.peer_boot.max(response.boot);
        let completion = self.open_session(kind, own, &done, pairing.as_ref(), fx, rng)?;
        self.fresh |= kind == Kind::Pair;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind, m3: short(&m3)?, completion: Some(short(&completion)?) });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    fn on_m3(
        &mut self,
        kind: Kind,
        own: &Identity,
        m3: &[u8],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(Run::Responded { .. }) = self.run else {
            // A did not hear the confirmation of a run that already stands.
            return self.confirm(kind, fx);
        };
        let Some(Run::Responded { kind, context, responder, key }) = self.run.take() else {
            return Ok(());
        };
        self.timer = None;
        let done = responder.finish(&context, m3)?;
        let completion = self.open_session(kind, own, &done, key.as_ref(), fx, rng)?;
        self.fresh = kind == Kind::Pair || self.fresh;
        self.confirm(kind, fx)?;
        push(fx, Effect::ToAuthority(completion))?;
        self.announce(kind, None, fx)
    }

    /// Opens the session of a finished handshake and returns this side's statement for the authority.
    fn open_session(
        &mut self,
        kind: Kind,
        own: &Identity,
        done: &Established,
        pairing: Option<&Secret<64>>,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<Pdu, Error> {
        if kind == Kind::Bind {
            let pending = self.pending_bond.take().ok_or(Error::WrongParty)?;
            let bond = Bond::confirmed(&pending)?;
            let session = Session::established(kind, done, None, direction(own, bond.peer))?;
            let record = binding_record(own, &pending)?;
            let sig = pending.own.signing_key().sign(&record.digest(), rng);
            push(fx, Effect::Store(Record::new(key::bond(self.slot), &[&bond.encode()?])?))?;
            let id = bond.binding_id;
            self.bond = Some(bond);
            // A new binding voids what was paired under the old one.
            (self.session, self.pairing_id, self.previous, self.fresh) = (Some(session), None, None, true);
            let answer = pdu::build(&[&[pdu::BINDING, op::SIGNED], &id.0, &sig.0])?;
            self.answer = Some((BindingOrPairing::Binding(id), short(&answer)?));
            return Ok(answer);
        }
        let p = self.pending_pair.take().ok_or(Error::WrongParty)?;
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let mut buffer = [0; VALIDATION_BUFFER];
        let validation =
            p.validation.open(pairing.ok_or(Error::WrongParty)?, &own.authority.sign_pub(), &mut buffer)?;
        let statement = Completion {
            pairing_id: p.pairing_id,
            nonce: validation.nonce,
            cert_hash: p.cert_hash,
            th4: done.th4,
        };
        let sig = bond.own.signing_key().sign(&statement.digest(), rng);
        let xk = &p.section.exchange_key;
        self.session = Some(Session::established(kind, done, Some(xk), direction(own, bond.peer))?);
        self.previous = None;
        self.pairing_id = Some(p.pairing_id);
        self.expires = p.expires;
        push(fx, Effect::Store(self.session_record()?))?;
        let answer = pdu::build(&[
            &[pdu::CERTIFICATE, pdu::PAIRING_COMPLETE],
            &p.pairing_id.0,
            &validation.nonce,
            &done.th4,
            &sig.0,
        ])?;
        self.answer = Some((BindingOrPairing::Pairing(p.pairing_id), short(&answer)?));
        Ok(answer)
    }

    /// B's first sealed message of the epoch.
    fn confirm(&mut self, kind: Kind, fx: &mut Effects) -> Result<(), Error> {
        let (of, tier) = match kind {
            Kind::Bind => (Kind::Bind, Tier::Bind),
            _ => (Kind::Pair, Tier::Pair),
        };
        let Some(session) = self.session.as_ref().filter(|s| self.fresh && s.kind() == of) else {
            return Ok(());
        };
        let body =
            pdu::build(&[&[pdu::CONFIRM], &session.epoch().to_be_bytes(), &self.challenge.to_be_bytes()])?;
        push(fx, Effect::SealToPeer(tier, body))
    }

    /// A: the peer's confirmation (`epoch | challenge`), opened under `tier`.
    pub fn confirmed(&mut self, tier: Tier, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let mut f = Fields::new(body);
        let (epoch, challenge) = (f.u32()?, f.u32()?);
        f.end()?;
        let Some(Run::Answered { kind, completion, .. }) = &mut self.run else {
            return Ok(());
        };
        let wanted = if *kind == Kind::Bind { Tier::Bind } else { Tier::Pair };
        if tier != wanted || self.session.as_ref().is_none_or(|s| s.epoch() != epoch) {
            return Err(Error::WrongParty);
        }
        let kind = *kind;
        let completion = completion.take();
        (self.run, self.timer) = (None, None);
        if kind != Kind::Bind && self.previous.take().is_some() {
            push(fx, Effect::Store(self.session_record()?))?;
        }
        if let Some(completion) = completion {
            push(fx, Effect::ToAuthority(long(&completion)?))?;
        }
        self.announce(kind, Some(challenge), fx)
    }

    fn announce(&mut self, kind: Kind, challenge: Option<u32>, fx: &mut Effects) -> Result<(), Error> {
        if kind == Kind::Bind {
            let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
            let event = RelationEvent::Bound { binding_id: bond.binding_id, assurance: bond.assurance };
            return push(fx, Effect::Event(event));
        }
        self.fresh = true;
        if kind == Kind::Pair
            && let Some(pairing_id) = self.pairing_id
        {
            push(fx, Effect::Event(RelationEvent::Paired { pairing_id }))?;
        }
        let epoch = self.session.as_ref().map_or(0, Session::epoch);
        push(fx, Effect::Event(RelationEvent::ChannelUp { epoch, challenge }))
    }

    // --- RESUME ---------------------------------------------------------------------------------------

    fn resume_m1(
        &mut self,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (hint, peer_boot) = resume::parse_request(m1)?;
        let session = self.paired_session()?;
        if hint != session.channel()[..4] || peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let m1: resume::Request = m1.try_into().map_err(|_| Error::Malformed)?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m2 = state(session, session.master(), session.epoch()).respond(&m1, boot, &nonce)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::ResumeResponded { m1, m2 });
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    fn resume_m2(&mut self, m2: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeAsked { m1 }) = &self.run else {
            return Ok(());
        };
        let m2: resume::Response = m2.try_into().map_err(|_| Error::Malformed)?;
        let peer_boot = resume::parse_response(&m2)?;
        let session = self.session.as_mut().ok_or(Error::WrongParty)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let current = state(session, session.master(), session.epoch()).confirm(m1, &m2);
        let (m3, next) = match (current, &self.previous, session.epoch().checked_sub(1)) {
            (Ok(done), ..) => {
                let (m3, next) = done;
                self.previous = Some(session.master().clone());
                session.advance(next.clone())?;
                (m3, next)
            }
            // The peer never saw our last M3: it still lives in the epoch before.
            (Err(_), Some(previous), Some(epoch)) => {
                let (m3, next) = state(session, previous, epoch).confirm(m1, &m2)?;
                let renewed = Session::at_epoch(
                    Kind::Pair,
                    *session.th4(),
                    session.epoch(),
                    next.clone(),
                    session.exchange().cloned(),
                    session.sends(),
                )?;
                *session = renewed;
                (m3, next)
            }
            (Err(e), ..) => return Err(e),
        };
        drop(next);
        self.peer_boot = peer_boot;
        self.fresh = true;
        push(fx, Effect::Store(self.session_record()?))?;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind: Kind::Resume, m3: short(&m3)?, completion: None });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    fn resume_m3(&mut self, m3: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeResponded { m1, m2 }) = &self.run else {
            return self.confirm(Kind::Resume, fx);
        };
        let m3: resume::Confirmation = m3.try_into().map_err(|_| Error::Malformed)?;
        let session = self.session.as_mut().ok_or(Error::WrongParty)?;
        let next = state(session, session.master(), session.epoch()).finish(m1, &m2.clone(), &m3)?;
        let (_, peer_boot) = resume::parse_request(m1)?;
        session.advance(next)?;
        self.peer_boot = peer_boot;
        (self.run, self.timer, self.fresh) = (None, None, true);
        push(fx, Effect::Store(self.session_record()?))?;
        self.confirm(Kind::Resume, fx)?;
        self.announce(Kind::Resume, None, fx)
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
            Some(Run::ResumeAsked { .. }) if tries < TRIES => self.resume(now, boot, fx, rng),
            Some(run) => {
                let (kind, initiated) = match run {
                    Run::Asked { kind, .. } | Run::Answered { kind, .. } => (*kind, true),
                    Run::Responded { kind, .. } => (*kind, false),
                    Run::ResumeAsked { .. } => (Kind::Resume, true),
                    Run::ResumeResponded { .. } => (Kind::Resume, false),
                };
                (self.run, self.timer) = (None, None);
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
        let session = self.session.as_mut().filter(|_| self.fresh).ok_or(Error::InvalidKey)?;
        let tier = tier_of(id.level());
        if let Some(due) = session.due(tier, self.slot) {
            let record = due.encode(&own.storage_key()?);
            push(fx, Effect::Store(Record::new(key::counter(self.slot, tier as u8), &[&record])?))?;
            session.reserved(&due);
        }
        session.seal(id, base, h0, body, out)
    }

    /// Opens a sealed message of the peer.
    pub fn open<'a>(&mut self, id: SealedId, sealed: &'a mut [u8]) -> Result<Opened<'a>, Refusal> {
        self.session.as_mut().filter(|_| self.fresh).ok_or(Refusal::UnknownKey)?.open(id, sealed)
    }

    fn paired_session(&self) -> Result<&Session, Error> {
        self.session.as_ref().filter(|s| s.kind() == Kind::Pair).ok_or(Error::WrongParty)
    }

    fn session_record(&self) -> Result<Record, Error> {
        let session = self.paired_session()?;
        let id = self.pairing_id.ok_or(Error::WrongParty)?;
        let tag = session.exchange().ok_or(Error::InvalidKey)?;
        let none = Secret::new([0; 32]);
        let previous = self.previous.as_ref().map_or(&none, |p| &p.0);
        Record::new(
            key::session(self.slot),
            &[
                &[1],
                &id.0,
                &self.expires.to_be_bytes(),
                &self.peer_boot.to_be_bytes(),
                session.th4(),
                &session.epoch().to_be_bytes(),
                session.master().0.expose(),
                previous.expose(),
                &[u8::from(self.previous.is_some())],
                tag.0.expose(),
            ],
        )
    }
}

impl Bond {
    fn confirmed(pending: &PendingBond) -> Result<Self, Error> {
        let intro = pending.introduction.as_ref().ok_or(Error::WrongParty)?;
        Ok(Bond {
            binding_id: pending.request.binding_id,
            peer: pending.request.partner,
            peer_spk: intro.spk,
            own: pending.own.clone(),
            assurance: Assurance::Attested,
        })
    }

    /// `1 | binding_id 16 | peer cid 16 | peer role | peer SPK 68 | own seed 32 | assurance`.
    fn encode(&self) -> Result<heapless::Vec<u8, 135>, Error> {
        let layout = lct::codec::Layout::default().put(&[
            &[1],
            &self.binding_id.0,
            &self.peer.0.0,
            &[self.peer.1 as u8],
            &self.peer_spk.0,
            self.own.seed().expose(),
            &[self.assurance as u8],
        ])?;
        Ok(layout.done())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let bond = Bond {
            binding_id: BindingId(f.array()?),
            peer: (Cid(f.array()?), Role::from_code(f.u8()?)?),
            peer_spk: Spk::from_slice(f.slice(68)?)?,
            own: SpkSecret::from_seed(Secret::new(f.array()?))?,
            assurance: Assurance::from_code(f.u8()?)?,
        };
        f.end()?;
        Ok(bond)
    }
}

fn binding_record(own: &Identity, pending: &PendingBond) -> Result<BindingRecord, Error> {
    let intro = pending.introduction.as_ref().ok_or(Error::WrongParty)?;
    let partner = pending.request.partner;
    let mine = (own.cid(), own.role, pending.own.public());
    let theirs = (partner.0, partner.1, intro.spk);
    let a_is_mine = is_side_a(own.role, own.cid(), partner.1, partner.0);
    let (a, b) = if a_is_mine { (mine, theirs) } else { (theirs, mine) };
    let entity = |(cid, role, spk): (Cid, Role, Spk), access_commit| BoundEntity {
        cid,
        role,
        sign_pub: spk.sign_pub(),
        spk_id: spk.id(),
        access_commit,
    };
    Ok(BindingRecord {
        binding_id: intro.binding_id,
        entities: [entity(a, intro.access_commits[0]), entity(b, intro.access_commits[1])],
        time: intro.time,
        assurance: Assurance::Attested,
    })
}

fn direction(own: &Identity, peer: (Cid, Role)) -> Direction {
    if is_side_a(own.role, own.cid(), peer.1, peer.0) { Direction::Ab } else { Direction::Ba }
}

fn state<'a>(session: &Session, master: &'a MasterSecret, epoch: u32) -> resume::Session<'a> {
    resume::Session { master, epoch, channel: *session.channel() }
}

fn status(kind: u8, operation: u8, id: &[u8; 16], status: Status) -> Result<Pdu, Error> {
    pdu::build(&[&[kind, operation], id, &[status as u8]])
}

fn push(fx: &mut Effects, effect: Effect) -> Result<(), Error> {
    fx.push_back(effect).map_err(|_| Error::BufferTooSmall)
}

/// Answer to the requests for identity that every entity gives: its certificates, and its signature over a
/// registration that speaks of itself.
pub fn answer_identity(
    own: &Identity,
    request: &[u8],
    soc_ppm: u32,
    rng: &mut impl CryptoRng,
) -> Result<Pdu, Error> {
    match *request {
        [op::CERTIFICATES] => pdu::build(&[
            &[pdu::BINDING, op::IDENTITY],
            &own.device.0,
            &own.batch.0,
            &own.hardware.to_be_bytes(),
            &own.firmware.to_be_bytes(),
            &own.capacity_mwh.to_be_bytes(),
            &soc_ppm.to_be_bytes(),
            &[own.serial.len() as u8],
            own.serial.as_bytes(),
        ]),
        [op::REGISTER, ref bytes @ ..] => {
            let registration = lct::registration::Registration::decode(bytes)?;
            let true_of_me = registration.device == own.device
                && registration.component_id == own.component_id
                && registration.serial == own.serial
                && (registration.hardware, registration.firmware, registration.capacity_mwh)
                    == (own.hardware, own.firmware, own.capacity_mwh);
            if !true_of_me {
                return Err(Error::WrongParty);
            }
            let sig = own.key.sign(&lct::registration::digest_of(bytes), rng);
            pdu::build(&[&[pdu::BINDING, op::REGISTERED], &sig.0])
        }
        _ => Err(Error::Malformed),
    }
}

/// Answer to [`pdu::IDENTIFY`]. `nodes` has bit k set when node k + 1 is registered.
pub fn identify(own: &Identity, state: u8, assurance: u8, nodes: u32) -> Result<Pdu, Error> {
    pdu::build(&[
        &[pdu::IDENTIFY, 1],
        &own.cid().0,
        &[own.role as u8, state, assurance],
        &own.hardware.to_be_bytes(),
        &own.firmware.to_be_bytes(),
        &nodes.to_be_bytes(),
        &[own.component_id.len() as u8],
        own.component_id.as_bytes(),
    ])
}

/// What [`identify`] says, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// Short identifier; it is the one of `component_id`.
    pub cid: Cid,
    /// Role.
    pub role: Role,
    /// 0 factory, 1 bound, 2 paired, 3 operational.
    pub state: u8,
    /// Wire code of the assurance of its binding.
    pub assurance: u8,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// Bit k: node k + 1 is registered.
    pub nodes: u32,
    /// Full name.
    pub component_id: heapless::String<{ lct::id::COMPONENT_ID_MAX }>,
}

impl Introduced {
    /// Reads an answer after `0B 01`.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let cid = Cid(f.array()?);
        let role = Role::from_code(f.u8()?)?;
        let (state, assurance) = (f.u8()?, f.u8()?);
        let (hardware, firmware, nodes) = (f.u32()?, f.u32()?, f.u32()?);
        let n = usize::from(f.u8()?);
        let name = core::str::from_utf8(f.slice(n)?).map_err(|_| Error::Malformed)?;
        f.end()?;
        let mut component_id = heapless::String::new();
        component_id.push_str(name).map_err(|_| Error::Malformed)?;
        if !lct::id::valid_component_id(name) || Cid::of(name) != cid {
            return Err(Error::WrongParty);
        }
        Ok(Introduced { cid, role, state, assurance, hardware, firmware, nodes, component_id })
    }
}
