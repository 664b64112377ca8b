//! The first state of a chain: who may validate, attest, authorise and operate, and the parameters in force
//! (`spec/ledger.md`, L10 to L14).
//!
//! The chain id is `H("modbatt1 genesis" || canonical bytes)`, so a genesis cannot be changed without becoming
//! another chain, and every signed object that carries the chain id is bound to these roots.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use ed25519_dalek::VerifyingKey;
use lct::{Digest, hash::sha256, sign::PublicKey};

use crate::{
    codec::{Canonical, FormatError, Reader, Writer},
    records::AccountRole,
    trust::{Weights, weights},
};

/// Most keys a genesis may list per role.
pub const MAX_KEYS: usize = 1024;
/// Most validators of a set.
pub const MAX_VALIDATORS: usize = 128;
/// Longest name of a chain in bytes.
pub const MAX_NAME: usize = 64;

/// Most witnesses of one event.
pub const MAX_WITNESSES: usize = 5;

const VERSION: u64 = 1;

/// A block validator: an Ed25519 key and its voting power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Ed25519 public key.
    pub key: [u8; 32],
    /// Voting power, at least 1.
    pub power: u64,
}

/// The validators whose signatures certify a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet(pub Vec<Validator>);

impl ValidatorSet {
    /// Power of the validator with this key, 0 if it is none.
    #[must_use]
    pub fn power(&self, key: &[u8; 32]) -> u64 {
        self.0.iter().find(|v| v.key == *key).map_or(0, |v| v.power)
    }

    /// Sum of all powers.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.0.iter().map(|v| u128::from(v.power)).sum()
    }

    /// Checks that it can certify blocks (L13).
    ///
    /// # Errors
    /// The first of [`GenesisError::ValidatorCount`], `Validator` and `ValidatorKey`.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.0.is_empty() || self.0.len() > MAX_VALIDATORS {
            return Err(GenesisError::ValidatorCount);
        }
        for (i, v) in self.0.iter().enumerate() {
            if v.power == 0 || self.0[..i].iter().any(|o| o.key == v.key) {
                return Err(GenesisError::Validator);
            }
            if VerifyingKey::from_bytes(&v.key).is_err() {
                return Err(GenesisError::ValidatorKey);
            }
        }
        Ok(())
    }
}

impl Canonical for ValidatorSet {
    fn write(&self, w: &mut Writer) {
        w.object(2, VERSION).uint(1).array(self.0.len());
        for v in &self.0 {
            w.array(2).bytes(&v.key).uint(v.power);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, VERSION)?;
        r.key(1)?;
        let n = r.array(MAX_VALIDATORS)?;
        let mut set = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(2)? != 2 {
                return Err(FormatError::Unexpected);
            }
            set.push(Validator { key: r.fixed()?, power: r.uint()? });
        }
        Ok(Self(set))
    }
}

/// Chain parameters (L11). Durations in milliseconds of block time unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Most transactions in a block (1..=65 535).
    pub max_block_txs: u32,
    /// Most bytes of transactions in a block.
    pub max_block_bytes: u32,
    /// Most bytes of one transaction.
    pub max_tx_bytes: u32,
    /// Most records a telemetry batch may cover (L42).
    pub max_batch_records: u32,
    /// How far a time stated by a device may lie after block time (L26, L36).
    pub max_future_ms: u64,
    /// Longest lease of a pairing in seconds (L38).
    pub max_lease_s: u32,
    /// Most relationship LCTs of one component (L34).
    pub max_lcts: u32,
    /// Per energy cycle, the share of the minted capacity (ppm) by which measured energy may exceed what the
    /// pool holds before an event is refused: an estimated opening state of charge is never exact.
    pub pool_tolerance_ppm: u32,
    /// Fewest witnesses of an event of level 2 (L115).
    pub witness_quorum: u32,
    /// Whether a registered component waits for an authority or its manufacturer to admit it: 0 it does not, 1 it does
    /// (L131).
    pub admission: u32,
    /// Constants of trust (L196).
    pub trust: Box<Weights>,
    /// Longest time for which a transfer between packs holds its energy, seconds (L213).
    pub max_transfer_s: u32,
    /// Time to object before something is settled, seconds (L216).
    pub objection_s: u32,
    /// Price of energy where two did not agree on one, millionths of the chain's currency per kWh; 0 for none (L216).
    pub price_micro_per_kwh: u64,
    /// Longest time for which an offer stands, seconds (L218).
    pub max_offer_s: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_block_txs: 1000,
            max_block_bytes: 1 << 20,
            max_tx_bytes: 1 << 14,
            max_batch_records: 100,
            max_future_ms: 300_000,
            max_lease_s: 90 * 86_400,
            max_lcts: 100,
            pool_tolerance_ppm: 100_000,
            witness_quorum: 1,
            admission: 0,
            trust: Box::default(),
            max_transfer_s: 86_400,
            objection_s: 86_400,
            price_micro_per_kwh: 0,
            max_offer_s: 90 * 86_400,
        }
    }
}

/// Least `max_tx_bytes`: a change of governance with 128 validators fits, so no parameter can shut out its own repair.
pub const MIN_TX_BYTES: u32 = 8192;

impl Params {
    /// Whether a chain can run under them (L13).
    #[must_use]
    pub fn usable(&self) -> bool {
        (1..=0xffff).contains(&self.max_block_txs)
            && self.max_tx_bytes >= MIN_TX_BYTES
            && self.max_block_bytes >= self.max_tx_bytes
            && self.max_batch_records > 0
            && ![self.max_lease_s, self.max_transfer_s, self.max_offer_s].contains(&0)
            && self.pool_tolerance_ppm <= 1_000_000
            && (1..=MAX_WITNESSES as u32).contains(&self.witness_quorum)
            && self.admission <= 1
            && self.trust.check()
    }
}

impl Canonical for Params {
    fn write(&self, w: &mut Writer) {
        w.object(15 + weights::KEYS, VERSION);
        w.uint(1).uint(self.max_block_txs.into());
        w.uint(2).uint(self.max_block_bytes.into());
        w.uint(3).uint(self.max_tx_bytes.into());
        w.uint(4).uint(self.max_batch_records.into());
        w.uint(5).uint(self.max_future_ms);
        w.uint(6).uint(self.max_lease_s.into());
        w.uint(7).uint(self.max_lcts.into());
        w.uint(8).uint(self.pool_tolerance_ppm.into());
        w.uint(9).uint(self.witness_quorum.into());
        w.uint(10).uint(self.admission.into());
        self.trust.write(w);
        w.uint(50).uint(self.max_transfer_s.into());
        w.uint(51).uint(self.objection_s.into());
        w.uint(52).uint(self.price_micro_per_kwh);
        w.uint(53).uint(self.max_offer_s.into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(15 + weights::KEYS as u64, VERSION)?;
        let next = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.uint());
        let narrow = |v: u64| u32::try_from(v).map_err(|_| FormatError::Unexpected);
        Ok(Self {
            max_block_txs: narrow(next(r, 1)?)?,
            max_block_bytes: narrow(next(r, 2)?)?,
            max_tx_bytes: narrow(next(r, 3)?)?,
            max_batch_records: narrow(next(r, 4)?)?,
            max_future_ms: next(r, 5)?,
            max_lease_s: narrow(next(r, 6)?)?,
            max_lcts: narrow(next(r, 7)?)?,
            pool_tolerance_ppm: narrow(next(r, 8)?)?,
            witness_quorum: narrow(next(r, 9)?)?,
            admission: narrow(next(r, 10)?)?,
            trust: Box::new(Weights::read(r)?),
            max_transfer_s: narrow(next(r, 50)?)?,
            objection_s: narrow(next(r, 51)?)?,
            price_micro_per_kwh: next(r, 52)?,
            max_offer_s: narrow(next(r, 53)?)?,
        })
    }
}

/// The first state of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Name for people, 1..=64 bytes; part of the identity.
    pub name: String,
    /// Unix milliseconds; block 1 is later.
    pub time_ms: u64,
    /// Block validators (1..=128, unique).
    pub validators: Vec<Validator>,
    /// Manufacturer roots that device certificates chain to.
    pub roots: Vec<PublicKey>,
    /// Keys of authentication controllers.
    pub authorities: Vec<PublicKey>,
    /// Keys of gateways and app accounts.
    pub operators: Vec<PublicKey>,
    /// Parameters in force.
    pub params: Params,
    /// Further accounts, of any role.
    pub accounts: Vec<(AccountRole, PublicKey)>,
    /// Version of the rules of its first block (L164).
    pub rules: u32,
}

/// Why a genesis cannot start a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenesisError {
    /// The name is empty or longer than 64 bytes.
    Name,
    /// There is no validator, or more than 128.
    ValidatorCount,
    /// A validator has no power or is listed twice.
    Validator,
    /// A validator key is no Ed25519 point.
    ValidatorKey,
    /// A key has two accounts, or a list is longer than 1024.
    Account,
    /// There is no authority, so nothing could ever be bound.
    NoAuthority,
    /// A parameter is zero that must not be, or allows no block.
    Params,
    /// There are no rules of this version.
    Rules,
}

impl fmt::Display for GenesisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the chain's name must have 1 to 64 bytes",
            Self::ValidatorCount => "there must be 1 to 128 validators",
            Self::Validator => "a validator has no power or is listed twice",
            Self::ValidatorKey => "a validator key is not an Ed25519 key",
            Self::Account => "an account key is listed twice, or a list has more than 1024 keys",
            Self::NoAuthority => "there must be at least one authority",
            Self::Params => "a parameter is out of range",
            Self::Rules => "rules have a version from 1 on",
        })
    }
}

impl core::error::Error for GenesisError {}

impl Genesis {
    /// `H("modbatt1 genesis" || canonical bytes)`.
    #[must_use]
    pub fn chain_id(&self) -> Digest {
        sha256(&[b"modbatt1 genesis", &self.to_bytes()])
    }

    /// What a verifier of receipts needs to trust of this chain.
    #[must_use]
    pub fn trust(&self) -> crate::receipt::Trust {
        let validators = ValidatorSet(self.validators.clone());
        crate::receipt::Trust { chain_id: self.chain_id(), validators, height: 0 }
    }

    /// Checks that the genesis can start a chain.
    ///
    /// # Errors
    /// The first [`GenesisError`] in the order of the enum.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.name.is_empty() || self.name.len() > MAX_NAME {
            return Err(GenesisError::Name);
        }
        ValidatorSet(self.validators.clone()).check()?;
        let lists = [self.roots.len(), self.authorities.len(), self.operators.len(), self.accounts.len()];
        let mut accounts: Vec<_> = self.all_accounts().map(|(_, key)| key).collect();
        let count = accounts.len();
        accounts.sort();
        accounts.dedup();
        if accounts.len() != count || lists.iter().any(|n| *n > MAX_KEYS) {
            return Err(GenesisError::Account);
        }
        if self.authorities.is_empty() {
            return Err(GenesisError::NoAuthority);
        }
        if !self.params.usable() {
            return Err(GenesisError::Params);
        }
        if self.rules > 0 { Ok(()) } else { Err(GenesisError::Rules) }
    }

    /// Every account that the genesis gives, authorities and operators included.
    pub fn all_accounts(&self) -> impl Iterator<Item = (AccountRole, &PublicKey)> {
        let of = |role| move |key| (role, key);
        let authorities = self.authorities.iter().map(of(AccountRole::Authority));
        let operators = self.operators.iter().map(of(AccountRole::Operator));
        authorities.chain(operators).chain(self.accounts.iter().map(|(role, key)| (*role, key)))
    }
}

fn write_keys(w: &mut Writer, keys: &[PublicKey]) {
    w.array(keys.len());
    for key in keys {
        w.bytes(&key.0);
    }
}

fn read_keys(r: &mut Reader<'_>) -> Result<Vec<PublicKey>, FormatError> {
    let n = r.array(MAX_KEYS)?;
    (0..n).map(|_| Ok(PublicKey(r.fixed()?))).collect()
}

impl Canonical for Genesis {
    fn write(&self, w: &mut Writer) {
        let (accounts, rules) = (!self.accounts.is_empty(), self.rules != 1);
        w.object(8 + usize::from(accounts) + usize::from(rules), VERSION)
            .uint(1)
            .text(&self.name)
            .uint(2)
            .uint(self.time_ms);
        w.uint(3).item(&ValidatorSet(self.validators.clone()));
        w.uint(4);
        write_keys(w, &self.roots);
        w.uint(5);
        write_keys(w, &self.authorities);
        w.uint(6);
        write_keys(w, &self.operators);
        w.uint(7).item(&self.params);
        if accounts {
            w.uint(8).array(self.accounts.len());
            for (role, key) in &self.accounts {
                w.array(2).item(role).bytes(&key.0);
            }
        }
        if rules {
            w.uint(9).uint(self.rules.into());
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let more = r.object_with(8, 10, VERSION)? - 8;
        r.key(1)?;
        let name = r.text(MAX_NAME)?.into();
        r.key(2)?;
        let time_ms = r.uint()?;
        r.key(3)?;
        let ValidatorSet(validators) = r.item()?;
        r.key(4)?;
        let roots = read_keys(r)?;
        r.key(5)?;
        let authorities = read_keys(r)?;
        r.key(6)?;
        let operators = read_keys(r)?;
        r.key(7)?;
        let params = r.item()?;
        // A member that is there says something: a genesis has one encoding.
        let mut next = if more > 0 { Some(r.uint()?) } else { None };
        let mut accounts = Vec::new();
        if next == Some(8) {
            for _ in 0..r.array(MAX_KEYS)? {
                if r.array(2)? != 2 {
                    return Err(FormatError::Unexpected);
                }
                accounts.push((r.item()?, PublicKey(r.fixed()?)));
            }
            if accounts.is_empty() {
                return Err(FormatError::NotCanonical);
            }
            next = if more > 1 { Some(r.uint()?) } else { None };
        } else if more > 1 {
            return Err(FormatError::Unexpected);
        }
        let rules = match next {
            None => 1,
            Some(9) => r.int()?,
            Some(_) => return Err(FormatError::Unexpected),
        };
        if next.is_some() && rules == 1 {
            return Err(FormatError::NotCanonical);
        }
        Ok(Self { name, time_ms, validators, roots, authorities, operators, params, accounts, rules })
    }
}
