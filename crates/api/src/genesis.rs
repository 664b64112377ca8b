//! The JSON form of a genesis, and of what a verifier of receipts trusts (A40 to A42).
//!
//! The canonical bytes of a genesis are CBOR (`spec/ledger.md`, L10, L15); this form is for people and for the trust file
//! that goes with receipts. It is read strictly: unknown, missing or repeated members are refused, and the
//! stated chain id must be the one computed from the rest.

use crate::encoding::Hex;
use ::lct::sign::PublicKey;
use ledger::{
    genesis::{Genesis, GenesisError, Params, Validator, ValidatorSet},
    receipt::Trust,
    records::AccountRole,
    trust::Weights,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of the JSON form.
const FORMAT: u32 = 1;

/// Why a text is not a usable genesis or trust file.
#[derive(Debug, thiserror::Error)]
pub enum GenesisTextError {
    /// Not JSON, or not of this form; says where.
    #[error("not a genesis in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error("genesis format {0} is not known to this build, which knows {FORMAT}")]
    Format(u32),
    /// A key is not a point of its curve.
    #[error("{list}[{index}] is not a P-256 public key")]
    Key {
        /// `roots`, `authorities`, `operators` or `accounts`.
        list: &'static str,
        /// Position in it.
        index: usize,
    },
    /// An account has a role that is none.
    #[error(
        "accounts[{index}] has no known role: authority, operator, manufacturer, owner, auditor or controller"
    )]
    Role {
        /// Position in the list.
        index: usize,
    },
    /// The content cannot start a chain.
    #[error("the genesis is not usable: {0}")]
    Content(#[from] GenesisError),
    /// The stated identity is not that of the content.
    #[error("the file says it is chain {stated}, its content is chain {computed}")]
    ChainId {
        /// In the file.
        stated: Hex<32>,
        /// Computed.
        computed: Hex<32>,
    },
    /// A trust file without validators, or with one that has no power or is listed twice.
    #[error("a trust file lists 1 to 128 different validators with power")]
    Validators,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisText {
    format: u32,
    chain_id: Hex<32>,
    name: String,
    time_ms: u64,
    validators: Vec<ValidatorText>,
    roots: Vec<Hex<33>>,
    authorities: Vec<Hex<33>>,
    operators: Vec<Hex<33>>,
    params: ParamsText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<AccountText>,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    rules: u32,
}

/// Version of the rules of a chain that says none.
fn first() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(version: &u32) -> bool {
    *version == first()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountText {
    role: String,
    key: Hex<33>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorText {
    key: Hex<32>,
    power: u64,
}

/// Declares the JSON form of a struct, member by member. Every one is named, so that none that is added can be forgotten.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident of $of:ident { $($member:ident: $t:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($member: $t),* }

        impl From<$of> for $name {
            fn from($of { $($member),* }: $of) -> Self {
                $name { $($member: $member.into()),* }
            }
        }

        impl From<$name> for $of {
            fn from($name { $($member),* }: $name) -> Self {
                $of { $($member: $member.into()),* }
            }
        }
    };
}

form! {
    /// Parameters of a chain (`spec/ledger.md`, L11), every one named.
    ParamsText of Params {
        max_block_txs: u32,
        max_block_bytes: u32,
        max_tx_bytes: u32,
        max_batch_records: u32,
        max_future_ms: u64,
        max_lease_s: u32,
        max_lcts: u32,
        pool_tolerance_ppm: u32,
        witness_quorum: u32,
        admission: u32,
        trust: WeightsText,
        max_transfer_s: u32,
        objection_s: u32,
        price_micro_per_kwh: u64,
        max_offer_s: u32,
    }
}

impl From<Box<Weights>> for WeightsText {
    fn from(weights: Box<Weights>) -> Self {
        (*weights).into()
    }
}

impl From<WeightsText> for Box<Weights> {
    fn from(text: WeightsText) -> Self {
        Box::new(text.into())
    }
}

form! {
    /// Constants of trust (L196).
    WeightsText of Weights {
        t3: [u32; 3],
        v3: [u32; 3],
        matrix: [[u32; 5]; 3],
        confidence: [u32; 3],
        rate: [u32; 4],
        quality: [u32; 4],
        outcomes: [[u32; 3]; 5],
        repeats: [u32; 12],
        idle: [u32; 3],
        hops: [u32; 5],
        health: [u32; 3],
        levels: [u32; 2],
        gates: [u32; 4],
        contexts: [[u32; 2]; 4],
        limits: [u32; 2],
        ceilings: [u32; 4],
        baselines: [u32; 4],
        updates: [u32; 3],
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustText {
    format: u32,
    chain_id: Hex<32>,
    validators: Vec<ValidatorText>,
    #[serde(default, skip_serializing_if = "is_zero")]
    height: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(height: &u64) -> bool {
    *height == 0
}

impl From<&Validator> for ValidatorText {
    fn from(v: &Validator) -> Self {
        ValidatorText { key: Hex(v.key), power: v.power }
    }
}

impl From<ValidatorText> for Validator {
    fn from(v: ValidatorText) -> Self {
        Validator { key: v.key.0, power: v.power }
    }
}

/// The JSON text of a genesis, ending with a line feed.
pub fn to_json(genesis: &Genesis) -> String {
    let keys = |list: &[PublicKey]| list.iter().map(|k| Hex(k.0)).collect();
    pretty(&GenesisText {
        format: FORMAT,
        chain_id: Hex(genesis.chain_id()),
        name: genesis.name.clone(),
        time_ms: genesis.time_ms,
        validators: genesis.validators.iter().map(Into::into).collect(),
        roots: keys(&genesis.roots),
        authorities: keys(&genesis.authorities),
        operators: keys(&genesis.operators),
        params: genesis.params.clone().into(),
        accounts: genesis
            .accounts
            .iter()
            .map(|(role, key)| AccountText { role: role.name().into(), key: Hex(key.0) })
            .collect(),
        rules: genesis.rules,
    })
}

/// Reads [`to_json`]'s text.
///
/// # Errors
/// The first [`GenesisTextError`].
pub fn from_json(text: &str) -> Result<Genesis, GenesisTextError> {
    let t: GenesisText = serde_json::from_str(text)?;
    if t.format != FORMAT {
        return Err(GenesisTextError::Format(t.format));
    }
    let genesis = Genesis {
        name: t.name,
        time_ms: t.time_ms,
        validators: t.validators.into_iter().map(Into::into).collect(),
        roots: keys("roots", &t.roots)?,
        authorities: keys("authorities", &t.authorities)?,
        operators: keys("operators", &t.operators)?,
        params: t.params.into(),
        accounts: accounts(&t.accounts)?,
        rules: t.rules,
    };
    genesis.check()?;
    let computed = Hex(genesis.chain_id());
    if computed != t.chain_id {
        return Err(GenesisTextError::ChainId { stated: t.chain_id, computed });
    }
    Ok(genesis)
}

fn accounts(texts: &[AccountText]) -> Result<Vec<(AccountRole, PublicKey)>, GenesisTextError> {
    let account = |(index, text): (usize, &AccountText)| {
        let role = AccountRole::ALL.iter().find(|role| role.name() == text.role);
        let role = role.ok_or(GenesisTextError::Role { index })?;
        let key = PublicKey::from_slice(&text.key.0);
        Ok((*role, key.map_err(|_| GenesisTextError::Key { list: "accounts", index })?))
    };
    texts.iter().enumerate().map(account).collect()
}

fn keys(list: &'static str, texts: &[Hex<33>]) -> Result<Vec<PublicKey>, GenesisTextError> {
    let key = |(index, k): (usize, &Hex<33>)| {
        PublicKey::from_slice(&k.0).map_err(|_| GenesisTextError::Key { list, index })
    };
    texts.iter().enumerate().map(key).collect()
}

/// The JSON text of a checkpoint: chain id, validators, and the height at which they count if it is not 0.
pub fn trust_to_json(trust: &Trust) -> String {
    pretty(&TrustText {
        format: FORMAT,
        chain_id: Hex(trust.chain_id),
        validators: trust.validators.0.iter().map(Into::into).collect(),
        height: trust.height,
    })
}

/// Reads a trust file: a genesis ([`to_json`]) or a checkpoint ([`trust_to_json`]).
///
/// # Errors
/// The first [`GenesisTextError`].
pub fn trust_from_json(text: &str) -> Result<Trust, GenesisTextError> {
    // Which of the two it is shows in a member that only a genesis has; the strict reading follows.
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    if members.contains_key("params") {
        return from_json(text).map(|genesis| genesis.trust());
    }
    let t: TrustText = serde_json::from_str(text)?;
    if t.format != FORMAT {
        return Err(GenesisTextError::Format(t.format));
    }
    let set: Vec<Validator> = t.validators.into_iter().map(Into::into).collect();
    let distinct =
        set.iter().enumerate().all(|(i, v)| v.power > 0 && set[..i].iter().all(|o| o.key != v.key));
    if set.is_empty() || set.len() > ledger::genesis::MAX_VALIDATORS || !distinct {
        return Err(GenesisTextError::Validators);
    }
    Ok(Trust { chain_id: t.chain_id.0, validators: ValidatorSet(set), height: t.height })
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("texts and integers have a JSON form");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::lct::sign::SigningKey;

    fn genesis() -> Genesis {
        let key = |n| SigningKey::from_bytes(&[n; 32]).unwrap().public();
        // The Ed25519 base point.
        let mut validator = [0x66; 32];
        validator[0] = 0x58;
        Genesis {
            name: "demo".into(),
            time_ms: 1_700_000_000_000,
            validators: vec![Validator { key: validator, power: 3 }],
            roots: vec![key(1)],
            authorities: vec![key(2)],
            operators: vec![key(3), key(4)],
            params: Params { max_lease_s: 77, ..Params::default() },
            accounts: vec![(AccountRole::Auditor, key(5)), (AccountRole::Owner, key(6))],
            rules: 2,
        }
    }

    #[test]
    fn text_and_genesis_are_the_same_thing() {
        let text = to_json(&genesis());
        assert_eq!(from_json(&text).unwrap(), genesis());
        assert_eq!(trust_from_json(&text).unwrap(), genesis().trust());
        let checkpoint = trust_to_json(&genesis().trust());
        assert_eq!(trust_from_json(&checkpoint).unwrap(), genesis().trust());
        let later = Trust { height: 9, ..genesis().trust() };
        assert_eq!(trust_from_json(&trust_to_json(&later)).unwrap(), later);
        let plain = Genesis { accounts: vec![], rules: 1, ..genesis() };
        let text = to_json(&plain);
        assert!(!text.contains("accounts"), "what no further account is in has no such member");
        assert!(!text.contains("rules"), "nor has one that begins with the first rules");
        assert_eq!(from_json(&to_json(&plain)).unwrap(), plain);
        assert!(from_json(&checkpoint).is_err(), "a checkpoint is not a genesis");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = to_json(&genesis());
        let root = Hex(SigningKey::from_bytes(&[1; 32]).unwrap().public().0).to_string();
        let off_curve = format!("05{}", &root[2..]);
        for (from, to, expected) in [
            ("\"max_lease_s\": 77", "\"max_lease_s\": 78", "its content is chain"),
            ("\"max_lease_s\": 77", "\"max_lease_s\": 0", "a parameter is out of range"),
            ("\"max_lease_s\": 77", "\"max_lease_s\": -1", "line"),
            ("\"max_lease_s\": 77,", "", "missing field `max_lease_s`"),
            ("\"name\"", "\"nane\"", "unknown field `nane`"),
            ("\"name\": \"demo\"", "\"name\": \"demo\", \"name\": \"demo\"", "duplicate field `name`"),
            ("\"format\": 1", "\"format\": 2", "genesis format 2"),
            (root.as_str(), off_curve.as_str(), "roots[0] is not a P-256 public key"),
            (root.as_str(), "00", "66 hexadecimal digits expected"),
            ("\"power\": 3", "\"power\": 0", "no power"),
            ("\"auditor\"", "\"auditer\"", "accounts[0] has no known role"),
            ("\"updates\"", "\"update\"", "unknown field `update`"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = from_json(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(from_json(&good[..good.len() - 3]).is_err(), "truncated");
        assert!(from_json(&format!("{good} x")).is_err(), "something follows");
        let trust = trust_to_json(&genesis().trust()).replace("\"power\": 3", "\"power\": 0");
        assert!(matches!(trust_from_json(&trust), Err(GenesisTextError::Validators)));
    }
}
