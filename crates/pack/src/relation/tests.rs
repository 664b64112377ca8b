//! Two ends of one relationship on a line that loses, repeats and reorders, with power cuts, under virtual time.
//! Decisions are enumerated, so a failure names the ones that led to it.

mod sealing;
mod upkeep;

use super::*;
use crate::{
    can::Bus,
    sealed_id::{Level, SecurityId},
};
use lct::{
    attest::{CertificateType, DeviceCertificate, Subject},
    sign::SigningKey,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    boxed::Box,
    collections::{BTreeMap, HashMap, VecDeque},
    format, println, vec,
    vec::Vec,
};

type Flash = BTreeMap<u16, Vec<u8>>;

fn identity(name: &str, role: Role, rng: &mut ChaCha20Rng) -> Identity {
    let (root, key) = (SigningKey::generate(rng), SigningKey::generate(rng));
    let subject = Subject {
        kind: CertificateType::Device,
        cid: Cid::of(name),
        role,
        flags: 0,
        not_before: 0,
        not_after: u32::MAX,
        hw: [0; 8],
        key: key.public(),
        code_commit: [0; 32],
    };
    let device = DeviceCertificate::issue(&subject, &root, rng);
    Identity {
        component_id: name.try_into().unwrap(),
        serial: name.try_into().unwrap(),
        role,
        key,
        device,
        batch: device,
        root: root.public(),
        authority: SpkSecret::generate(rng).unwrap().public(),
        hardware: 1,
        firmware: 1,
        capacity_mwh: 0,
        unique_id: 0,
    }
}

/// Identity and flash of app and pack, bound and paired, as the handshakes left them.
pub(super) struct Couple {
    identities: [Identity; 2],
    flash: [Flash; 2],
}

pub(super) fn couple(compact: &[u16]) -> Couple {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let identities = [identity("app-0001", Role::App, &mut rng), identity("pack-0001", Role::Pack, &mut rng)];
    let keys = [SpkSecret::generate(&mut rng).unwrap(), SpkSecret::generate(&mut rng).unwrap()];
    let tag = ExchangeTag::of(&Secret::new([7; 32]));
    let flash = [0, 1].map(|me| {
        let mut relation = Relation::new(0);
        let (own, peer) = (&identities[me], &identities[1 - me]);
        let peer_of = (peer.cid(), peer.role);
        relation.bond = Some(Bond {
            binding_id: BindingId([1; 16]),
            peer: peer_of,
            peer_spk: keys[1 - me].public(),
            own: keys[me].clone(),
            assurance: Assurance::Attested,
        });
        let sends = direction(own, peer_of);
        let master = |b: u8| MasterSecret(Secret::new([b; 32]));
        let mut pair =
            Session::at_epoch(Kind::Pair, [5; 32], 0, master(5), Some(tag.clone()), sends).unwrap();
        pair.allow_compact(compact).unwrap();
        relation.pair = Some(Channel::stored(pair, None));
        let bind = Session::at_epoch(Kind::Bind, [6; 32], 0, master(6), None, sends).unwrap();
        relation.bind = Some(Channel::stored(bind, None));
        relation.pairing_id = Some(PairingId([2; 16]));
        let bond = relation.bond.as_ref().unwrap().encode().unwrap();
        Flash::from([
            (key::bond(0), bond.to_vec()),
            (key::session(0), relation.session_record().unwrap().value.to_vec()),
            (key::binding(0), relation.channel_record(Tier::Bind).unwrap().value.to_vec()),
        ])
    });
    Couple { identities, flash }
}

/// A message on the line.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    Clear(Vec<u8>),
    Sealed(SealedId, Vec<u8>),
}

pub(super) struct End {
    pub(super) relation: Relation,
    flash: Flash,
    boot: u32,
    /// Stores and transmits so far.
    steps: usize,
    /// The power is cut instead of this step.
    cut: Option<usize>,
    events: Vec<RelationEvent>,
    /// Bases of ordinary messages that were opened, with the time.
    opened: Vec<(Instant, u16, Tier)>,
    refused: u32,
}

pub(super) struct Line<'a> {
    couple: &'a Couple,
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    wire: VecDeque<(usize, Wire)>,
    rng: ChaCha20Rng,
    /// What happens to the next messages: 0 arrives, 1 is lost, 2 arrives twice, 3 is overtaken.
    decisions: VecDeque<u8>,
    deciding: bool,
    /// Nonce and bytes of every sealed message: the oracle of repeated nonces.
    nonces: HashMap<Vec<u8>, Vec<u8>>,
    recorded: Vec<(usize, Wire)>,
    next_traffic: Instant,
    next_ask: Instant,
    /// First bytes of clear messages that are lost until then.
    lost: Option<(Vec<u8>, Instant)>,
}

const SIDES: [Direction; 2] = [Direction::Ab, Direction::Ba];

fn security(side: usize) -> SecurityId {
    SecurityId::new(Bus::Can1, SIDES[side], 0)
}

impl<'a> Line<'a> {
    pub(super) fn new(couple: &'a Couple) -> Self {
        let mut line = Line {
            couple,
            now: Instant::START,
            ends: [0, 1].map(|side| End {
                relation: Relation::new(0),
                flash: couple.flash[side].clone(),
                boot: 0,
                steps: 0,
                cut: None,
                events: Vec::new(),
                opened: Vec::new(),
                refused: 0,
            }),
            wire: VecDeque::new(),
            rng: ChaCha20Rng::seed_from_u64(9),
            decisions: VecDeque::new(),
            deciding: false,
            nonces: HashMap::new(),
            recorded: Vec::new(),
            next_traffic: Instant::START,
            next_ask: Instant::START,
            lost: None,
        };
        for side in [1, 0] {
            line.start(side);
        }
        line
    }

    /// Starts an end from its flash, as a role does.
    pub(super) fn start(&mut self, side: usize) {
        let end = &mut self.ends[side];
        let limits = *end.relation.limits();
        end.boot += 1;
        end.relation = Relation::new(0);
        end.relation.set_limits(limits).unwrap();
        let flash = end.flash.clone();
        let load = |key: u16| flash.get(&key).map(|value| Record::new(key, &[value])).transpose();
        end.relation.restore(&self.couple.identities[side], load).unwrap();
        let mut fx = Effects::new();
        match side {
            0 => end.relation.resume(self.now, end.boot, &mut fx, &mut self.rng).unwrap(),
            _ => {
                self.next_ask = self.now + Duration::from_secs(2);
                Relation::ask_for_run(&mut fx).unwrap();
            }
        }
        self.perform(side, fx);
    }

    /// One durable or visible step; false when the power went instead.
    fn step(&mut self, side: usize) -> bool {
        let end = &mut self.ends[side];
        if end.cut == Some(end.steps) {
            end.cut = None;
            self.start(side);
            return false;
        }
        end.steps += 1;
        true
    }

    fn perform(&mut self, side: usize, mut fx: Effects) {
        while let Some(effect) = fx.pop_front() {
            let alive = match effect {
                Effect::Store(record) => self.store(side, &record),
                Effect::ToPeer(pdu) => self.transmit(side, Wire::Clear(pdu.to_vec())),
                Effect::SealToPeer(tier, pdu) => {
                    let level = Level::from_bits(u32::from(tier.level()));
                    self.seal(side, security(side).sealed(level), security(side).base(), &pdu)
                }
                Effect::Event(event) => {
                    self.ends[side].events.push(event);
                    true
                }
                Effect::ToAuthority(_) => true,
            };
            if !alive {
                return;
            }
        }
    }

    fn store(&mut self, side: usize, record: &Record) -> bool {
        let alive = self.step(side);
        if alive {
            self.ends[side].flash.insert(record.key, record.value.to_vec());
        }
        alive
    }

    fn transmit(&mut self, side: usize, message: Wire) -> bool {
        let alive = self.step(side);
        if alive {
            self.wire.push_back((side, message));
        }
        alive
    }

    /// Seals and sends; the oracle fails on a nonce that was seen with other bytes.
    pub(super) fn seal(&mut self, side: usize, id: SealedId, base: u16, body: &[u8]) -> bool {
        let (mut out, mut fx) = ([0; 600], Effects::new());
        let own = &self.couple.identities[side];
        let n = match self.ends[side].relation.seal(own, id, base, 0, &[body], &mut out, &mut fx) {
            Ok(n) => n,
            Err(_) => return true,
        };
        while let Some(effect) = fx.pop_front() {
            if let Effect::Store(record) = effect
                && !self.store(side, &record)
            {
                return false;
            }
        }
        let before = self.nonces.insert(out[..12].to_vec(), out[..n].to_vec());
        assert!(before.is_none_or(|bytes| bytes == out[..n]), "a nonce was used twice");
        self.recorded.push((side, Wire::Sealed(id, out[..n].to_vec())));
        self.transmit(side, Wire::Sealed(id, out[..n].to_vec()))
    }

    /// A message of each tier in each direction.
    pub(super) fn traffic(&mut self) {
        for (side, base, level) in [
            (0, 0x405, Level::Exch),
            (0, 0x400, Level::Pair),
            (1, 0x421, Level::Exch),
            (1, 0x424, Level::Pair),
        ] {
            let id = SealedId::new(base, level, SIDES[side], 0).unwrap();
            self.seal(side, id, base, &[1, 2, 3]);
        }
    }

    pub(super) fn deliver(&mut self, side: usize, message: Wire) {
        let end = &mut self.ends[side];
        let own = &self.couple.identities[side];
        let mut fx = Effects::new();
        let result = match message {
            Wire::Clear(pdu) => {
                end.relation.handshake(own, &pdu[1..], self.now, end.boot, &mut fx, &mut self.rng)
            }
            Wire::Sealed(id, mut bytes) => match end.relation.open(self.now, id, &mut bytes) {
                Err(_) => {
                    end.refused += 1;
                    Ok(())
                }
                Ok(Opened { base, tier, body, .. }) if base == security(1 - side).base() => match *body {
                    [pdu::CONFIRM, ref m @ ..] => end.relation.confirmed(tier, m, &mut fx),
                    [pdu::ROTATE, ref m @ ..] => {
                        end.relation.rotation(self.now, tier, m, &mut fx, &mut self.rng)
                    }
                    _ => Err(Error::Malformed),
                },
                Ok(Opened { base, tier, .. }) => {
                    end.opened.push((self.now, base, tier));
                    Ok(())
                }
            },
        };
        if result.is_err() {
            end.refused += 1;
        }
        self.perform(side, fx);
    }

    /// Takes one message from the line, by the next decision.
    fn move_one(&mut self) -> bool {
        let Some((from, message)) = self.wire.pop_front() else { return false };
        self.now = self.now + Duration::from_micros(2_000);
        if let (Some((head, until)), Wire::Clear(pdu)) = (&self.lost, &message)
            && self.now < *until
            && pdu.starts_with(head)
        {
            return true;
        }
        let decision = if self.deciding { self.decisions.pop_front().unwrap_or(0) } else { 0 };
        match decision {
            1 => {}
            2 => {
                self.deliver(1 - from, message.clone());
                self.wire.push_back((from, message));
            }
            3 if !self.wire.is_empty() => self.wire.push_back((from, message)),
            _ => self.deliver(1 - from, message),
        }
        true
    }

    pub(super) fn run_for(&mut self, span: Duration, traffic: bool) {
        let end = self.now + span;
        loop {
            while self.move_one() {}
            let dues = self.ends.iter().filter_map(|e| e.relation.due());
            // B asks until it is answered (C62).
            let asks = (!self.ends[1].relation.is_up()).then_some(self.next_ask);
            let next = dues.chain(asks).chain(traffic.then_some(self.next_traffic)).min();
            let Some(next) = next.filter(|t| *t <= end) else { break };
            if next > end {
                break;
            }
            self.now = if next <= self.now { self.now + Duration::from_micros(100) } else { next };
            if self.now > end {
                break;
            }
            for side in [0, 1] {
                let due = self.ends[side].relation.due().is_some_and(|t| t <= self.now);
                let mut fx = Effects::new();
                let End { relation, boot, .. } = &mut self.ends[side];
                if due {
                    let own = &self.couple.identities[side];
                    relation.tick(own, self.now, *boot, &mut fx, &mut self.rng).unwrap();
                }
                self.perform(side, fx);
            }
            if !self.ends[1].relation.is_up() && self.next_ask <= self.now {
                self.next_ask = self.now + Duration::from_secs(2);
                let mut fx = Effects::new();
                Relation::ask_for_run(&mut fx).unwrap();
                self.perform(1, fx);
            }
            if traffic && self.next_traffic <= self.now {
                self.next_traffic = self.now + Duration::from_secs(1);
                self.traffic();
            }
        }
        self.now = self.now.max(end);
    }

    pub(super) fn rotate(&mut self) {
        let mut fx = Effects::new();
        self.ends[0].relation.rotate(self.now, &mut fx, &mut self.rng).unwrap();
        self.perform(0, fx);
    }

    fn epochs(&self) -> [Option<u32>; 2] {
        [0, 1].map(|side| self.ends[side].relation.session().map(Session::epoch))
    }

    /// Both ends agree, and a message of each tier and direction that is sent now arrives.
    fn check(&mut self, what: &str) {
        let epochs = self.epochs();
        assert!(epochs[0].is_some() && epochs[0] == epochs[1], "{what}: epochs {epochs:?}");
        assert!(self.ends.iter().all(|e| e.relation.is_bind_up()), "{what}: binding");
        let before = [0, 1].map(|side| self.ends[side].opened.len());
        self.traffic();
        for (side, base) in [(0, 0x40C), (1, 0x4AC)] {
            let id = SealedId::new(base, Level::Bind, SIDES[side], 0).unwrap();
            let base = base ^ 1;
            self.seal(side, id, base, b"bind");
        }
        while self.move_one() {}
        for side in [0, 1] {
            let new: Vec<Tier> = self.ends[side].opened[before[side]..].iter().map(|o| o.2).collect();
            assert_eq!(new, [Tier::Exch, Tier::Pair, Tier::Bind], "{what}: what side {side} opened");
        }
    }

    /// Both ends lose power at once: from flash alone they find together again.
    fn check_flash(&mut self, what: &str) {
        self.wire.clear();
        self.deciding = false;
        self.start(1);
        self.start(0);
        self.run_for(Duration::from_secs(10), false);
        self.check(what);
    }
}

fn up(couple: &Couple) -> Box<Line<'_>> {
    let mut line = Box::new(Line::new(couple));
    line.run_for(Duration::from_secs(2), false);
    line.check("after the start");
    line
}

#[test]
fn an_undisturbed_rotation_refuses_nothing_and_resumes_the_binding() {
    let couple = couple(&[]);
    let mut line = up(&couple);
    assert_eq!(line.epochs(), [Some(1); 2]);
    for n in 2..6 {
        line.ends.iter_mut().for_each(|e| e.events.clear());
        line.traffic();
        line.rotate();
        line.traffic();
        line.run_for(Duration::from_secs(3), true);
        assert_eq!(line.epochs(), [Some(n); 2]);
        for (side, end) in line.ends.iter().enumerate() {
            let rotated = |e: &RelationEvent| matches!(e, RelationEvent::Rotated { epoch } if *epoch == n);
            assert_eq!(end.events.iter().filter(|e| rotated(e)).count(), 1, "side {side}: {:?}", end.events);
            let binding = |e: &RelationEvent| matches!(e, RelationEvent::BindingUp { .. });
            assert_eq!(end.events.iter().filter(|e| binding(e)).count(), 1);
            assert_eq!(end.refused, 0, "side {side}");
        }
    }
    line.check("after rotations");
    line.check_flash("after rotations");
}

/// Every choice of fates for the first messages after the rotation began.
fn explore(depth: u32) -> u32 {
    let couple = couple(&[]);
    let runs = 4u32.pow(depth);
    for number in 0..runs {
        let decisions: Vec<u8> = (0..depth).map(|i| (number >> (2 * i) & 3) as u8).collect();
        let mut line = up(&couple);
        line.deciding = true;
        line.decisions = decisions.iter().copied().collect();
        line.rotate();
        line.run_for(Duration::from_millis(1_700), true);
        line.run_for(Duration::from_secs(20), true);
        let what = format!("decisions {decisions:?}");
        line.check(&what);
        assert!(line.epochs()[0] > Some(1), "{what}");
        line.check_flash(&what);
    }
    runs
}

#[test]
fn whatever_is_lost_repeated_or_overtaken_both_ends_go_on() {
    println!("{} runs", explore(5));
}

#[test]
#[ignore = "takes minutes"]
fn whatever_is_lost_repeated_or_overtaken_both_ends_go_on_deeper() {
    println!("{} runs", explore(7));
}

/// Anybody can make A begin a RESUME in the midst of a rotation, and lose one kind of its messages for as long as A
/// repeats it: the two must never part (H95).
#[test]
fn a_resume_in_the_midst_of_a_rotation() {
    let couple = couple(&[]);
    let mut runs = 0;
    for after in 0..6 {
        for lost in [None, Some(0x04), Some(0x44), Some(0x84)] {
            for number in 0..16 {
                let decisions: Vec<u8> = (0..2).map(|i| (number >> (2 * i) & 3) as u8).collect();
                let mut line = up(&couple);
                line.rotate();
                for _ in 0..after {
                    line.move_one();
                    let mut fx = Effects::new();
                    let End { relation, boot, .. } = &mut line.ends[0];
                    relation.tick(&couple.identities[0], line.now, *boot, &mut fx, &mut line.rng).unwrap();
                    line.perform(0, fx);
                }
                line.deliver(0, Wire::Clear(vec![pdu::HANDSHAKE, 1, 0x7F, 0, 1]));
                line.deciding = true;
                line.decisions = decisions.iter().copied().collect();
                line.lost =
                    lost.map(|code| (vec![pdu::HANDSHAKE, 1, code], line.now + Duration::from_secs(6)));
                line.run_for(Duration::from_secs(40), true);
                let what = format!("request after {after} messages, {lost:?} lost, decisions {decisions:?}");
                line.check(&what);
                line.check_flash(&what);
                runs += 1;
            }
        }
    }
    println!("{runs} runs");
}

/// The power of one end goes at every store and every transmit of a rotation, alone and together with the loss of
/// each message.
#[test]
fn a_power_cut_at_every_step_of_a_rotation() {
    let couple = couple(&[]);
    let mut cuts = 0;
    for side in [0, 1] {
        for lost in 0..9u32 {
            for at in 0.. {
                let mut line = up(&couple);
                line.deciding = true;
                line.decisions = (1..=9).map(|i| u8::from(i == lost)).collect();
                let begin = line.ends[side].steps;
                line.ends[side].cut = Some(begin + at);
                line.rotate();
                line.run_for(Duration::from_millis(1_700), true);
                let cut = line.ends[side].cut.take().is_none();
                line.run_for(Duration::from_secs(20), true);
                let what = format!("side {side} cut at step {at}, message {lost} lost");
                line.check(&what);
                line.check_flash(&what);
                cuts += u32::from(cut);
                if !cut || at > 40 {
                    break;
                }
            }
        }
    }
    println!("cut at {cuts} points");
    assert!(cuts > 100);
}

/// The same for the RESUME of both channels at a start.
#[test]
fn a_power_cut_at_every_step_of_a_start() {
    let couple = couple(&[]);
    let mut cuts = 0;
    for side in [0, 1] {
        for lost in 0..9u32 {
            for at in 0.. {
                let mut line = up(&couple);
                line.start(1 - side);
                line.deciding = true;
                line.decisions = (1..=9).map(|i| u8::from(i == lost)).collect();
                let begin = line.ends[side].steps;
                line.ends[side].cut = Some(begin + at);
                line.start(side);
                line.run_for(Duration::from_millis(1_700), true);
                let cut = line.ends[side].cut.take().is_none();
                line.run_for(Duration::from_secs(90), true);
                let what = format!("side {side} cut at step {at}, message {lost} lost");
                line.check(&what);
                line.check_flash(&what);
                cuts += u32::from(cut);
                if !cut || at > 40 {
                    break;
                }
            }
        }
    }
    println!("cut at {cuts} points");
    assert!(cuts > 100);
}

/// Attack 5: the epoch before is opened for two seconds, exchange tier only, each message once; a message never
/// makes an epoch jump.
#[test]
fn what_the_old_epoch_still_opens() {
    let couple = couple(&[]);
    for (after_ms, level, opens) in [
        (100, Level::Exch, true),
        (1_900, Level::Exch, true),
        (2_100, Level::Exch, false),
        (100, Level::Pair, false),
    ] {
        let mut line = up(&couple);
        let base = if level == Level::Exch { 0x405 } else { 0x400 };
        let id = SealedId::new(base, level, Direction::Ab, 0).unwrap();
        line.seal(0, id, base, b"held back");
        let (_, held) = line.wire.pop_back().unwrap();
        line.rotate();
        while line.move_one() {}
        let begun = line.now;
        line.run_for(Duration::from_micros(50_000), false);
        assert_eq!(line.epochs(), [Some(2); 2]);
        line.now = begun + Duration::from_millis(after_ms);
        let before = line.ends[1].opened.len();
        line.deliver(1, held.clone());
        line.deliver(1, held);
        assert_eq!(line.ends[1].opened.len() - before, usize::from(opens), "{level:?} after {after_ms} ms");
        assert_eq!(line.epochs(), [Some(2); 2]);
    }
    // After a start nothing of an old epoch is opened, whatever its age: the windows are gone.
    let mut line = up(&couple);
    line.traffic();
    while line.move_one() {}
    let recorded = line.recorded.clone();
    line.start(1);
    let replay = |line: &mut Line<'_>| {
        let before = line.ends[1].opened.len();
        for (from, message) in &recorded {
            if *from == 0 {
                line.deliver(1, message.clone());
            }
        }
        assert_eq!(line.ends[1].opened.len(), before);
    };
    replay(&mut line);
    line.run_for(Duration::from_secs(1), false);
    line.check("after the start");
    replay(&mut line);
}

/// Power cuts at random steps of random operations: starts, rotations, traffic, on either side, with losses.
fn random_cuts(runs: u64) -> u32 {
    let couple = couple(&[]);
    let mut cuts = 0;
    for seed in 0..runs {
        let mut dice = ChaCha20Rng::seed_from_u64(seed);
        let mut line = up(&couple);
        for _ in 0..3 {
            line.deciding = true;
            line.decisions = (0..12).map(|_| [0, 0, 0, 1, 2, 3][(dice.next_u32() % 6) as usize]).collect();
            let side = (dice.next_u32() % 2) as usize;
            let at = line.ends[side].steps + (dice.next_u32() % 12) as usize;
            line.ends[side].cut = Some(at);
            match dice.next_u32() % 4 {
                0 => line.start(1 - side),
                1 => line.start(side),
                _ => line.rotate(),
            }
            line.run_for(Duration::from_millis(u64::from(dice.next_u32() % 3_000)), true);
            cuts += u32::from(line.ends[side].cut.take().is_none());
        }
        line.deciding = false;
        line.run_for(Duration::from_secs(90), true);
        let what = format!("seed {seed}");
        line.check(&what);
        line.check_flash(&what);
    }
    cuts
}

#[test]
fn power_cuts_at_random() {
    println!("cut at {} points", random_cuts(150));
}

#[test]
#[ignore = "takes minutes"]
fn power_cuts_at_random_ten_thousand_times() {
    let cuts = random_cuts(5_000);
    println!("cut at {cuts} points");
    assert!(cuts >= 10_000);
}

/// Attack 11: an old image of one side is noticed by its boot counter and gets no channel; of both sides it cannot be
/// noticed, and still no nonce comes twice, because both nonces make the keys.
#[test]
fn old_flash_images() {
    let couple = couple(&[]);
    for restored in [vec![0], vec![1], vec![0, 1]] {
        let mut line = up(&couple);
        let images = [0, 1].map(|side| (line.ends[side].flash.clone(), line.ends[side].boot));
        line.run_for(Duration::from_secs(5), true);
        line.rotate();
        line.run_for(Duration::from_secs(5), true);
        for side in [0, 1, 0] {
            line.start(side);
            line.run_for(Duration::from_secs(5), true);
        }
        line.check("before");
        for side in &restored {
            (line.ends[*side].flash, line.ends[*side].boot) = images[*side].clone();
        }
        line.start(1);
        line.start(0);
        line.run_for(Duration::from_secs(30), true);
        match restored.len() {
            1 => assert_eq!(line.epochs(), [None, None], "side {restored:?}"),
            _ => line.check("both restored"),
        }
    }
}

/// A RESUME of the binding that finds no answer holds up no RESUME of the pairing.
#[test]
fn the_pairing_goes_first() {
    let couple = couple(&[]);
    let mut line = up(&couple);
    // The other side lost its channel of the binding.
    line.ends[1].flash.insert(key::binding(0), Vec::new());
    line.start(1);
    line.run_for(Duration::from_secs(3), false);
    assert_eq!(line.epochs(), [Some(2); 2]);
    assert!(!line.ends[1].relation.is_bind_up());
    for n in 3..6 {
        line.start(1);
        line.run_for(Duration::from_secs(3), false);
        assert_eq!(line.epochs(), [Some(n); 2]);
    }
}
