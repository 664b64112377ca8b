//! What holds of things that are recorded under commitments only (`spec/ledger.md`, L138 to L140).

use lct::{Digest, hash::sha256, sign::PublicKey};

use crate::{
    authorization::{Denied, Rule},
    records::{
        key,
        registry::{AnonymousAuthorization, AnonymousComponent, AnonymousRevocation, Opened},
    },
    state::{Halt, View, load},
};

/// How soon a withdrawal takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Urgency {
    /// With its block.
    Immediate = 1,
    /// An hour later.
    Urgent = 2,
    /// A day later.
    Standard = 3,
}

impl Urgency {
    /// The urgency with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Immediate, Self::Urgent, Self::Standard].into_iter().find(|urgency| *urgency as u8 == code)
    }

    /// Milliseconds of block time until it takes effect.
    #[must_use]
    pub fn delay_ms(self) -> u64 {
        match self {
            Self::Immediate => 0,
            Self::Urgent => 3_600_000,
            Self::Standard => 86_400_000,
        }
    }
}

/// Target of the withdrawal of all that a holder has.
pub const EVERYTHING: Digest = [0; 32];

/// Identity of the authorisation of one committed component for another:
/// `H("modbatt1 anonymous" || chain id || a || b)`.
#[must_use]
pub fn pair_id(chain_id: &Digest, a: &Digest, b: &Digest) -> Digest {
    sha256(&[b"modbatt1 anonymous", chain_id, a, b])
}

/// Whether `component` is withdrawn at `now_ms`: itself, by the pattern of its manufacturer or category, or with everything
/// that its holder had recorded until then.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn withdrawn(
    view: &(impl View + ?Sized),
    component: &Digest,
    recorded: &AnonymousComponent,
    now_ms: u64,
) -> Result<bool, Halt> {
    for target in [component, &recorded.manufacturer, &recorded.category] {
        if in_effect(view, &recorded.holder, target, now_ms)?.is_some() {
            return Ok(true);
        }
    }
    let all = in_effect(view, &recorded.holder, &EVERYTHING, now_ms)?;
    Ok(all.is_some_and(|effective_ms| recorded.time_ms <= effective_ms))
}

/// Since when `target` of a holder is withdrawn, if it is.
fn in_effect(
    view: &(impl View + ?Sized),
    holder: &PublicKey,
    target: &Digest,
    now_ms: u64,
) -> Result<Option<u64>, Halt> {
    let found: Option<AnonymousRevocation> = load(view, &key::anonymous_revocation(holder, target))?;
    Ok(found.map(|r| r.effective_ms).filter(|effective_ms| *effective_ms <= now_ms))
}

/// Whether the committed component `a` lets itself be paired with `b`, whose trust is `trust_ppm`: the authorisation that
/// holds, or the first reason why none does. A rule counts once it was opened; until then only level and trust asked for.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn check(
    view: &(impl View + ?Sized),
    (chain_id, a, b): (&Digest, &Digest, &Digest),
    now_ms: u64,
    trust_ppm: Option<u32>,
) -> Result<Result<AnonymousAuthorization, Denied>, Halt> {
    let id = pair_id(chain_id, a, b);
    let found: Option<AnonymousAuthorization> = load(view, &key::anonymous_pair(&id))?;
    let Some(found) = found else { return Ok(Err(Denied::Unknown)) };
    if now_ms >= found.expires_ms || in_effect(view, &found.holder, &id, now_ms)?.is_some() {
        return Ok(Err(Denied::Ended));
    }
    for component in [a, b] {
        let recorded: Option<AnonymousComponent> = load(view, &key::anonymous(component))?;
        let recorded = recorded.ok_or(Halt::Invariant("an authorized commitment is missing"))?;
        if withdrawn(view, component, &recorded, now_ms)? {
            return Ok(Err(Denied::Component));
        }
    }
    let Some(trust_ppm) = trust_ppm else { return Ok(Err(Denied::TrustUnknown)) };
    let opened: Option<Opened> = load(view, &key::opened(&found.rule))?;
    let meets = opened.is_none_or(|o| Rule::parse(&o.value).is_some_and(|rule| rule.holds(trust_ppm)));
    Ok(if trust_ppm >= found.trust_ppm && meets { Ok(found) } else { Err(Denied::Trust) })
}
