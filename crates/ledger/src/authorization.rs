//! Who may be paired with whom (`spec/ledger.md`, L135 to L137): levels, the partners that each allows, the rules that an
//! owner writes, and the question whether an authorisation holds.

use alloc::vec::Vec;

use lct::{
    Digest,
    hash::sha256,
    id::{Cid, Role},
    lifecycle::State,
    trust::TrustContext,
};

use crate::{
    records::{
        Component, Status, key,
        registry::{Authorization, AuthorizationId, Authorizations, Level},
    },
    standing,
    state::{Halt, View, load},
    trust::Weights,
};

/// How long an authorisation holds: 24 hours, in milliseconds.
pub const LIFETIME_MS: u64 = 86_400_000;
/// Longest text of a rule in bytes.
pub const MAX_RULE: usize = 256;
/// Most conditions of a rule.
pub const MAX_CONDITIONS: usize = 8;
/// One as a ratio in parts per million.
const ONE_PPM: u32 = 1_000_000;

impl Level {
    /// Least trust of a partner at this level, ppm.
    #[must_use]
    pub fn least_trust_ppm(self) -> u32 {
        match self {
            Self::Basic => 500_000,
            Self::Enhanced => 700_000,
            Self::Critical => 850_000,
        }
    }

    /// Whether a component of role `a` may have a partner of role `b` at this level: app, pack and module each of another
    /// role; from enhanced on also with a sensor or an actuator; critical also of the same role.
    #[must_use]
    pub fn allows(self, a: Role, b: Role) -> bool {
        let core = |role| matches!(role, Role::App | Role::Pack | Role::Module);
        match self {
            Self::Basic => a != b && core(a) && core(b),
            Self::Enhanced => a != b && (core(a) || core(b)),
            Self::Critical => a == b || core(a) || core(b),
        }
    }
}

/// How a trust score is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Comparison {
    /// `>`
    Above = 1,
    /// `>=`
    AtLeast = 2,
    /// `<`
    Below = 3,
    /// `<=`
    AtMost = 4,
}

impl Comparison {
    /// The comparison with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Above, Self::AtLeast, Self::Below, Self::AtMost].into_iter().find(|c| *c as u8 == code)
    }
}

/// `trust_score` compared with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How.
    pub comparison: Comparison,
    /// With what, ppm, at most 1 000 000.
    pub ppm: u32,
}

/// What an owner asks of a partner: every condition holds. None is a rule too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub Vec<Condition>);

impl Rule {
    /// Reads `trust_score (> | >= | < | <=) decimal [and ..]`, words apart by one space, the decimal from 0 to 1 with at
    /// most six places; the empty text is the rule without condition. `None` for anything else: nothing is rounded and
    /// nothing is guessed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        if text.len() > MAX_RULE {
            return None;
        }
        let mut words = text.split(' ');
        let mut conditions = Vec::new();
        loop {
            if words.next()? != "trust_score" || conditions.len() == MAX_CONDITIONS {
                return None;
            }
            let comparison = match words.next()? {
                ">" => Comparison::Above,
                ">=" => Comparison::AtLeast,
                "<" => Comparison::Below,
                "<=" => Comparison::AtMost,
                _ => return None,
            };
            conditions.push(Condition { comparison, ppm: decimal_ppm(words.next()?)? });
            match words.next() {
                None => return Some(Self(conditions)),
                Some("and") => {}
                Some(_) => return None,
            }
        }
    }

    /// Whether a trust score meets every condition.
    #[must_use]
    pub fn holds(&self, trust_ppm: u32) -> bool {
        self.0.iter().all(|c| match c.comparison {
            Comparison::Above => trust_ppm > c.ppm,
            Comparison::AtLeast => trust_ppm >= c.ppm,
            Comparison::Below => trust_ppm < c.ppm,
            Comparison::AtMost => trust_ppm <= c.ppm,
        })
    }
}

/// `0`, `0.7`, `1.000000` as parts per million.
fn decimal_ppm(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').map_or((text, None), |(whole, places)| (whole, Some(places)));
    let whole = match whole {
        "0" => 0,
        "1" => ONE_PPM,
        _ => return None,
    };
    let part = match places {
        None => 0,
        Some(places) if (1..=6).contains(&places.len()) && places.bytes().all(|b| b.is_ascii_digit()) => {
            let digits = places.bytes().chain(core::iter::repeat(b'0')).take(6);
            digits.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'))
        }
        Some(_) => return None,
    };
    (whole + part <= ONE_PPM).then_some(whole + part)
}

/// Identity of the authorisation of `a` for `b` in a context:
/// `H("modbatt1 authorization" || chain id || a || b || context)[0:16]`. It speaks for `a`, so order matters.
#[must_use]
pub fn id_of(chain_id: &Digest, a: &Cid, b: &Cid, context: &str) -> AuthorizationId {
    let digest = sha256(&[b"modbatt1 authorization", chain_id, &a.0, &b.0, context.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    AuthorizationId(id)
}

/// Why somebody may not be paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no authorisation.
    Unknown,
    /// It was revoked, or its time is over.
    Ended,
    /// One of the two is not registered, or not active.
    Component,
    /// Nothing is known about the partner's trust.
    TrustUnknown,
    /// The partner's trust is below the level's, or does not meet the rule.
    Trust,
}

impl Denied {
    /// One clause in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "there is no authorization",
            Self::Ended => "the authorization was revoked or has expired",
            Self::Component => "a component is not registered or not active",
            Self::TrustUnknown => "nothing is known about the trust of the partner",
            Self::Trust => "the trust of the partner does not meet the authorization",
        }
    }
}

/// The question whether `a` lets itself be paired with `b`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The chain.
    pub chain_id: &'a Digest,
    /// Who lets.
    pub a: &'a Cid,
    /// Whom.
    pub b: &'a Cid,
    /// For what.
    pub context: &'a str,
    /// Block time, Unix milliseconds.
    pub now_ms: u64,
    /// How far `b` is trusted, ppm; `None` when nothing is known, which is enough for nobody.
    pub trust_ppm: Option<u32>,
    /// What the levels basic, enhanced and critical ask for, ppm (L196, `gates`).
    pub least_ppm: [u32; 3],
}

/// Answers a question from the state: the authorisation that holds, or the first reason why none does.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn check(
    view: &(impl View + ?Sized),
    question: &Question<'_>,
) -> Result<Result<Authorization, Denied>, Halt> {
    let Question { chain_id, a, b, context, now_ms, trust_ppm, .. } = *question;
    let found: Option<Authorization> = load(view, &key::authorization(&id_of(chain_id, a, b, context)))?;
    let Some(found) = found else { return Ok(Err(Denied::Unknown)) };
    if !found.in_force(now_ms) {
        return Ok(Err(Denied::Ended));
    }
    for cid in [a, b] {
        let component: Option<Component> = load(view, &key::component(cid))?;
        if component.is_none_or(|c| c.status != State::Active) {
            return Ok(Err(Denied::Component));
        }
    }
    Ok(found.is_met(trust_ppm, question.least_ppm[found.level as usize - 1]).map(|()| found))
}

/// Whether `a` admits `b` to a pairing at `now_ms` of block time (L222): of its authorisations in force for `b`, whatever their
/// context, one is met by the score of `b` for operation, or there is none. Else why the first of them is not met.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn admits(
    view: &impl View,
    weights: &Weights,
    [a, b]: [&Cid; 2],
    now_ms: u64,
) -> Result<Result<(), Denied>, Halt> {
    let known = standing::component(view, weights, b, TrustContext::Operation, now_ms)?;
    let trust_ppm = known.map(|s| s.score.get());
    let mut answer = Ok(());
    for (_, found) in live(view, a, now_ms)?.iter().filter(|(_, found)| found.b == *b) {
        match found.is_met(trust_ppm, weights.gates[found.level as usize - 1]) {
            Ok(()) => return Ok(Ok(())),
            Err(why) => answer = answer.and(Err(why)),
        }
    }
    Ok(answer)
}

/// The authorisations of a component that hold.
pub(crate) fn live(
    view: &impl View,
    a: &Cid,
    now_ms: u64,
) -> Result<Vec<(AuthorizationId, Authorization)>, Halt> {
    let list: Option<Authorizations> = load(view, &key::authorizations_of(a))?;
    let mut live = Vec::new();
    for id in list.map_or_else(Vec::new, |l| l.0) {
        let found: Option<Authorization> = load(view, &key::authorization(&id))?;
        let found = found.ok_or(Halt::Invariant("a listed authorization is missing"))?;
        if found.in_force(now_ms) {
            live.push((id, found));
        }
    }
    Ok(live)
}

impl Authorization {
    /// Whether a partner whose trust is `trust_ppm` meets level and rule, where the level asks for `least_ppm`.
    fn is_met(&self, trust_ppm: Option<u32>, least_ppm: u32) -> Result<(), Denied> {
        let trust_ppm = trust_ppm.ok_or(Denied::TrustUnknown)?;
        if trust_ppm >= least_ppm && self.rule.holds(trust_ppm) { Ok(()) } else { Err(Denied::Trust) }
    }

    /// Whether it holds at `now_ms` of block time.
    #[must_use]
    pub fn in_force(&self, now_ms: u64) -> bool {
        self.status == Status::Active && now_ms < self.expires_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_exactly_or_not_at_all() {
        use Comparison::{Above, AtLeast, AtMost, Below};
        let condition = |comparison, ppm| Condition { comparison, ppm };
        let good: [(&str, &[Condition]); 7] = [
            ("", &[]),
            ("trust_score > 0.7", &[condition(Above, 700_000)]),
            ("trust_score >= 1", &[condition(AtLeast, 1_000_000)]),
            ("trust_score < 1.000000", &[condition(Below, 1_000_000)]),
            ("trust_score <= 0", &[condition(AtMost, 0)]),
            ("trust_score > 0.000001", &[condition(Above, 1)]),
            (
                "trust_score >= 0.5 and trust_score < 0.999999",
                &[condition(AtLeast, 500_000), condition(Below, 999_999)],
            ),
        ];
        for (text, conditions) in good {
            assert_eq!(Rule::parse(text).map(|r| r.0).as_deref(), Some(conditions), "{text}");
        }
        for text in [
            " ",
            "trust_score",
            "trust_score >",
            "trust_score > ",
            "trust_score > 0.7 ",
            " trust_score > 0.7",
            "trust_score  > 0.7",
            "trust_score>0.7",
            "trust_score == 0.7",
            "trust_score > 0.7 or trust_score < 0.9",
            "trust_score > 0.7 and",
            "trust_score > 0.7 and 0.8",
            "trust_score > 0.7 AND trust_score < 0.9",
            "Trust_score > 0.7",
            "trust_score > 0.7000001",
            "trust_score > 1.000001",
            "trust_score > 2",
            "trust_score > 00.7",
            "trust_score > .7",
            "trust_score > 0.",
            "trust_score > 0.7e0",
            "trust_score > -0",
            "trust_score > +0.7",
            "trust_score > 0.٧",
        ] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
        let many = |n: usize| (0..n).map(|_| "trust_score > 0.1").collect::<Vec<_>>().join(" and ");
        assert_eq!(Rule::parse(&many(MAX_CONDITIONS)).map(|r| r.0.len()), Some(MAX_CONDITIONS));
        assert_eq!(Rule::parse(&many(MAX_CONDITIONS + 1)), None);
    }

    #[test]
    fn a_rule_holds_on_the_right_side_of_its_number() {
        for (text, at) in [
            ("trust_score > 0.7", [false, false, true]),
            ("trust_score >= 0.7", [false, true, true]),
            ("trust_score < 0.7", [true, false, false]),
            ("trust_score <= 0.7", [true, true, false]),
            ("trust_score >= 0.7 and trust_score <= 0.7", [false, true, false]),
            ("", [true, true, true]),
        ] {
            let rule = Rule::parse(text).unwrap();
            assert_eq!([699_999, 700_000, 700_001].map(|ppm| rule.holds(ppm)), at, "{text}");
        }
    }

    /// The whole matrix, written out: rows and columns are app, pack, module, sensor, actuator.
    #[test]
    fn partners() {
        let roles = [Role::App, Role::Pack, Role::Module, Role::Sensor, Role::Actuator];
        for (level, rows) in [
            (Level::Basic, ["01100", "10100", "11000", "00000", "00000"]),
            (Level::Enhanced, ["01111", "10111", "11011", "11100", "11100"]),
            (Level::Critical, ["11111", "11111", "11111", "11110", "11101"]),
        ] {
            for (a, row) in roles.iter().zip(rows) {
                for (b, allowed) in roles.iter().zip(row.chars()) {
                    assert_eq!(level.allows(*a, *b), allowed == '1', "{level:?}: {a:?} and {b:?}");
                }
            }
        }
    }
}
