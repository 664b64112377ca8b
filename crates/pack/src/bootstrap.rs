//! Before a binding: the device channel between app and pack, in a commissioning window (B0) or by the printed code
//! (B2) (`spec/channel.md`, H71 to H78).
//!
//! One machine serves both sides, like [`crate::relation`]: it takes security PDUs and time, and leaves [`Effect`]s
//! in order; a [`Effect::Store`] must be durable before what follows it is sent. A run lives in RAM and ends with a
//! start; the channel that it led to is kept and resumed, until a pairing takes its place (H86).

mod code;
mod guard;
mod handshake;
mod plain;
mod standing;

use crate::{
    identity::{Identity, Loaded, Record, key},
    link::FrameFormat,
    pdu::{self, Pdu, key_package as op, pake as step},
    policy,
    relation::{CONFIRM_TIMEOUT, RUN_TIMEOUT, TRIES},
    sealed_id::SealedId,
    session::{Opened, Refusal, Session, limits::Limits},
    time::{Duration, Instant},
};
pub use guard::{FREE_TRIES, LAST_TRY, LONGEST_WAIT, START_BUTTON, WINDOW, WINDOW_RUNS};
use guard::{Guard, Window};
use lct::{
    Digest, Error,
    binding::Assurance,
    handshake::{
        COMMITTED, Context, Ephemeral, Established, Initiator, Kind, Message, Psk, Responder, commit,
    },
    hash::sha256,
    id::{Cid, Role, is_side_a},
    key_package::{KeyPackage, PACKAGE_LEN, Parties},
    metadata::LinkParameters,
    pake::{self, Prover, ProverSecret, Verifier},
    schedule::{Direction, Tier, derive},
    secret::{Secret, equal},
};
use rand_core::CryptoRng;
use standing::Standing;

/// How long B keeps what it began: longer than A waits before it repeats.
const HALF_OPEN: Duration = RUN_TIMEOUT.times(2);
/// Shortest time between two runs that cost an agreement.
const RUN_SPACING: Duration = Duration::from_millis(1_000);

/// What is to be done, in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send to the peer in clear.
    ToPeer(Pdu),
    /// Send to the peer, sealed at dev tier under these keys.
    Seal(Keys, Pdu),
    /// Make durable.
    Store(Record),
    /// Tell the owner.
    Event(Event),
}

/// Which keys of dev tier. A run that begins while a channel stands changes nothing about it before it stands itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Those of the run that is being confirmed: for its confirmations and verdicts, and nothing else.
    Run,
    /// Those of the channel that stands.
    Standing,
}

/// Effects of one call.
pub type Effects = heapless::Deque<Effect, 6>;

/// Why no device channel came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer did not answer.
    Silent,
    /// The pack holds another code than the one that was typed.
    WrongCode,
    /// The pack admits no try for so many seconds; [`u16::MAX`] not before a start with the button. The pack says so
    /// without proof.
    Locked(u16),
    /// The installer found different digits.
    Different,
    /// The commissioning window closed.
    Closed,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The commissioning window opened; B0 is possible.
    WindowOpened,
    /// It closed.
    WindowClosed,
    /// Six digits to be compared with those of the other side (B0).
    Compare {
        /// 0 to 999 999, shown with leading zeros.
        digits: u32,
    },
    /// The device channel stands, after its run or after a RESUME.
    ChannelUp {
        /// B0 or B2.
        assurance: Assurance,
    },
    /// A try at the code was counted; it is forgotten when it turns out right.
    Tried {
        /// Tries since the last right one, this one included.
        tries: u8,
    },
    /// No device channel came about.
    Failed(Failure),
}

/// What a device channel says about the peer, for a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The peer.
    pub cid: Cid,
    /// B0 or B2.
    pub assurance: Assurance,
    /// What the peer's certificate must say of the code, where it says something; known to the app.
    pub code_commit: Option<Digest>,
}

/// Key material of a run.
enum Material {
    Package(KeyPackage),
    Shared(Secret<32>),
}

enum Stage {
    Idle,
    /// A sent its package and waits for the commitment.
    Offered,
    /// B sent its commitment.
    Committed {
        ephemeral: Ephemeral,
        m0: Message,
    },
    /// A sent the first message of the code's proof.
    Proving {
        prover: Prover,
        hint: Option<u16>,
    },
    /// B answered it.
    Guessed {
        verifier: Verifier,
        share: [u8; pake::SHARE_LEN],
        answer: Pdu,
    },
    /// B knows that the app has the code.
    Proven,
    /// A sent M1.
    Asked {
        initiator: Initiator,
    },
    /// B sent M2.
    Responded {
        responder: Responder,
    },
    /// The keys stand on this side; the peer's confirmation is outstanding.
    Confirming {
        m3: Option<Message>,
    },
    /// Both hold the keys; the installer compares.
    Comparing,
}

struct Timer {
    due: Instant,
    tries: u8,
}

/// What both sides of a run prove to each other, and repeat until the other side heard it.
struct Proof {
    /// Confirmation of this side and of the peer.
    confirmations: [Secret<16>; 2],
    digits: Option<u32>,
    last_m3: Option<Digest>,
    /// Whether this side's installer, and the other side, found the digits equal.
    accepted: [bool; 2],
}

/// The keys of a run that is being confirmed.
struct Agreed {
    session: Session,
    proof: Proof,
}

/// The device channel of an entity with the one peer that it may have before a binding.
pub struct Bootstrap {
    slot: u8,
    record: Option<pake::Record>,
    guard: Guard,
    window: Option<Window>,
    peer: Option<(Cid, Role)>,
    material: Option<Material>,
    stage: Stage,
    timer: Option<Timer>,
    agreed: Option<Agreed>,
    /// The channel of an earlier run, on which both sides agreed.
    standing: Option<Standing>,
    code_commit: Option<Digest>,
    /// The package as it was sent or received: its repetition is no new run.
    package: Option<Pdu>,
    last_run: Option<Instant>,
    /// Confirmation of the code, sent again with each M1.
    confirm: Option<[u8; pake::CONFIRMATION_LEN]>,
    /// When the installer's time to compare is over.
    compare_until: Option<Instant>,
}

impl Bootstrap {
    /// No run begun. `load` reads the record of the device channel, and those of the code and of its tries, of which an
    /// app has none. A device channel that cannot be read is none: it is made anew as it was made.
    pub fn restore(
        own: &Identity,
        slot: u8,
        mut load: impl FnMut(u16) -> Loaded,
        now: Instant,
    ) -> Result<Self, Error> {
        let record = match load(key::CODE)?.as_deref() {
            Some([1, record @ ..]) => Some(pake::Record::from_slice(record)?),
            Some(_) => return Err(Error::Malformed),
            None => None,
        };
        // A record that is not the one of the certificate proves nothing to anybody who looks at the certificate.
        let promised = own.device.code_commit();
        let record = record.filter(|r| promised == [0; 32] || equal(&promised, &r.commitment(&own.cid())));
        let standing = load(key::device(slot)).ok().flatten().filter(|r| !r.is_empty());
        Ok(Bootstrap {
            slot,
            record,
            guard: Guard::restore(load(key::CODE_TRIES)?.as_deref(), now)?,
            window: None,
            peer: None,
            material: None,
            stage: Stage::Idle,
            timer: None,
            agreed: None,
            standing: standing.and_then(|record| Standing::restore(own, &record).ok()),
            code_commit: None,
            package: None,
            last_run: None,
            confirm: None,
            compare_until: None,
        })
    }

    /// True when the device channel stands: both hold its keys in an epoch of this start and, in B0, both sides accepted
    /// the digits.
    pub fn is_up(&self) -> bool {
        self.standing.as_ref().is_some_and(|s| s.channel.is_up())
    }
    /// True when a device channel was kept over a start and did not come up yet.
    pub fn is_waiting(&self) -> bool {
        self.standing.is_some() && !self.is_up()
    }
    /// True while the app looks for the pack of a device channel that it kept.
    pub fn is_resuming(&self) -> bool {
        self.standing.as_ref().is_some_and(Standing::is_resuming)
    }
    /// True while a run is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }
    /// The peer of the device channel, also of one that waits.
    pub fn peer(&self) -> Option<Cid> {
        self.standing.as_ref().map(|s| s.peer.0)
    }
    /// True while a commissioning window is open.
    pub fn is_window_open(&self, now: Instant) -> bool {
        self.window.is_some_and(|w| now < w.until())
    }
    /// Digits that wait for the installer's comparison.
    pub fn digits(&self) -> Option<u32> {
        let agreed = self.agreed.as_ref().filter(|_| matches!(self.stage, Stage::Comparing))?;
        agreed.proof.digits
    }
    /// Tries at the code since the last right one.
    pub fn tries(&self) -> u8 {
        self.guard.tries()
    }
    /// Whether a code is printed on this device.
    pub fn has_code(&self) -> bool {
        self.record.is_some()
    }
    /// What the channel, once it stands, says about the peer.
    pub fn offer(&self) -> Option<Offer> {
        let standing = self.standing.as_ref().filter(|s| s.channel.is_up())?;
        let Standing { peer: (cid, _), assurance, code_commit, .. } = *standing;
        Some(Offer { cid, assurance, code_commit })
    }

    /// When [`Bootstrap::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let window = self.window.map(|w| w.until());
        let resume = self.standing.as_ref().and_then(Standing::due);
        [self.timer.as_ref().map(|t| t.due), window, self.compare_until, resume].into_iter().flatten().min()
    }

    /// The button of the device. Within ten seconds of a start it sets the tries at the code back; while the device
    /// is in factory state it opens the commissioning window.
    pub fn button(&mut self, now: Instant, is_factory: bool, fx: &mut Effects) -> Result<(), Error> {
        if self.guard.at_start(now) && self.guard.tries() > 0 {
            push(fx, Effect::Store(self.guard.clear(now)?))?;
        }
        if is_factory {
            self.window = Some(Window::open(now));
            push(fx, Effect::Event(Event::WindowOpened))?;
        }
        Ok(())
    }

    /// Forgets run, channel and window: a pairing took their place, or the peer was revoked.
    pub fn end(&mut self, fx: &mut Effects) -> Result<(), Error> {
        self.abandon();
        if self.standing.take().is_some() {
            push(fx, Effect::Store(Record::new(key::device(self.slot), &[])?))?;
        }
        match self.window.take() {
            Some(_) => push(fx, Effect::Event(Event::WindowClosed)),
            None => Ok(()),
        }
    }

    /// Leaves a kept channel alone until the next start, for a device that seals nothing (H137).
    pub(crate) fn rest(&mut self) {
        self.standing = None;
    }

    /// The run is over; a channel that stands goes on.
    fn abandon(&mut self) {
        (self.stage, self.timer, self.agreed) = (Stage::Idle, None, None);
        (self.peer, self.material, self.package) = (None, None, None);
        (self.confirm, self.compare_until, self.code_commit) = (None, None, None);
    }

    fn fail(&mut self, failure: Failure, fx: &mut Effects) -> Result<(), Error> {
        self.abandon();
        push(fx, Effect::Event(Event::Failed(failure)))
    }

    /// True for the PDUs that arrive in clear and are this machine's; with a pairing the request for a run is not (H17).
    pub fn concerns(&self, message: &[u8], is_paired: bool) -> bool {
        match *message {
            // A sealed package is the authority's and belongs to a binding.
            [pdu::KEY_PACKAGE, op::SEALED | op::STATUS, ..] => false,
            [pdu::KEY_PACKAGE | pdu::PAKE, ..] => true,
            [pdu::HANDSHAKE, _, 0x7F, ..] => !is_paired && self.standing.is_some(),
            [pdu::HANDSHAKE, ref m @ ..] => {
                let kind = m.get(1).map_or(0, |code| code & 0x1F);
                let run = kind == Kind::Dev as u8 || kind == Kind::Pake as u8;
                run || self.standing.as_ref().is_some_and(|s| s.concerns(m))
            }
            _ => false,
        }
    }

    /// The app begins to resume a device channel that it kept.
    pub fn resume(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.standing.as_mut().map_or(Ok(()), |s| s.resume(now, boot, fx, rng))
    }

    /// A clear PDU of the peer. `is_factory` is whether this device has no binding yet.
    pub fn message(
        &mut self,
        own: &Identity,
        message: &[u8],
        is_factory: bool,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match *message {
            [pdu::KEY_PACKAGE, op::PLAIN, ref m @ ..] => self.on_package(own, m, is_factory, now, fx, rng),
            [pdu::PAKE, step::SHARE, ref m @ ..] => self.on_share(own, m, now, fx, rng),
            [pdu::PAKE, step::ANSWER, ref m @ ..] => self.on_answer(own, m, now, boot, fx, rng),
            [pdu::PAKE, step::CONFIRM, ref m @ ..] => self.on_confirm(m, now, fx),
            [pdu::PAKE, step::LOCKED, ref m @ ..] => self.on_locked(m),
            [pdu::HANDSHAKE, ref m @ ..] => match (m.get(1).map(|code| code & 0x1F), &mut self.standing) {
                (Some(0x1F), Some(s)) => s.asked(now, boot, fx, rng),
                (Some(kind), Some(s)) if kind == Kind::Resume as u8 => {
                    s.message(self.slot, m, now, boot, fx, rng)
                }
                _ => self.on_handshake(own, m, now, boot, fx, rng),
            },
            _ => Err(Error::Malformed),
        }
    }

    /// True for a run of B0, which ends with its window.
    fn is_plain_run(&self) -> bool {
        match &self.stage {
            Stage::Committed { .. } | Stage::Comparing => true,
            Stage::Responded { .. } => matches!(self.material, Some(Material::Package(_))),
            Stage::Confirming { .. } => self.agreed.as_ref().is_some_and(|a| a.proof.digits.is_some()),
            _ => false,
        }
    }

    fn proof(&self, keys: Keys) -> Option<&Proof> {
        match keys {
            Keys::Run => self.agreed.as_ref().map(|a| &a.proof),
            Keys::Standing => self.standing.as_ref().and_then(|s| s.proof.as_ref()),
        }
    }

    fn send_confirmation(&self, keys: Keys, fx: &mut Effects) -> Result<(), Error> {
        let Some(proof) = self.proof(keys) else { return Ok(()) };
        let mac = proof.confirmations[0].expose();
        push(fx, Effect::Seal(keys, pdu::build(&[&[pdu::KEY_PACKAGE, op::CONFIRM], mac])?))
    }

    fn session(&mut self, keys: Keys) -> Option<&mut Session> {
        match keys {
            Keys::Run => self.agreed.as_mut().map(|a| &mut a.session),
            // Nothing is sealed or opened in an epoch of an earlier start.
            Keys::Standing => {
                self.standing.as_mut().filter(|s| s.channel.fresh).map(|s| &mut s.channel.session)
            }
        }
    }

    // --- sealed at dev tier ---------------------------------------------------------------------------

    /// Seals `parts` under `keys` as message `base` of `id` for a bus of `format`; first leaves a due reservation in
    /// `fx`, which must be stored also when sealing fails.
    pub fn seal(
        &mut self,
        own: &Identity,
        keys: Keys,
        format: FrameFormat,
        id: SealedId,
        base: u16,
        parts: &[&[u8]],
        out: &mut [u8],
        fx: &mut Effects,
    ) -> Result<usize, Error> {
        let slot = self.slot;
        let session = self.session(keys).ok_or(Error::InvalidKey)?;
        if let Some(due) = session.due(Tier::Dev, slot) {
            let record = due.encode(&own.storage_key()?);
            let key = key::counter(slot, Tier::Dev);
            push(fx, Effect::Store(Record::new(key, &[&record])?))?;
            session.reserved(&due);
        }
        session.set_format(format);
        session.seal(id, base, 0, parts, out)
    }

    /// Opens a message sealed at dev tier, and says under which keys.
    pub fn open<'a>(
        &mut self,
        now: Instant,
        id: SealedId,
        sealed: &'a mut [u8],
    ) -> Result<(Keys, Opened<'a>), Refusal> {
        let run = self.agreed.as_ref().is_some_and(|a| a.session.claims(Tier::Dev, sealed));
        let keys = if run { Keys::Run } else { Keys::Standing };
        let session = self.session(keys).ok_or(Refusal::UnknownKey)?;
        session.open(now, &Limits::DEFAULT, id, sealed).map(|opened| (keys, opened))
    }

    /// A key package PDU that was opened under `keys`.
    pub fn sealed_message(
        &mut self,
        own: &Identity,
        keys: Keys,
        body: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        match *body {
            [op::CONFIRM, ref mac @ ..] => self.on_confirmed(own, keys, mac, now, fx),
            [op::COMPARED, verdict, seen] => self.on_compared(keys, verdict, seen, now, fx),
            _ => Err(Error::Malformed),
        }
    }

    /// A: the confirmation of a RESUME, opened under the keys of the channel that stands.
    pub fn resumed(&mut self, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let slot = self.slot;
        self.standing.as_mut().ok_or(Error::WrongParty)?.confirmed(slot, body, fx)
    }

    fn on_confirmed(
        &mut self,
        own: &Identity,
        keys: Keys,
        mac: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        let proof = self.proof(keys).ok_or(Error::WrongParty)?;
        if !equal(mac, proof.confirmations[1].expose()) {
            return Err(Error::NotAuthentic);
        }
        let (digits, mut keys) = (proof.digits, keys);
        // B answers nothing: it repeats its confirmation until it hears that of A.
        let is_a = own.role == Role::App;
        if keys == Keys::Run && matches!(self.stage, Stage::Confirming { .. }) {
            self.timer = None;
            match digits {
                Some(digits) => {
                    self.stage = Stage::Comparing;
                    self.compare_until = Some(self.window.map_or(now + WINDOW, |w| w.until()));
                    push(fx, Effect::Event(Event::Compare { digits }))?;
                }
                None => {
                    self.stand(now, fx)?;
                    keys = Keys::Standing;
                }
            }
        }
        if is_a { self.send_confirmation(keys, fx) } else { Ok(()) }
    }

    /// Both sides agreed: the channel of the run stands, and is kept before anything is said in it.
    fn stand(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Agreed { session, proof } = self.agreed.take().ok_or(Error::WrongParty)?;
        let peer = self.peer.ok_or(Error::WrongParty)?;
        let assurance = if session.kind() == Kind::Dev { Assurance::Plain } else { Assurance::Code };
        let standing = Standing::new(peer, assurance, self.code_commit, (session, proof), now);
        push(fx, Effect::Store(standing.record(self.slot)?))?;
        self.standing = Some(standing);
        self.abandon();
        push(fx, Effect::Event(Event::ChannelUp { assurance }))?;
        match self.window.take() {
            Some(_) => push(fx, Effect::Event(Event::WindowClosed)),
            None => Ok(()),
        }
    }

    // --- time -----------------------------------------------------------------------------------------

    fn again(&mut self, now: Instant, after: Duration) {
        let tries = self.timer.as_ref().map_or(0, |t| t.tries) + 1;
        self.timer = Some(Timer { due: now + after, tries });
    }

    /// Repeats or abandons what waited too long.
    pub fn tick(
        &mut self,
        own: &Identity,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if let Some(standing) = &mut self.standing {
            standing.tick(now, boot, fx, rng)?;
        }
        if self.window.is_some_and(|w| w.until() <= now) {
            self.window = None;
            push(fx, Effect::Event(Event::WindowClosed))?;
            if self.is_plain_run() {
                return self.fail(Failure::Closed, fx);
            }
        }
        if self.compare_until.is_some_and(|t| t <= now) {
            return self.fail(Failure::Closed, fx);
        }
        let Some(timer) = self.timer.as_ref().filter(|t| t.due <= now) else {
            return Ok(());
        };
        let last = timer.tries >= TRIES;
        match &self.stage {
            Stage::Offered if !last => self.send_package(now, fx),
            Stage::Asked { .. } if !last && self.package.is_some() => {
                // The commitment that was answered is spent: the run begins with the package.
                self.stage = Stage::Offered;
                self.send_package(now, fx)
            }
            Stage::Asked { .. } if !last => self.start(own, None, now, boot, fx, rng),
            Stage::Proving { prover, .. } if !last => {
                let share = pdu::build(&[&[pdu::PAKE, step::SHARE], &own.cid().0, prover.share()])?;
                push(fx, Effect::ToPeer(share))?;
                self.again(now, RUN_TIMEOUT);
                Ok(())
            }
            Stage::Confirming { m3: Some(m3) } if !last => {
                push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], m3])?))?;
                self.again(now, CONFIRM_TIMEOUT);
                Ok(())
            }
            Stage::Confirming { m3: None } if !last => {
                self.send_confirmation(Keys::Run, fx)?;
                self.again(now, CONFIRM_TIMEOUT);
                Ok(())
            }
            // Accepted here: said again until the other side accepts too, or the time to compare is over.
            Stage::Comparing => {
                self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: 1 });
                self.send_verdict(Keys::Run, true, fx)
            }
            Stage::Proving { hint: Some(wait), .. } => {
                let wait = *wait;
                self.fail(Failure::Locked(wait), fx)
            }
            Stage::Offered | Stage::Asked { .. } | Stage::Proving { .. } | Stage::Confirming { .. } => {
                self.fail(Failure::Silent, fx)
            }
            // B forgets a half-open run without a word.
            Stage::Committed { .. }
            | Stage::Guessed { .. }
            | Stage::Proven
            | Stage::Responded { .. }
            | Stage::Idle => {
                self.abandon();
                Ok(())
            }
        }
    }
}

/// True for a PDU of the binding handshake.
pub fn is_binding(message: &[u8]) -> bool {
    matches!(*message, [pdu::HANDSHAKE, _, code, ..] if code & 0x1F == Kind::Bind as u8)
}

fn push(fx: &mut Effects, effect: Effect) -> Result<(), Error> {
    fx.push_back(effect).map_err(|_| Error::BufferTooSmall)
}
