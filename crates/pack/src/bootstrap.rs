//! Before a binding: the device channel between app and pack, in a commissioning window (B0) or by the printed code
//! (B2) (`spec/channel.md`, H71 to H78).
//!
//! One machine serves both sides, like [`crate::relation`]: it takes security PDUs and time, and leaves [`Effect`]s
//! in order; a [`Effect::Store`] must be durable before what follows it is sent. The channel lives in RAM: it ends
//! with a start, and when a pairing takes its place.

mod code;
mod guard;
mod plain;

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

/// How long B keeps what it began: longer than A waits before it repeats.
const HALF_OPEN: Duration = RUN_TIMEOUT.times(2);
/// Shortest time between two runs that cost an agreement.
const RUN_SPACING: Duration = Duration::from_millis(1_000);

/// What is to be done, in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send to the peer in clear.
    ToPeer(Pdu),
    /// Send to the peer, sealed at dev tier.
    Seal(Pdu),
    /// Make durable.
    Store(Record),
    /// Tell the owner.
    Event(Event),
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
    /// The device channel stands.
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
    /// The channel stands.
    Up,
}

struct Timer {
    due: Instant,
    tries: u8,
}

/// The keys of a channel that stands or is being confirmed.
struct Channel {
    session: Session,
    /// Confirmation of this side and of the peer.
    confirmations: [Secret<16>; 2],
    digits: Option<u32>,
    last_m3: Option<Digest>,
    /// Whether this side's installer, and the other side, found the digits equal.
    accepted: [bool; 2],
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
    channel: Option<Channel>,
    assurance: Assurance,
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
    /// Nothing begun. `load` reads the records of the code and of its tries, of which an app has none.
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
        Ok(Bootstrap {
            slot,
            record,
            guard: Guard::restore(load(key::CODE_TRIES)?.as_deref(), now)?,
            window: None,
            peer: None,
            material: None,
            stage: Stage::Idle,
            timer: None,
            channel: None,
            assurance: Assurance::Plain,
            code_commit: None,
            package: None,
            last_run: None,
            confirm: None,
            compare_until: None,
        })
    }

    /// True when the device channel stands: both hold its keys and, in B0, both sides accepted the digits.
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up)
    }
    /// True while something is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Up)
    }
    /// True while a commissioning window is open.
    pub fn is_window_open(&self, now: Instant) -> bool {
        self.window.is_some_and(|w| now < w.until())
    }
    /// Digits that wait for the installer's comparison.
    pub fn digits(&self) -> Option<u32> {
        let channel = self.channel.as_ref().filter(|_| matches!(self.stage, Stage::Comparing))?;
        channel.digits
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
        let (cid, _) = self.peer.filter(|_| self.is_up())?;
        Some(Offer { cid, assurance: self.assurance, code_commit: self.code_commit })
    }

    /// When [`Bootstrap::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let window = self.window.map(|w| w.until());
        [self.timer.as_ref().map(|t| t.due), window, self.compare_until].into_iter().flatten().min()
    }

    /// The button of the device. Within ten seconds of a start it sets the tries at the code back; while the device
    /// is in factory state it opens the commissioning window.
    pub fn button(&mut self, now: Instant, is_factory: bool, fx: &mut Effects) -> Result<(), Error> {
        if self.guard.at_start(now) && self.guard.tries() > 0 {
            push(fx, Effect::Store(self.guard.clear(now)?))?;
        }
        if is_factory && !self.is_up() {
            self.window = Some(Window::open(now));
            push(fx, Effect::Event(Event::WindowOpened))?;
        }
        Ok(())
    }

    /// Forgets channel and window: a pairing took their place, or the installer turned them down.
    pub fn end(&mut self, fx: &mut Effects) -> Result<(), Error> {
        self.abandon();
        match self.window.take() {
            Some(_) => push(fx, Effect::Event(Event::WindowClosed)),
            None => Ok(()),
        }
    }

    fn abandon(&mut self) {
        (self.stage, self.timer, self.channel) = (Stage::Idle, None, None);
        (self.peer, self.material, self.package) = (None, None, None);
        (self.confirm, self.compare_until, self.code_commit) = (None, None, None);
        self.assurance = Assurance::Plain;
    }

    fn fail(&mut self, failure: Failure, fx: &mut Effects) -> Result<(), Error> {
        self.abandon();
        push(fx, Effect::Event(Event::Failed(failure)))
    }

    /// True for a message of the binding handshake while the channel stands: it travels inside the channel and is
    /// refused outside of it.
    pub fn shields(&self, message: &[u8]) -> bool {
        let bind = matches!(*message, [pdu::HANDSHAKE, _, code, ..] if code & 0x1F == Kind::Bind as u8);
        bind && self.is_up()
    }

    /// True for the PDUs that arrive in clear and are this machine's.
    pub fn concerns(message: &[u8]) -> bool {
        match *message {
            // A sealed package is the authority's and belongs to a binding.
            [pdu::KEY_PACKAGE, op::SEALED | op::STATUS, ..] => false,
            [pdu::KEY_PACKAGE | pdu::PAKE, ..] => true,
            [pdu::HANDSHAKE, _, code, ..] => {
                code != 0x7F && matches!(code & 0x1F, c if c == Kind::Dev as u8 || c == Kind::Pake as u8)
            }
            _ => false,
        }
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
            [pdu::HANDSHAKE, ref m @ ..] => self.on_handshake(own, m, now, boot, fx, rng),
            _ => Err(Error::Malformed),
        }
    }

    fn on_handshake(
        &mut self,
        own: &Identity,
        m: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let [version, code, ..] = *m else {
            return Err(Error::Malformed);
        };
        let kind = if code & 0x1F == Kind::Dev as u8 { Kind::Dev } else { Kind::Pake };
        if version != 1 {
            return Err(Error::Malformed);
        }
        match code & 0xE0 {
            0x20 => self.on_m0(own, m, now, boot, fx, rng),
            0x00 => self.on_m1(own, kind, m, now, boot, fx, rng),
            0x40 => self.on_m2(own, m, now, fx, rng),
            0x80 => self.on_m3(own, m, now, fx),
            _ => Err(Error::Malformed),
        }
    }

    /// True for a run of B0, which ends with its window.
    fn is_plain_run(&self) -> bool {
        match &self.stage {
            Stage::Committed { .. } | Stage::Comparing => true,
            Stage::Responded { .. } => matches!(self.material, Some(Material::Package(_))),
            Stage::Confirming { .. } => self.channel.as_ref().is_some_and(|c| c.digits.is_some()),
            _ => false,
        }
    }

    fn kind(&self) -> Result<Kind, Error> {
        match self.material {
            Some(Material::Package(_)) => Ok(Kind::Dev),
            Some(Material::Shared(_)) => Ok(Kind::Pake),
            None => Err(Error::WrongParty),
        }
    }

    fn parties(&self, own: &Identity) -> Result<Parties, Error> {
        Ok(Parties { own: (own.cid(), own.role), peer: self.peer.ok_or(Error::WrongParty)? })
    }

    fn context(&self, own: &Identity) -> Result<Context, Error> {
        let parties = self.parties(own)?;
        let (a, b) =
            if parties.own_is_a() { (parties.own, parties.peer) } else { (parties.peer, parties.own) };
        let unpaired = LinkParameters { iv_seed: [0; 16], kdf: 1, aead: 1, rotation_days: 30 };
        let (parameters, salt, flags) = match &self.material {
            Some(Material::Package(p)) => (p.parameters, p.salt, COMMITTED),
            _ => (unpaired, [0; 32], 0),
        };
        Ok(Context {
            kind: self.kind()?,
            flags,
            cid_a: a.0,
            cid_b: b.0,
            spk_a: None,
            spk_b: None,
            cert_hash: None,
            policy_hash: lct::metadata::policy_hash(&policy::table_bytes(), &parameters),
            salt,
        })
    }

    /// Calls `f` with the pre-shared key of the run (H83).
    fn with_psk<T>(&self, own: &Identity, f: impl FnOnce(&Psk<'_>) -> Result<T, Error>) -> Result<T, Error> {
        match &self.material {
            Some(Material::Package(package)) => {
                let [a, b] = package.halves(&self.parties(own)?)?;
                f(&Psk(&[a.expose(), b.expose(), &package.salt]))
            }
            Some(Material::Shared(shared)) => f(&Psk(&[shared.expose(), &[0; 32]])),
            None => Err(Error::WrongParty),
        }
    }

    fn is_a(&self, own: &Identity) -> bool {
        self.peer.is_some_and(|(cid, role)| is_side_a(own.role, own.cid(), role, cid))
    }

    /// A starts the handshake.
    fn start(
        &mut self,
        own: &Identity,
        m0: Option<&[u8]>,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let context = self.context(own)?;
        let (initiator, m1) = Initiator::start(&context, Ephemeral::generate(rng), boot, None, m0)?;
        if let Some(confirm) = &self.confirm {
            push(fx, Effect::ToPeer(pdu::build(&[&[pdu::PAKE, step::CONFIRM], confirm])?))?;
        }
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.stage = Stage::Asked { initiator };
        self.again(now, RUN_TIMEOUT);
        Ok(())
    }

    fn on_m1(
        &mut self,
        own: &Identity,
        kind: Kind,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if self.kind()? != kind || self.is_a(own) {
            return Err(Error::WrongParty);
        }
        let context = self.context(own)?;
        lct::handshake::Request::parse(&context, m1)?;
        let (ephemeral, m0) = match &self.stage {
            Stage::Proven | Stage::Responded { .. } if kind == Kind::Pake => {
                if self.last_run.is_some_and(|t| now < t + RUN_SPACING) {
                    return Ok(());
                }
                self.last_run = Some(now);
                (Ephemeral::generate(rng), None)
            }
            // A commitment answers one M1: whoever could send a second would choose it with the first answer in hand.
            Stage::Committed { .. } => match core::mem::replace(&mut self.stage, Stage::Idle) {
                Stage::Committed { ephemeral, m0 } => (ephemeral, Some(m0)),
                _ => return Err(Error::WrongParty),
            },
            _ => return Err(Error::WrongParty),
        };
        let (responder, m2) = self.with_psk(own, |psk| {
            Responder::answer(&context, ephemeral, boot, m0.as_deref(), m1, None, psk, None, rng)
        })?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.stage = Stage::Responded { responder };
        self.timer = Some(Timer { due: now + HALF_OPEN, tries: TRIES });
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
        let Stage::Asked { initiator } = &self.stage else {
            return Ok(());
        };
        // The run stays until an M2 verifies: a forged one must not end it. The commitment is checked first.
        let context = self.context(own)?;
        let (m3, done) = self.with_psk(own, |psk| initiator.finish(&context, m2, psk, None, rng))?;
        self.establish(own, &done, Some(m3.clone()))?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m3])?))?;
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    fn on_m3(&mut self, own: &Identity, m3: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let hash = sha256(&[m3]);
        let Stage::Responded { responder } = &self.stage else {
            // A did not hear the confirmation: its exact M3 is confirmed again.
            return match &self.channel {
                Some(c) if c.last_m3 == Some(hash) => self.send_confirmation(fx),
                _ => Err(Error::NotAuthentic),
            };
        };
        let done = responder.finish(&self.context(own)?, m3)?;
        self.establish(own, &done, None)?;
        if let Some(channel) = &mut self.channel {
            channel.last_m3 = Some(hash);
        }
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        self.send_confirmation(fx)
    }

    fn establish(&mut self, own: &Identity, done: &Established, m3: Option<Message>) -> Result<(), Error> {
        let kind = self.kind()?;
        let is_a = self.is_a(own);
        let of = |label| derive::<16>(&done.master.0, label, &[&done.th4]);
        let (a, b) = (of("key confirm a")?, of("key confirm b")?);
        let sends = if is_a { Direction::Ab } else { Direction::Ba };
        self.channel = Some(Channel {
            session: Session::established(kind, done, None, sends)?,
            confirmations: if is_a { [a, b] } else { [b, a] },
            digits: (kind == Kind::Dev).then_some(done.comparison),
            last_m3: None,
            accepted: [false; 2],
        });
        self.assurance = if kind == Kind::Dev { Assurance::Plain } else { Assurance::Code };
        self.stage = Stage::Confirming { m3 };
        // What the channel came from is used up.
        (self.material, self.package, self.confirm) = (None, None, None);
        Ok(())
    }

    fn send_confirmation(&self, fx: &mut Effects) -> Result<(), Error> {
        let Some(channel) = &self.channel else { return Ok(()) };
        let mac = channel.confirmations[0].expose();
        push(fx, Effect::Seal(pdu::build(&[&[pdu::KEY_PACKAGE, op::CONFIRM], mac])?))
    }

    // --- sealed at dev tier ---------------------------------------------------------------------------

    /// Seals `parts` as message `base` of `id` for a bus of `format`; first leaves a due reservation in `fx`.
    pub fn seal(
        &mut self,
        own: &Identity,
        format: FrameFormat,
        id: SealedId,
        base: u16,
        parts: &[&[u8]],
        out: &mut [u8],
        fx: &mut Effects,
    ) -> Result<usize, Error> {
        let session = &mut self.channel.as_mut().ok_or(Error::InvalidKey)?.session;
        if let Some(due) = session.due(Tier::Dev, self.slot) {
            let record = due.encode(&own.storage_key()?);
            let key = key::counter(self.slot, Tier::Dev);
            push(fx, Effect::Store(Record::new(key, &[&record])?))?;
            session.reserved(&due);
        }
        session.set_format(format);
        session.seal(id, base, 0, parts, out)
    }

    /// Opens a message sealed at dev tier.
    pub fn open<'a>(
        &mut self,
        now: Instant,
        id: SealedId,
        sealed: &'a mut [u8],
    ) -> Result<Opened<'a>, Refusal> {
        let channel = self.channel.as_mut().ok_or(Refusal::UnknownKey)?;
        channel.session.open(now, &Limits::DEFAULT, id, sealed)
    }

    /// A key package PDU that was opened at dev tier.
    pub fn sealed_message(
        &mut self,
        own: &Identity,
        body: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        match *body {
            [op::CONFIRM, ref mac @ ..] => self.on_confirmed(own, mac, now, fx),
            [op::COMPARED, verdict, seen] => self.on_compared(verdict, seen, now, fx),
            _ => Err(Error::Malformed),
        }
    }

    fn on_confirmed(
        &mut self,
        own: &Identity,
        mac: &[u8],
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        let channel = self.channel.as_ref().ok_or(Error::WrongParty)?;
        if !equal(mac, channel.confirmations[1].expose()) {
            return Err(Error::NotAuthentic);
        }
        // B repeats its confirmation until it hears that of A.
        if self.is_a(own) {
            self.send_confirmation(fx)?;
        }
        if !matches!(self.stage, Stage::Confirming { .. }) {
            return Ok(());
        }
        self.timer = None;
        match self.channel.as_ref().and_then(|c| c.digits) {
            Some(digits) => {
                self.stage = Stage::Comparing;
                self.compare_until = Some(self.window.map_or(now + WINDOW, |w| w.until()));
                push(fx, Effect::Event(Event::Compare { digits }))
            }
            None => self.stand(fx),
        }
    }

    fn stand(&mut self, fx: &mut Effects) -> Result<(), Error> {
        (self.stage, self.timer, self.compare_until) = (Stage::Up, None, None);
        push(fx, Effect::Event(Event::ChannelUp { assurance: self.assurance }))?;
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
                self.send_confirmation(fx)?;
                self.again(now, CONFIRM_TIMEOUT);
                Ok(())
            }
            // Accepted here: said again until the other side accepts too, or the time to compare is over.
            Stage::Comparing => {
                self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: 1 });
                self.send_verdict(true, fx)
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
            Stage::Up => {
                self.timer = None;
                Ok(())
            }
        }
    }
}

fn push(fx: &mut Effects, effect: Effect) -> Result<(), Error> {
    fx.push_back(effect).map_err(|_| Error::BufferTooSmall)
}
