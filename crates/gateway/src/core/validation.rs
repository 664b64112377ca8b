//! Validations that operators order (`spec/api.md`, A90; `spec/channel.md`, H190 to H192): who is to state what, until each
//! statement is on its way to the ledger.

use super::*;
use api::order::Stated;
use lct::validation::{Event as Statement, EventKind};
use pack::{announce::flag, app::Confirming, testimony::Asked};

/// How long a statement may take, and how often it is asked for: it waits behind what is stated anyhow.
const PATIENCE: Duration = Duration::from_millis(5_000);
const TRIES: u8 = 12;

/// A validation under way.
#[derive(Debug)]
pub(super) struct Validation {
    /// Name of the task towards orders.
    pub(super) name: String,
    pub(super) level: ValidationLevel,
    /// The relationship, the side nearer the app first.
    pair: [Member; 2],
    /// Who has not stated yet what is wanted.
    missing: Vec<Member>,
    stated: Vec<Stated>,
    pub(super) due: Instant,
    tries: u8,
    /// Why it could not be asked for the last time, where that passes.
    hindered: Option<lct::Error>,
}

/// What is stated at a level.
fn wanted(level: ValidationLevel) -> EventKind {
    match level {
        ValidationLevel::Announce => EventKind::Announce,
        ValidationLevel::Witness => EventKind::StateChange,
        ValidationLevel::SignedHandshake => EventKind::SignedHandshake,
        ValidationLevel::PairedHandshake => EventKind::PairedHandshake,
        ValidationLevel::Command => EventKind::Command,
        ValidationLevel::Pairing => EventKind::PairingCompletion,
        ValidationLevel::Binding => EventKind::BindingVerification,
    }
}

impl Validation {
    /// At `level`, of both sides of `pair`, or of `alone` only.
    pub(super) fn new(
        name: String,
        level: ValidationLevel,
        pair: [Member; 2],
        alone: Option<Member>,
        now: Instant,
    ) -> Self {
        let missing = match (level, alone) {
            // Side B counts sessions, side A commands: whoever of the two was named.
            (ValidationLevel::PairedHandshake, _) => vec![pair[1]],
            (ValidationLevel::Command, _) => vec![pair[0]],
            (_, Some(one)) => vec![one],
            // Nobody is the witness of an app.
            (ValidationLevel::Witness, None) => pair.into_iter().filter(Option::is_some).collect(),
            (_, None) => pair.to_vec(),
        };
        Validation { name, level, pair, missing, stated: Vec::new(), due: now, tries: 0, hindered: None }
    }

    /// The relationship of `member` that is meant, as in H170.
    fn with(&self, member: Member) -> u8 {
        match self.pair {
            [Some(above), Some(below)] if member == Some(above) => below.node(),
            _ => 0,
        }
    }

    /// Whether this is what was asked for.
    fn is_answer(&self, from: Member, with: u8, event: &Statement) -> bool {
        let asked = match event.payload.as_slice() {
            [hi, lo] if event.kind == EventKind::Announce => {
                u16::from_be_bytes([*hi, *lo]) & flag::ASKED != 0
            }
            [before, after] if event.kind == EventKind::StateChange => before == after,
            _ => true,
        };
        // The witness of a pack is any of its modules, and decides with whose key the pack signs.
        let relation = self.level == ValidationLevel::Witness || with == self.with(from);
        self.tries > 0
            && asked
            && relation
            && event.kind == wanted(self.level)
            && self.missing.contains(&from)
    }

    /// What to ask `member` for; `root` is that of the ledger's state.
    fn asked(&self, member: Member, root: Option<&Digest>) -> Option<Asked> {
        Some(match self.level {
            ValidationLevel::Announce => Asked::Presence,
            ValidationLevel::Witness => Asked::State,
            ValidationLevel::SignedHandshake => Asked::Handshake(self.with(member)),
            ValidationLevel::PairedHandshake => Asked::Session,
            ValidationLevel::Command => Asked::Command(self.with(member)),
            ValidationLevel::Pairing => return None,
            ValidationLevel::Binding => Asked::Verification(self.with(member), *root?),
        })
    }
}

/// The relationship of a component that was named alone: with the one above it, of the app with its pack.
pub(super) fn relationship(member: Member) -> [Member; 2] {
    match member {
        Some(Party::Module(_)) => [Some(Party::Pack), member],
        _ => [None, Some(Party::Pack)],
    }
}

impl Gateway {
    /// Asks for what is due.
    pub(super) fn validate(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        let due = |v: &Validation| v.due <= now;
        while let Some(at) = self.service.validations.iter().position(due) {
            self.service.validations[at].due = now + PATIENCE;
            let up = self.app.relation().is_up();
            let validation = &mut self.service.validations[at];
            let (level, [a, b]) = (validation.level, validation.pair);
            if level == ValidationLevel::Pairing {
                // A pairing in force is validated by the next one (H153): both sides state what then stands.
                let Phase::Operating(c) = &mut self.phase else { continue };
                if validation.tries == 0 {
                    c.pair_anew(a, b);
                } else if c.waits([a, b]) {
                    continue;
                }
            } else if !up {
                continue;
            }
            validation.tries += 1;
            if validation.tries > TRIES {
                let silent: Vec<Member> = validation.missing.clone();
                let names: Vec<String> = silent.into_iter().map(|member| self.id_of(member)).collect();
                let hindered = self.service.validations[at].hindered;
                let why = hindered.map_or_else(String::new, |e| format!(", and could not be asked: {e}"));
                self.not_validated(at, &format!("{} does not state it{why}", names.join(" and ")));
                continue;
            }
            if level == ValidationLevel::Binding {
                self.outputs.push_back(Output::Root);
                continue;
            }
            match self.ask_missing(now, at, None, rng) {
                Ok(()) => self.service.validations[at].hindered = None,
                // Room and counters come back with what is sent and renewed.
                Err(e @ (lct::Error::Exhausted | lct::Error::BufferTooSmall)) => {
                    self.service.validations[at].hindered = Some(e);
                }
                Err(e) => self.not_validated(at, &e.to_string()),
            }
        }
    }

    /// Everybody who has not stated at level 7 what it was asked for is shown the root of the ledger's state.
    pub(super) fn verify_ordered(
        &mut self,
        now: Instant,
        root: &Digest,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        for at in 0..self.service.validations.len() {
            if self.service.validations[at].level == ValidationLevel::Binding {
                self.ask_missing(now, at, Some(root), rng)?;
            }
        }
        Ok(())
    }

    fn ask_missing(
        &mut self,
        now: Instant,
        at: usize,
        root: Option<&Digest>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), lct::Error> {
        let validation = &self.service.validations[at];
        let ask = |member: &Member| Some((*member, validation.asked(*member, root)?));
        let asked: Vec<(Member, Asked)> = validation.missing.iter().filter_map(ask).collect();
        for (member, what) in asked {
            match (member, what) {
                (None, Asked::Command(_)) => self.app.confirm(now, Confirming::Asked, rng)?,
                _ => self.app.ask_statement(now, member, &what)?,
            }
        }
        Ok(())
    }

    /// A statement is on its way to the ledger: what waits for it may be done.
    pub(super) fn stated_by(&mut self, from: Member, with: u8, event: &Statement) {
        let stated = Stated { component_id: self.id_of(from), position: event.position() };
        for validation in &mut self.service.validations {
            if validation.is_answer(from, with, event) {
                validation.missing.retain(|member| *member != from);
                validation.stated.push(stated.clone());
            }
        }
        let orders = &mut self.orders;
        self.service.validations.retain(|validation| {
            if validation.missing.is_empty() {
                orders.done(&validation.name, &Stated::say(&validation.stated));
            }
            !validation.missing.is_empty()
        });
    }

    /// The pairing did not come about that these two would have stated.
    pub(super) fn not_paired(&mut self, pair: [Member; 2], why: &str) {
        let waits = |v: &Validation| (v.level, v.pair) == (ValidationLevel::Pairing, pair) && v.tries > 0;
        while let Some(at) = self.service.validations.iter().position(waits) {
            self.not_validated(at, why);
        }
    }

    fn not_validated(&mut self, at: usize, why: &str) {
        let validation = self.service.validations.swap_remove(at);
        self.orders.failed(&validation.name, why);
    }

    fn id_of(&self, member: Member) -> String {
        match &self.phase {
            Phase::Commissioning(c) | Phase::Operating(c) => c.name(member).unwrap_or("?").to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating, order},
        world::{APP, MODULE, PACK},
    };
    use api::order::{Order, Task};
    use lct::id::Cid;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn validate(id: u8, level: u8, [a, b]: [&str; 2]) -> Order {
        Order { level: Some(level), a: a.into(), b: b.into(), ..order(id, Task::Validate) }
    }

    fn event(kind: EventKind, seq: u32, payload: &[u8]) -> Statement {
        Statement::new(kind, Cid([1; 16]), 3, seq, payload).unwrap()
    }

    /// Each level has its own statements, of its own sides and relationship; what came by itself is no answer.
    #[test]
    fn an_order_ends_with_the_statements_that_it_asked_for() {
        let both = ["pack-0001", "module-0001"];
        let asked = flag::ASKED.to_be_bytes();
        /// Level, who was named, who states it in which relationship, what.
        type Case<'a> = (u8, [&'a str; 2], &'a [(Member, u8)], EventKind, &'a [u8]);
        let cases: [Case<'_>; 8] = [
            (1, ["module-0001"; 2], &[(MODULE, 0)], EventKind::Announce, &asked),
            (2, both, &[(PACK, 9), (MODULE, 0)], EventKind::StateChange, &[3, 3]),
            (2, ["app-0001", "pack-0001"], &[(PACK, 1)], EventKind::StateChange, &[3, 3]),
            (3, both, &[(MODULE, 0), (PACK, 1)], EventKind::SignedHandshake, &[4; 32]),
            (4, both, &[(MODULE, 0)], EventKind::PairedHandshake, &[4; 48]),
            (5, both, &[(PACK, 1)], EventKind::Command, &[4; 32]),
            (6, ["app-0001", "pack-0001"], &[(APP, 0), (PACK, 0)], EventKind::PairingCompletion, &[4; 48]),
            (7, both, &[(PACK, 1), (MODULE, 0)], EventKind::BindingVerification, &[4; 48]),
        ];
        for (level, ids, answers, kind, payload) in cases {
            let mut gateway = operating();
            let waiting = [validate(1, level, ids)];
            assert_eq!(gateway.orders(at(0), &waiting), [], "{level}");
            // It was not asked yet.
            for (from, with) in answers {
                gateway.stated_by(*from, *with, &event(kind, 1, payload));
            }
            assert_eq!(gateway.orders(at(0), &waiting), [], "{level}");
            gateway.service.validations[0].tries = 1;
            // Of another kind, by somebody else, in another relationship, by itself.
            gateway.stated_by(answers[0].0, answers[0].1, &event(EventKind::Fault, 2, b"hot"));
            gateway.stated_by(Some(Party::Module(7)), 0, &event(kind, 3, payload));
            if level != 2 {
                gateway.stated_by(answers[0].0, 5, &event(kind, 4, payload));
            }
            if level <= 2 {
                gateway.stated_by(answers[0].0, answers[0].1, &event(kind, 5, &[0, 1]));
            }
            let mut said = Vec::new();
            for (seq, (from, with)) in (10..).zip(answers) {
                assert_eq!(gateway.orders(at(0), &waiting), [], "{level}");
                gateway.stated_by(*from, *with, &event(kind, seq, payload));
                let component_id = gateway.id_of(*from);
                said.push(Stated { component_id, position: (3, seq) });
            }
            assert_eq!(gateway.orders(at(1), &waiting), [([1; 16], Ok(Stated::say(&said)))], "{level}");
        }
    }

    /// An app has no witness, and who is not of this pack is left to another gateway.
    #[test]
    fn what_nobody_here_can_state_is_not_asked() {
        let mut gateway = operating();
        let waiting = [validate(1, 2, ["app-0001"; 2]), validate(2, 1, ["pack-0009"; 2])];
        let ended = gateway.orders(at(0), &waiting);
        assert!(
            matches!(&ended[..], [(id, Err(why))] if *id == [1; 16] && why.contains("witness")),
            "{ended:?}"
        );
        assert!(gateway.service.validations.is_empty());
    }

    /// At level 6 the pairing is what is asked for: why it did not come about is what the order says.
    #[test]
    fn a_pairing_that_fails_says_why() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut gateway = operating();
        let waiting = [validate(1, 6, ["pack-0001", "module-0001"])];
        assert_eq!(gateway.orders(at(0), &waiting), []);
        gateway.validate(at(0), &mut rng);
        while !matches!(gateway.poll(at(0), &mut rng).unwrap().unwrap(), Output::Ask(_)) {}
        gateway.unanswered(at(1), "the lease is refused".into()).unwrap();
        let ended = gateway.orders(at(1), &waiting);
        assert_eq!(ended, [([1; 16], Err("the lease is refused".to_owned()))]);
    }

    /// Without a channel it waits; level 6 begins a pairing at once.
    #[test]
    fn a_validation_waits_for_its_pack() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let mut gateway = operating();
        let waiting =
            [validate(1, 7, ["app-0001", "pack-0001"]), validate(2, 6, ["pack-0001", "module-0001"])];
        for s in 0..600 {
            assert_eq!(gateway.orders(at(s), &waiting), []);
            gateway.validate(at(s), &mut rng);
        }
        assert_eq!(gateway.service.validations.len(), 2);
        assert!(
            !gateway.outputs.iter().any(|output| matches!(output, Output::Root)),
            "nobody could be asked"
        );
        assert!(matches!(&gateway.phase, Phase::Operating(c) if c.has("pair pack-0001 module-0001")));
        assert_eq!(gateway.orders(at(600), &[]), []);
        assert!(gateway.service.validations.is_empty());
    }
}
