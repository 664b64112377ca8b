//! An installation with an attacker on both of its buses, and the judge of everything that it sends.

use super::{
    Tally,
    world::{World, rogue::Rogue},
};
use lct::{handshake::Kind, schedule, secret::Secret, spk::SpkSecret};
use pack::{
    app,
    can::{Bus, Frame},
    chunk::{Push, Reassembler, split},
    controller,
    identity::key,
    isotp::{Received, Receiver, ReceiverConfig},
    message::RelayState,
    module, pdu, policy,
    sealed_id::{Class, Direction, SealedId, SecurityId, Transport, classify},
    session::Session,
    time::Instant,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

/// Place of the app, the pack and the first module among the parties of a world.
pub const APP: usize = 0;
pub const PACK: usize = 1;
pub const MODULE: usize = 2;

/// A whole message of a party, as somebody on the bus records it.
#[derive(Clone)]
pub struct Message {
    pub at: Instant,
    pub who: usize,
    pub bus: Bus,
    /// Its identifier, if it is sealed; security PDUs have none.
    pub sealed: Option<SealedId>,
    pub bytes: Vec<u8>,
    pub frames: Vec<Frame>,
}

/// Who hears every frame: the recorder of the attacker, and the judge.
#[derive(Default)]
struct Tap {
    messages: Vec<Message>,
    clear: Vec<(Instant, usize, Bus, Frame)>,
    open: HashMap<(u8, u32), Vec<Frame>>,
    chunks: Option<[Reassembler<64>; 2]>,
    long: HashMap<(u8, u32), Receiver<1536>>,
    /// Each nonce with the message that it sealed.
    nonces: BTreeMap<[u8; 12], Vec<u8>>,
    repeated: u32,
    /// What parties told their owners, as printed with bytes in hexadecimal digits.
    told: Vec<String>,
}

impl Tap {
    fn hear(&mut self, who: usize, at: Instant, bus: Bus, frame: &Frame) {
        let (canonical, transport, sealed) = match classify(bus, frame) {
            Ok(Class::Sealed(id, transport)) => (id.canonical(), transport, Some(id)),
            Ok(Class::Security(id, transport)) => (id.canonical(), transport, None),
            _ => return self.clear.push((at, who, bus, *frame)),
        };
        let key = (bus as u8, canonical.to_u32());
        self.open.entry(key).or_default().push(*frame);
        let bytes = if transport == Transport::IsoTp {
            let receiver = self.long.entry(key).or_insert_with(|| Receiver::new(ReceiverConfig::default()));
            match receiver.on_frame(at, frame.data()) {
                Received::Message(message) => message.to_vec(),
                _ => return,
            }
        } else {
            let chunks = self.chunks.get_or_insert_with(|| [(); 2].map(|()| Reassembler::new()));
            match chunks[bus as usize].push(at, canonical, transport, frame.data()) {
                Push::Complete(message) => message.to_vec(),
                _ => return,
            }
        };
        let frames = self.open.remove(&key).unwrap_or_default();
        if sealed.is_some()
            && let Some(nonce) = bytes.first_chunk::<12>()
        {
            let known = self.nonces.entry(*nonce).or_insert_with(|| bytes.clone());
            self.repeated += u32::from(*known != bytes);
        }
        self.messages.push(Message { at, who, bus, sealed, bytes, frames });
    }
}

/// An installation under attack.
pub struct Field {
    pub w: World,
    tap: Rc<RefCell<Tap>>,
    /// Secrets that no frame and no event may show.
    canaries: BTreeSet<[u8; 8]>,
    /// When both ends of every channel were paired: from then on no protected class may be sent in clear.
    paired_at: Option<Instant>,
}

impl Field {
    /// A pack as it leaves the factory.
    pub fn new(modules: usize, seed: u64) -> Self {
        let mut w = World::new(modules, seed);
        let tap = Rc::new(RefCell::new(Tap::default()));
        let ear = tap.clone();
        w.ear = Some(Box::new(move |who, at, bus, frame| ear.borrow_mut().hear(who, at, bus, frame)));
        let owner = tap.clone();
        w.owner = Some(Box::new(move |event| owner.borrow_mut().told.push(format!("{event:02x?}"))));
        Field { w, tap, canaries: BTreeSet::new(), paired_at: None }
    }

    /// Everything bound and paired, with device halves from the authority.
    pub fn commissioned(modules: usize, seed: u64) -> Self {
        let mut field = Field::new(modules, seed);
        field.w.packages = [true; 2];
        field.commission();
        field
    }

    /// Binds and pairs everything; what the next binding and certificates say was set before.
    pub fn commission(&mut self) {
        self.w.commission();
        self.paired_at = Some(self.w.now);
    }

    /// Commissioned, and On by the app's command.
    pub fn operational(modules: usize, seed: u64) -> Self {
        let mut field = Field::commissioned(modules, seed);
        field.order(RelayState::On);
        field
    }

    /// The owner switches Off and On again, and three seconds are measured: every message that was sealed meanwhile.
    pub fn session_of_commands(&mut self) -> Vec<Message> {
        let start = self.w.now;
        self.order(RelayState::Off);
        self.order(RelayState::On);
        for _ in 0..3 {
            self.w.measure(-20_000);
            self.w.run_for(1_000);
        }
        self.recorded().into_iter().filter(|m| m.at >= start).collect()
    }

    /// The owner asks for a state; it stands within two seconds, or the run is of no use.
    pub fn order(&mut self, state: RelayState) {
        let now = self.w.now;
        self.w.app.set_state(now, state, &mut self.w.rng).unwrap();
        self.w.run_for(2_000);
        assert_eq!(self.w.pack.state(), state, "the owner's own command");
    }

    /// Loses what `lost` names while `ms` pass after `action`; returns what parties sent of it meanwhile. It goes on
    /// being lost until [`Field::let_through`].
    pub fn withhold(
        &mut self,
        lost: fn(SealedId) -> bool,
        action: impl FnOnce(&mut World),
        ms: u64,
    ) -> Vec<Message> {
        self.w.filter = Box::new(move |frame| {
            let named = |bus| matches!(classify(bus, frame), Ok(Class::Sealed(id, _)) if lost(id));
            // The families of the two buses are different ones.
            !(named(Bus::Can1) || named(Bus::Can2))
        });
        let from = self.tap.borrow().messages.len();
        action(&mut self.w);
        self.w.run_for(ms);
        let tap = self.tap.borrow();
        tap.messages[from..].iter().filter(|m| m.sealed.is_some_and(lost)).cloned().collect()
    }

    /// Nothing is lost any more.
    pub fn let_through(&mut self) {
        self.w.filter = Box::new(|_| true);
    }

    /// The app's own requests for a handshake with the pack do not arrive.
    pub fn silence_app(&mut self) {
        let first = |frame: &Frame| {
            matches!(classify(Bus::Can1, frame), Ok(Class::Security(id, t))
            if id.direction() == Direction::Ab && matches!(t, Transport::Chunk { cur: 1, .. })
                && frame.data().first() == Some(&pdu::HANDSHAKE))
        };
        self.w.filter = Box::new(move |frame| !first(frame));
    }

    /// Answers of the pack to a request for a handshake of this kind, so far.
    pub fn answered(&self, kind: Kind) -> usize {
        let m2 = [pdu::HANDSHAKE, 1, kind as u8 | 0x40];
        self.tap.borrow().messages.iter().filter(|m| m.who == PACK && m.bytes.starts_with(&m2)).count()
    }

    /// Milliseconds from the owner's Off until the pack is Off, while `disturb` does something each millisecond.
    pub fn latency(&mut self, mut disturb: impl FnMut(&mut Field)) -> u32 {
        self.order(RelayState::On);
        for _ in 0..300 {
            disturb(self);
            self.w.run_for(1);
        }
        let now = self.w.now;
        self.w.app.set_state(now, RelayState::Off, &mut self.w.rng).unwrap();
        for ms in 0..2_000 {
            if self.w.pack.state() == RelayState::Off {
                return ms;
            }
            disturb(self);
            self.w.run_for(1);
        }
        u32::MAX
    }

    /// Everything that parties sealed so far, in order.
    pub fn recorded(&self) -> Vec<Message> {
        self.tap.borrow().messages.iter().filter(|m| m.sealed.is_some()).cloned().collect()
    }

    /// Every whole message that parties sent so far, security PDUs included.
    pub fn messages(&self) -> Vec<Message> {
        self.tap.borrow().messages.clone()
    }

    /// Puts frames on a bus: every party hears them.
    pub fn inject(&mut self, bus: Bus, frames: &[Frame]) {
        let w = &mut self.w;
        for frame in frames {
            let now = w.now;
            w.pack.frame(now, bus, frame, &mut w.rng).unwrap();
            match bus {
                Bus::Can1 => w.app.frame(now, frame, &mut w.rng).unwrap(),
                Bus::Can2 => w.modules.iter_mut().for_each(|m| m.frame(now, frame, &mut w.rng).unwrap()),
            }
        }
    }

    /// Puts a security PDU on CAN 1 as if it came from the app.
    pub fn as_app(&mut self, pdu: &[u8]) {
        let id = SecurityId::new(Bus::Can1, Direction::Ab, 0);
        let frames: Vec<_> = split(id.canonical(), pdu).unwrap().collect();
        self.inject(Bus::Can1, &frames);
    }

    /// Puts a sealed message on its bus.
    pub fn send(&mut self, bus: Bus, id: SealedId, bytes: &[u8]) {
        // Longer ones are no chunks and are attacked as they were recorded.
        if let Ok(frames) = split(id.canonical(), bytes) {
            self.inject(bus, &frames.collect::<Vec<_>>());
        }
    }

    /// What everybody refused to open so far.
    pub fn refused(&self) -> u32 {
        let all = [self.w.app.refused(), self.w.pack.refused()].into_iter();
        all.chain(self.w.modules.iter().map(|m| m.refused())).map(|r| r.sealed).sum()
    }

    /// What parties did so far that one can see from outside: states that changed, values that the owner was told.
    pub fn effects(&self) -> Effects {
        let values = |e: &&app::Event| {
            use app::Event as E;
            matches!(e, E::PackStatus(_) | E::ModuleScan(..) | E::Clear(..) | E::Batch(..) | E::Energy(..))
        };
        let states = |e: &&controller::Event| matches!(e, controller::Event::State(_));
        let relays = |e: &&(usize, module::Event)| matches!(e.1, module::Event::Relay(_));
        Effects {
            states: self.w.pack_events.iter().filter(states).count(),
            relays: self.w.module_events.iter().filter(relays).count(),
            values: self.w.events.iter().filter(values).count(),
        }
    }

    /// Holds the present keys of everybody, and what the authority gave out, against what was sent.
    pub fn collect_canaries(&mut self) {
        let w = &self.w;
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for held in &w.held.bindings {
            if let Some(package) = &held.package {
                let parties = lct::key_package::Parties { own: held.ids[0], peer: held.ids[1] };
                secrets.extend(package.halves(&parties).unwrap().map(|half| half.expose().to_vec()));
            }
        }
        secrets.extend(w.held.certificates.iter().flat_map(|c| &c.secrets).map(|s| s.expose().to_vec()));
        let signing =
            [&w.authority.root, &w.authority.batch].into_iter().chain(w.identities.iter().map(|i| &i.key));
        secrets.extend(signing.map(|key| key.to_bytes().expose().to_vec()));
        secrets.push(w.authority.spk.seed().expose().to_vec());
        for relation in [w.app.relation()].into_iter().chain(w.modules.iter().map(|m| m.relation())) {
            secrets.extend(relation.own_spk().map(|spk| spk.seed().expose().to_vec()));
            let sessions = [relation.session(), relation.bind_session()].into_iter().flatten();
            secrets.extend(sessions.map(|s| s.master().0.expose().to_vec()));
        }
        // The pack has a relationship key with each of them, which only its flash shows.
        let bonds = (0..=w.modules.len() as u8).filter_map(|slot| w.flash[PACK].get(&key::bond(slot)));
        secrets.extend(bonds.filter_map(|record| spk_in(record)).map(|spk| spk.seed().expose().to_vec()));
        self.canaries
            .extend(secrets.iter().flat_map(|s| s.windows(8)).map(|w| <[u8; 8]>::try_from(w).unwrap()));
    }

    /// Whether bytes show one of the secrets that were collected.
    pub fn shows(&self, bytes: &[u8]) -> bool {
        bytes.windows(8).any(|w| self.canaries.contains(w))
    }

    /// Whether a printed event spells one of them, whatever stands between the digits.
    pub fn spells(&self, text: &str) -> bool {
        let mut last = 0u64;
        text.chars().filter_map(|c| c.to_digit(16)).any(|digit| {
            last = last << 4 | u64::from(digit);
            self.canaries.contains(&last.to_be_bytes())
        })
    }

    /// Adds what the judges found to the tally of the attack.
    pub fn judge(mut self, tally: &mut Tally) {
        self.collect_canaries();
        let tap = self.tap.borrow();
        let paired = self.paired_at.unwrap_or(self.w.now);
        let protected = |(at, _, bus, frame): &&(Instant, usize, Bus, Frame)| {
            let both = *at > paired && (*bus == Bus::Can1 || !self.w.modules.is_empty());
            let class = classify(*bus, frame);
            both && matches!(class, Ok(Class::Clear(id)) if policy::is_protected_when_paired(*bus, id.base))
        };
        let clear = tap.clear.iter().find(protected);
        tally.attempt(clear.is_some(), || {
            format!("a protected class was sent in clear: {:?}", clear.map(|c| c.3.id()))
        });
        tally.attempt(tap.repeated > 0, || format!("{} nonces sealed two messages each", tap.repeated));
        let clear = tap.clear.iter().map(|(_, _, _, frame)| frame.data());
        let seen =
            tap.messages.iter().map(|m| m.bytes.as_slice()).chain(clear).find(|bytes| self.shows(bytes));
        tally.attempt(seen.is_some(), || {
            format!("a secret was shown on a bus: {} bytes that hold it", seen.map_or(0, <[u8]>::len))
        });
        let told = tap.told.iter().find(|text| self.spells(text));
        tally.attempt(told.is_some(), || {
            let name: String =
                told.into_iter().flat_map(|text| text.chars()).take_while(|c| *c != '(').collect();
            format!("a secret was told to an owner, in {name}")
        });
    }
}

/// The relationship key in the record of a binding: `2 | 101 bytes | own SPK 68 | own seed 32 | assurance`; `None` when it
/// tells of a revoked partner.
pub fn spk_in(record: &[u8]) -> Option<SpkSecret> {
    let (2, seed) = (record[0], record.get(170..202)?) else { return None };
    let spk = SpkSecret::from_seed(Secret::new(seed.try_into().unwrap())).unwrap();
    assert_eq!(spk.public().0, record[102..170], "the seed lies where it is looked for");
    Some(spk)
}

/// The two ends of a channel out of the memory of its app: what the pack would seal, and the receiving end of the app.
pub fn ends(app: &Session) -> (Rogue, Session) {
    (Rogue::peer_of(app), end(app, app.sends()))
}

/// An end of the channel of `party` that sends in `sends` and has received nothing.
pub fn end(party: &Session, sends: schedule::Direction) -> Session {
    let (master, tag) = (party.master().clone(), party.exchange().cloned());
    Session::at_epoch(party.kind(), *party.th4(), party.epoch(), master, tag, sends).unwrap()
}

/// Counts of visible effects; see [`Field::effects`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effects {
    /// Times that the pack changed its state.
    pub states: usize,
    /// Times that a relay switched.
    pub relays: usize,
    /// Values that the app took for true.
    pub values: usize,
}
