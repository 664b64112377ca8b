//! Before a binding: the app's and the pack's machine, by window or by code, and somebody on the wire between them.

use crate::fixture::rng;
use crate::input::Input;
use crate::world;
use lct::id::Role;
use lct::pake::{ProverSecret, STRETCHED_LEN};
use lct::schedule::Direction;
use lct::secret::Secret;
use pack::bootstrap::{Bootstrap, Effect, Effects, Event, Keys};
use pack::can::Bus;
use pack::identity::{Identity, Record, key};
use pack::link::FrameFormat;
use pack::pdu;
use pack::sealed_id::{Level, SealedId, SecurityId};
use pack::time::{Duration, Instant};
use std::collections::VecDeque;
use std::sync::LazyLock;

/// App, then pack.
static IDENTITIES: LazyLock<[Identity; 2]> = LazyLock::new(|| {
    let mut rng = rng();
    let authority = world::authority(&mut rng);
    [("app-0001", Role::App), ("pack-0001", Role::Pack)]
        .map(|(name, role)| world::identity(&authority, name, role, 0, &mut rng))
});

/// The code that is printed on the pack, and another.
static CODES: LazyLock<[ProverSecret; 2]> = LazyLock::new(|| {
    [7, 8]
        .map(|byte| ProverSecret::from_stretched(&Secret::new([byte; STRETCHED_LEN])).expect("a fixed code"))
});

const BOOT: u32 = 3;

/// Both ends and the messages under way, each with its receiver and whether it is sealed.
struct Line {
    now: Instant,
    ends: [Bootstrap; 2],
    wire: VecDeque<(usize, bool, Vec<u8>)>,
    /// Whether the installer of this side found the digits equal.
    compared: [bool; 2],
    /// Runs that the app began: one that follows leaves a channel that stands alone until it stands itself.
    begun: u32,
    rng: rand_chacha::ChaCha20Rng,
}

fn sealed_from(end: usize) -> (SealedId, u16) {
    let way = [Direction::Ab, Direction::Ba][end];
    let security = SecurityId::new(Bus::Can1, way, 0);
    (security.sealed(Level::Dev), security.base())
}

impl Line {
    fn new() -> Self {
        // Later than the ten seconds in which the button forgives tries.
        let now = Instant::START + Duration::from_secs(20);
        let code = [&[1][..], CODES[0].record().expose()].concat();
        let load = |k: u16| (k == key::CODE).then(|| Record::new(k, &[&code])).transpose();
        let app = Bootstrap::restore(&IDENTITIES[0], 0, |_| Ok(None), now).expect("nothing is stored");
        let pack = Bootstrap::restore(&IDENTITIES[1], 0, load, now).expect("a whole record");
        Line { now, ends: [app, pack], wire: VecDeque::new(), compared: [false; 2], begun: 0, rng: rng() }
    }

    fn apply(&mut self, end: usize, mut fx: Effects) {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) => self.wire.push_back((1 - end, false, pdu.to_vec())),
                Effect::Seal(keys, pdu) => self.seal(end, keys, &pdu),
                Effect::Event(Event::Compare { digits }) => assert!(digits < 1_000_000),
                Effect::Event(_) | Effect::Store(_) => {}
            }
        }
    }

    fn seal(&mut self, end: usize, keys: Keys, body: &[u8]) {
        let (id, base) = sealed_from(end);
        let (mut out, mut fx) = ([0; 700], Effects::new());
        let own = &IDENTITIES[end];
        let sealed =
            self.ends[end].seal(own, keys, FrameFormat::Classical, id, base, &[body], &mut out, &mut fx);
        self.apply(end, fx);
        if let Ok(n) = sealed {
            self.wire.push_back((1 - end, true, out[..n].to_vec()));
        }
    }

    fn receive(&mut self, end: usize, sealed: bool, mut bytes: Vec<u8>) {
        let (own, mut fx) = (&IDENTITIES[end], Effects::new());
        let (now, machine) = (self.now, &mut self.ends[end]);
        if sealed {
            let Ok((keys, opened)) = machine.open(now, sealed_from(1 - end).0, &mut bytes) else { return };
            let body = opened.body.to_vec();
            let _refused = match body.as_slice() {
                [pdu::KEY_PACKAGE, m @ ..] => machine.sealed_message(own, keys, m, now, &mut fx),
                [pdu::CONFIRM, m @ ..] if end == 0 => machine.resumed(m, &mut fx),
                _ => return,
            };
        } else if machine.concerns(&bytes, false) {
            let _refused = machine.message(own, &bytes, true, now, BOOT, &mut fx, &mut self.rng);
        }
        self.apply(end, fx);
    }

    fn begin(&mut self, choice: u8) {
        let (own, pack, mut fx) = (&IDENTITIES[0], IDENTITIES[1].cid(), Effects::new());
        let (now, app, rng) = (self.now, &mut self.ends[0], &mut self.rng);
        let _refused = match choice & 3 {
            0 | 1 => app.begin_plain(own, pack, now, &mut fx, rng),
            code => app.begin_code(own, pack, &CODES[usize::from(code & 1)], now, &mut fx, rng),
        };
        self.begun += 1;
        self.apply(0, fx);
    }

    fn compare(&mut self, end: usize, equal: bool) {
        let mut fx = Effects::new();
        let judged = self.ends[end].compare(equal, self.now, &mut fx);
        self.compared[end] |= judged.is_ok() && equal;
        self.apply(end, fx);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for end in 0..2 {
            let mut fx = Effects::new();
            let (own, now) = (&IDENTITIES[end], self.now);
            self.ends[end].tick(own, now, BOOT, &mut fx, &mut self.rng).expect("a tick stops nothing");
            self.apply(end, fx);
        }
    }

    /// What two ends that stand say of each other, and that each opens what the other seals.
    fn check(&mut self) {
        let plain = lct::binding::Assurance::Plain;
        for end in 0..2 {
            let Some(offer) = self.ends[end].offer() else { continue };
            assert_eq!(offer.cid, IDENTITIES[1 - end].cid());
            assert!(offer.assurance != plain || self.compared[end], "no channel of B0 without a comparison");
        }
        if self.begun > 1 || !self.ends.iter().all(Bootstrap::is_up) {
            return;
        }
        for end in 0..2 {
            let ((id, base), mut out, mut fx) = (sealed_from(end), [0; 64], Effects::new());
            let (own, format) = (&IDENTITIES[end], FrameFormat::Classical);
            let n = self.ends[end]
                .seal(own, Keys::Standing, format, id, base, &[b"echo"], &mut out, &mut fx)
                .expect("it stands");
            let opened = self.ends[1 - end].open(self.now, id, &mut out[..n]);
            assert!(opened.is_ok_and(|(_, opened)| opened.body == b"echo"), "the two hold the same keys");
        }
    }
}

/// Whole runs of either mode, and runs with one message lost, repeated or damaged.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = |choice: u8| [vec![choice], vec![0; 12], vec![6, 0x16], vec![0; 8]].concat();
    let damaged = |choice: u8, at: usize, how: u8| {
        let mut script = whole(choice);
        script.splice(at..=at, [how << 4, 40, 1]);
        script
    };
    let modes = [0, 2, 3];
    let raw =
        [0x01, 0x02, 0x03, 0x05].map(|kind| vec![0, 3, 6, kind, 1, 0x21, 0, 1, 9, 0x13, 4, kind, 2, 0, 4]);
    modes
        .into_iter()
        .map(whole)
        .chain(
            modes
                .into_iter()
                .flat_map(|m| (1..7).flat_map(move |at| (1..4).map(move |how| damaged(m, at, how)))),
        )
        .chain(raw)
        .chain([vec![0, 0, 0, 0, 0, 4, 3, 3, 1, 0], vec![2, 5, 200, 5, 200, 5, 200, 5, 200, 5, 200, 5, 200]])
        .collect()
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut line = Line::new();
    let mut fx = Effects::new();
    let choice = input.byte();
    if choice & 4 == 0 {
        line.ends[1].button(line.now, true, &mut fx).expect("the window opens");
    }
    line.apply(1, fx);
    line.begin(choice);
    for _ in 0..48 {
        if input.is_empty() {
            break;
        }
        let op = input.byte();
        let end = usize::from(op >> 4 & 1);
        match op & 7 {
            0..=2 => {
                let Some((to, sealed, mut bytes)) = line.wire.pop_front() else {
                    line.wait(Duration::from_millis(600));
                    continue;
                };
                match op >> 4 & 3 {
                    0 => {}
                    1 => {
                        let (at, mask) = (usize::from(input.byte()), input.byte());
                        let at = at % bytes.len();
                        bytes[at] ^= mask;
                    }
                    2 => continue,
                    _ => line.receive(to, sealed, bytes.clone()),
                }
                line.receive(to, sealed, bytes);
            }
            3 => line.receive(end, op & 0x20 != 0, input.slice().to_vec()),
            // A peer that holds the keys and says what it likes.
            4 => {
                let keys = if op & 0x20 == 0 { Keys::Run } else { Keys::Standing };
                line.seal(end, keys, &[&[pdu::KEY_PACKAGE], input.slice()].concat());
            }
            5 => line.wait(Duration::from_millis(u64::from(input.byte()) * 20)),
            6 => line.compare(end, op & 0x20 == 0),
            _ if op & 0x20 == 0 => line.begin(op >> 6),
            _ => {
                let mut fx = Effects::new();
                line.ends[end].button(line.now, end == 1, &mut fx).expect("a button stops nothing");
                line.apply(end, fx);
            }
        }
        line.check();
    }
}
