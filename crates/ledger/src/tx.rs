//! Transactions: one signed envelope and one body (`spec/ledger.md`, L20 to L23).
//!
//! ```text
//! body     = { 0: 1, 1: kind, 2..: fields of the kind }
//! unsigned = { 0: 1, 1: chain id, 2: signer, 3: nonce, 4: expiry height, 5: body }
//! envelope = { 0: 1, 1: unsigned (as a byte string), 2: signature over H("modbatt1 tx" || unsigned) }
//! tx id    = H(envelope)
//! ```
//!
//! A statement of a device travels inside as the exact bytes the device signed; the ledger decodes them with
//! `lct` and never re-encodes them. The nonce of a signer starts at 1 and grows by exactly 1.

use alloc::{string::String, vec::Vec};

use lct::{
    Digest,
    delegation::DelegationId,
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    pairing::Completion,
    sign::{PublicKey, Signature},
    trade::TradeId,
};

use crate::{
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::MAX_WITNESSES,
};

mod config;
mod energy;
mod govern;
pub mod kind;
pub mod registry;

pub use config::{CommandReference, Config};
pub use energy::{Agreed, Subject};
pub use govern::{Change, Governance};
pub use kind::Kind;
pub use registry::Registry;

/// Longest statement a body may carry, in bytes.
pub const MAX_STATEMENT: usize = 2048;
/// Longest context of an LCT, in bytes.
pub const MAX_CONTEXT: usize = 64;
/// Longest transaction a reader accepts at all; a chain's own limit (`Params::max_tx_bytes`) is lower or equal.
pub const MAX_TX: usize = 1 << 16;

const VERSION: u64 = 1;

/// Identity of a transaction: SHA-256 of its bytes.
pub type TxId = Digest;

/// A statement of a device, the binding key that signed it, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Canonical bytes of the statement as the device signed them.
    pub statement: Vec<u8>,
    /// The signing key of the binding under which the device speaks.
    pub key: PublicKey,
    /// Signature over the statement's digest.
    pub signature: Signature,
}

/// A completed pairing with its proofs (L37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paired {
    /// Identity of the pairing; used once.
    pub pairing_id: PairingId,
    /// The binding under which the two entities paired.
    pub binding_id: BindingId,
    /// Signing key of entity A of that binding.
    pub key_a: PublicKey,
    /// Signing key of entity B of that binding.
    pub key_b: PublicKey,
    /// SHA-256 of the whole pairing certificate.
    pub cert_hash: Digest,
    /// The validation nonce, known only after the certificate was opened with both halves.
    pub nonce: Digest,
    /// Transcript hash of the handshake.
    pub th4: Digest,
    /// The pairing ends this many seconds after the block's time.
    pub lease_s: u32,
    /// By `key_a` over the completion digest.
    pub signature_a: Signature,
    /// By `key_b` over the completion digest.
    pub signature_b: Signature,
    /// By the authority that also signs the envelope, over the same digest.
    pub signature_authority: Signature,
}

impl Paired {
    /// What all three sign.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { pairing_id, nonce, cert_hash, th4, .. } = *self;
        Completion { pairing_id, nonce, cert_hash, th4 }.digest()
    }

    fn write(&self, w: &mut Writer) {
        w.uint(2).bytes(&self.pairing_id.0).uint(3).bytes(&self.binding_id.0);
        w.uint(4).bytes(&self.key_a.0).uint(5).bytes(&self.key_b.0);
        w.uint(6).bytes(&self.cert_hash).uint(7).bytes(&self.nonce).uint(8).bytes(&self.th4);
        w.uint(9).uint(self.lease_s.into()).uint(10).bytes(&self.signature_a.0);
        w.uint(11).bytes(&self.signature_b.0).uint(12).bytes(&self.signature_authority.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            pairing_id: PairingId(fixed(r, 2)?),
            binding_id: BindingId(fixed(r, 3)?),
            key_a: PublicKey(fixed(r, 4)?),
            key_b: PublicKey(fixed(r, 5)?),
            cert_hash: fixed(r, 6)?,
            nonce: fixed(r, 7)?,
            th4: fixed(r, 8)?,
            lease_s: int(r, 9)?,
            signature_a: Signature(fixed(r, 10)?),
            signature_b: Signature(fixed(r, 11)?),
            signature_authority: Signature(fixed(r, 12)?),
        })
    }
}

/// Something that can be withdrawn (L100).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Code 1: a component, with its device key, its entity LCT and every binding that it has.
    Component(Cid),
    /// Code 2: a binding, with its signing keys and pairings.
    Binding(BindingId),
    /// Code 3: a pairing.
    Pairing(PairingId),
    /// Code 4: a batch authority, by `lct::revocation::batch_id` of its key.
    Batch([u8; 16]),
    /// Code 5: a signing key, with its binding.
    SigningKey(PublicKey),
    /// Code 6: an account.
    Account(PublicKey),
    /// Code 7: a delegation.
    Delegation(DelegationId),
}

impl Target {
    /// Code and identifier; the codes 1 to 4 and 7 are those of a revocation list.
    #[must_use]
    pub fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Component(Cid(id)) => (1, id),
            Self::Binding(BindingId(id)) => (2, id),
            Self::Pairing(PairingId(id)) => (3, id),
            Self::Batch(id) => (4, id),
            Self::SigningKey(PublicKey(id)) => (5, id),
            Self::Account(PublicKey(id)) => (6, id),
            Self::Delegation(DelegationId(id)) => (7, id),
        }
    }

    /// What it is, as a word for people and APIs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Component(_) => "component",
            Self::Binding(_) => "binding",
            Self::Pairing(_) => "pairing",
            Self::Batch(_) => "batch authority",
            Self::SigningKey(_) => "signing key",
            Self::Account(_) => "account",
            Self::Delegation(_) => "delegation",
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.key(2)?;
        let code = r.uint()?;
        Ok(match code {
            1 => Self::Component(Cid(fixed(r, 3)?)),
            2 => Self::Binding(BindingId(fixed(r, 3)?)),
            3 => Self::Pairing(PairingId(fixed(r, 3)?)),
            4 => Self::Batch(fixed(r, 3)?),
            5 => Self::SigningKey(PublicKey(fixed(r, 3)?)),
            6 => Self::Account(PublicKey(fixed(r, 3)?)),
            7 => Self::Delegation(DelegationId(fixed(r, 3)?)),
            _ => return Err(FormatError::Unexpected),
        })
    }
}

/// What a transaction asks for. The numbers of [`Kind`] are part of the format and never reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Registers a component and creates its entity LCT.
    Register {
        /// `lct::registration::Registration` bytes.
        statement: Vec<u8>,
        /// Proof of possession by the device key.
        signature: Signature,
    },
    /// Creates a relationship LCT between two registered components.
    LctCreate {
        /// One component; the order does not matter.
        a: Cid,
        /// The other component.
        b: Cid,
        /// What the relationship is for: 1..=64 characters of `[A-Za-z0-9_.-]`.
        context: String,
    },
    /// Records a binding (L36).
    Bind {
        /// `lct::binding::BindingRecord` bytes.
        record: Vec<u8>,
        /// By the key of entity A in the record.
        signature_a: Signature,
        /// By the key of entity B in the record.
        signature_b: Signature,
        /// By the authority that also signs the envelope.
        signature_authority: Signature,
    },
    /// Records that a pairing was completed (L38).
    PairComplete(Paired),
    /// Records the Merkle root of a telemetry batch; `lct::record::BatchStatement` bytes.
    Batch(Signed),
    /// Records an energy event; `lct::energy::EnergyEvent` bytes.
    Energy(Signed),
    /// Closes an energy cycle; `lct::energy::CycleClose` bytes.
    CycleClose(Signed),
    /// Anchors the audit log of a device; `lct::journal::Checkpoint::body` bytes.
    Checkpoint(Signed),
    /// A side withdraws its pairing or binding; `lct::validation::Event` bytes (L101).
    RevokeSigned(Signed),
    /// An account withdraws something (L102).
    Revoke {
        /// What.
        target: Target,
        /// `lct::revocation::Reason` code.
        reason: u8,
    },
    /// Records a pairing that takes the place of another one of the same binding (L104).
    PairRenew {
        /// The new pairing.
        paired: Paired,
        /// The one that it renews.
        renews: PairingId,
        /// Sessions allowed by the new one; 0 without limit.
        max_uses: u32,
        /// Bit 0 read, bit 1 write, bit 2 execute.
        operations: u8,
    },
    /// Counts a session of a pairing; `lct::validation::Event` bytes (L105).
    PairUse(Signed),
    /// Gives a pairing other terms (L106).
    PairModify {
        /// `lct::validation::Event` bytes.
        statement: Vec<u8>,
        /// `lct::pairing::Terms` bytes.
        terms: Vec<u8>,
        /// Signing keys of A and of B in the binding of the pairing.
        keys: [PublicKey; 2],
        /// By A, by B and by the authority that also signs the envelope, over the digest of the event.
        signatures: [Signature; 3],
    },
    /// Records a binding that takes the place of another one (L110).
    Rebind {
        /// `lct::binding::BindingRecord` bytes.
        record: Vec<u8>,
        /// By A, by B and by the authority that also signs the envelope.
        signatures: [Signature; 3],
        /// `lct::rebind::Rebind` token of that authority.
        token: Vec<u8>,
        /// `lct::validation::Event` by which the device replaces its binding, under its identity key.
        replacement: Signed,
        /// By the owner of the device over the digest of that event; absent for a device without owner.
        owner: Option<Signature>,
    },
    /// Records a binding that was made at the factory (L112).
    FactoryBind {
        /// `lct::binding::BindingRecord` bytes.
        record: Vec<u8>,
        /// By A, by B and by the batch authority.
        signatures: [Signature; 3],
        /// Certificate of the batch authority.
        batch: Vec<u8>,
    },
    /// A component changes hands (L113).
    Transfer {
        /// `lct::ownership::Transfer` bytes.
        statement: Vec<u8>,
        /// By who gives, by who takes.
        signatures: [Signature; 2],
    },
    /// The owner of a component agrees to another binding of it (L125).
    Consent {
        /// `lct::consent::Consent` bytes.
        statement: Vec<u8>,
        /// By the owner.
        signature: Signature,
    },
    /// Records an event of level 1 or 2 (L115).
    Validate {
        /// `lct::validation::Event` bytes.
        signed: Signed,
        /// `lct::validation::Attestation` bytes, each with the signing key of its witness.
        witnesses: Vec<(Vec<u8>, PublicKey)>,
    },
    /// Metrics of a period; `lct::trust::MetricsReport` bytes (L199).
    Metrics(Signed),
    /// Records a delegation (L120).
    Delegate {
        /// `lct::delegation::Delegation` bytes, signed by the authority that also signs the envelope.
        statement: Vec<u8>,
    },
    /// Records what a delegate did (L122).
    DelegateAct {
        /// `lct::delegation::Act` bytes.
        statement: Vec<u8>,
        /// Bytes of the [`Body`] that it is about.
        body: Vec<u8>,
    },
    /// What is said of components, LCTs and pairings beyond their making.
    Registry(Registry),
    /// Changes the chain itself (L160).
    Govern(Governance),
    /// Gives a parameter of a pack another value (L176).
    ConfigSet(Config),
    /// Tells which value a parameter of a pack has (L177).
    ConfigReport(Config),
    /// An owner's order about the energy of its pack (L212).
    EnergyOrder {
        /// `lct::trade::Order` bytes.
        statement: Vec<u8>,
        /// By the owner of the pack.
        signature: Signature,
    },
    /// Both packs of a transfer say what flowed (L214).
    EnergyReceipt {
        /// `lct::trade::Receipt` bytes.
        statement: Vec<u8>,
        /// Signing keys of giver and taker in their binding.
        keys: [PublicKey; 2],
        /// By the giver, by the taker.
        signatures: [Signature; 2],
    },
    /// Ends a transfer whose time is over (L215).
    EnergyRelease {
        /// Which.
        transfer: TradeId,
    },
    /// Says what is owed for a cycle or a transfer (L216).
    Settle {
        /// For what.
        subject: Subject,
        /// A price that two agreed on.
        price: Option<Agreed>,
    },
    /// Objects to a settlement that is to come (L217).
    Object {
        /// To which.
        subject: Subject,
        /// 1 not delivered, 2 a measurement is wrong, 3 another price was agreed, 4 other.
        reason: u8,
    },
    /// Decides an objection (L217).
    Resolve {
        /// To the settlement of what.
        subject: Subject,
        /// Whether it stands: then that is never settled.
        upheld: bool,
    },
}

fn statement(r: &mut Reader<'_>, key: u64) -> Result<Vec<u8>, FormatError> {
    r.key(key)?;
    Ok(r.bytes(MAX_STATEMENT)?.into())
}

fn fixed<const N: usize>(r: &mut Reader<'_>, key: u64) -> Result<[u8; N], FormatError> {
    r.key(key)?;
    r.fixed()
}

fn put_signatures(w: &mut Writer, first: u64, signatures: &[Signature]) {
    for (key, signature) in (first..).zip(signatures) {
        w.uint(key).bytes(&signature.0);
    }
}

/// Signatures under the keys from `first` on.
fn signatures<const N: usize>(r: &mut Reader<'_>, first: u64) -> Result<[Signature; N], FormatError> {
    let mut all = [Signature([0; 64]); N];
    for (key, signature) in (first..).zip(&mut all) {
        *signature = Signature(fixed(r, key)?);
    }
    Ok(all)
}

fn int<T: TryFrom<u64>>(r: &mut Reader<'_>, key: u64) -> Result<T, FormatError> {
    r.key(key)?;
    r.int()
}

impl Canonical for Body {
    fn write(&self, w: &mut Writer) {
        let pairs = match self {
            Self::Delegate { .. } | Self::EnergyRelease { .. } => 3,
            Self::Register { .. } | Self::DelegateAct { .. } | Self::Govern(_) => 4,
            Self::EnergyOrder { .. } | Self::Consent { .. } => 4,
            Self::LctCreate { .. } | Self::Batch(_) | Self::Energy(_) | Self::CycleClose(_) => 5,
            Self::Checkpoint(_) | Self::RevokeSigned(_) | Self::Revoke { .. } | Self::PairUse(_) => 5,
            Self::Metrics(_) => 5,
            Self::Transfer { .. } | Self::Settle { .. } | Self::Object { .. } | Self::Resolve { .. } => 5,
            Self::Bind { .. } | Self::Validate { .. } => 6,
            Self::FactoryBind { .. } | Self::EnergyReceipt { .. } => 7,
            Self::ConfigSet(_) | Self::ConfigReport(_) => 7,
            Self::Rebind { .. } => 11,
            Self::PairModify { .. } => 9,
            Self::PairComplete(_) => 13,
            Self::PairRenew { .. } => 16,
            Self::Registry(body) => body.pairs(),
        };
        w.object(pairs, VERSION).uint(1).uint(self.kind() as u64);
        match self {
            Self::Registry(body) => body.write(w),
            Self::Register { statement, signature }
            | Self::EnergyOrder { statement, signature }
            | Self::Consent { statement, signature } => {
                w.uint(2).bytes(statement).uint(3).bytes(&signature.0);
            }
            Self::LctCreate { a, b, context } => {
                w.uint(2).bytes(&a.0).uint(3).bytes(&b.0).uint(4).text(context);
            }
            Self::Bind { record, signature_a, signature_b, signature_authority } => {
                w.uint(2).bytes(record).uint(3).bytes(&signature_a.0);
                w.uint(4).bytes(&signature_b.0).uint(5).bytes(&signature_authority.0);
            }
            Self::PairComplete(paired) => paired.write(w),
            Self::Revoke { target, reason } => {
                let (code, id) = target.parts();
                w.uint(2).uint(code.into()).uint(3).bytes(id).uint(4).uint((*reason).into());
            }
            Self::PairRenew { paired, renews, max_uses, operations } => {
                paired.write(w);
                w.uint(13).bytes(&renews.0).uint(14).uint((*max_uses).into());
                w.uint(15).uint((*operations).into());
            }
            Self::PairModify { statement, terms, keys: [a, b], signatures } => {
                w.uint(2).bytes(statement).uint(3).bytes(terms);
                w.uint(4).bytes(&a.0).uint(5).bytes(&b.0);
                put_signatures(w, 6, signatures);
            }
            Self::Rebind { record, signatures, token, replacement, owner } => {
                w.uint(2).bytes(record);
                put_signatures(w, 3, signatures);
                w.uint(6).bytes(token).uint(7).bytes(&replacement.statement);
                w.uint(8).bytes(&replacement.key.0).uint(9).bytes(&replacement.signature.0);
                w.uint(10).bytes(owner.as_ref().map_or(&[][..], |s| &s.0));
            }
            Self::FactoryBind { record, signatures, batch } => {
                w.uint(2).bytes(record);
                put_signatures(w, 3, signatures);
                w.uint(6).bytes(batch);
            }
            Self::Transfer { statement, signatures } => {
                w.uint(2).bytes(statement);
                put_signatures(w, 3, signatures);
            }
            Self::Delegate { statement } => {
                w.uint(2).bytes(statement);
            }
            Self::DelegateAct { statement, body } => {
                w.uint(2).bytes(statement).uint(3).bytes(body);
            }
            Self::ConfigSet(config) | Self::ConfigReport(config) => config.write(w),
            Self::Govern(Governance { change, height }) => {
                w.uint(2);
                change.write(w);
                w.uint(3).uint(*height);
            }
            Self::EnergyReceipt { statement, keys: [giver, taker], signatures } => {
                w.uint(2).bytes(statement).uint(3).bytes(&giver.0).uint(4).bytes(&taker.0);
                put_signatures(w, 5, signatures);
            }
            Self::EnergyRelease { transfer } => {
                w.uint(2).bytes(&transfer.0);
            }
            Self::Settle { subject, price } => {
                subject.write(w);
                Agreed::write(price.as_ref(), w);
            }
            Self::Object { subject, reason } => {
                subject.write(w);
                w.uint(4).uint((*reason).into());
            }
            Self::Resolve { subject, upheld } => {
                subject.write(w);
                w.uint(4).uint((*upheld).into());
            }
            Self::Validate { signed: s, witnesses } => {
                w.uint(2).bytes(&s.statement).uint(3).bytes(&s.key.0).uint(4).bytes(&s.signature.0);
                w.uint(5).array(witnesses.len());
                for (attestation, key) in witnesses {
                    w.array(2).bytes(attestation).bytes(&key.0);
                }
            }
            Self::Batch(s)
            | Self::Energy(s)
            | Self::CycleClose(s)
            | Self::Checkpoint(s)
            | Self::RevokeSigned(s)
            | Self::PairUse(s)
            | Self::Metrics(s) => {
                w.uint(2).bytes(&s.statement).uint(3).bytes(&s.key.0).uint(4).bytes(&s.signature.0);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let pairs = r.map()?;
        r.key(0)?;
        let version = r.uint()?;
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        r.key(1)?;
        let signed = |r: &mut Reader<'_>| {
            Ok(Signed {
                statement: statement(r, 2)?,
                key: PublicKey(fixed(r, 3)?),
                signature: Signature(fixed(r, 4)?),
            })
        };
        match (r.uint()?, pairs) {
            (1, 4) => Ok(Self::Register { statement: statement(r, 2)?, signature: Signature(fixed(r, 3)?) }),
            (2, 5) => {
                let (a, b) = (Cid(fixed(r, 2)?), Cid(fixed(r, 3)?));
                r.key(4)?;
                Ok(Self::LctCreate { a, b, context: r.text(MAX_CONTEXT)?.into() })
            }
            (3, 6) => Ok(Self::Bind {
                record: statement(r, 2)?,
                signature_a: Signature(fixed(r, 3)?),
                signature_b: Signature(fixed(r, 4)?),
                signature_authority: Signature(fixed(r, 5)?),
            }),
            (4, 13) => Ok(Self::PairComplete(Paired::read(r)?)),
            (5, 5) => Ok(Self::Batch(signed(r)?)),
            (6, 5) => Ok(Self::Energy(signed(r)?)),
            (7, 5) => Ok(Self::CycleClose(signed(r)?)),
            (8, 5) => Ok(Self::Checkpoint(signed(r)?)),
            (16, 5) => Ok(Self::RevokeSigned(signed(r)?)),
            (17, 5) => Ok(Self::Revoke { target: Target::read(r)?, reason: int(r, 4)? }),
            (18, 16) => Ok(Self::PairRenew {
                paired: Paired::read(r)?,
                renews: PairingId(fixed(r, 13)?),
                max_uses: int(r, 14)?,
                operations: int(r, 15)?,
            }),
            (19, 5) => Ok(Self::PairUse(signed(r)?)),
            (20, 9) => Ok(Self::PairModify {
                statement: statement(r, 2)?,
                terms: statement(r, 3)?,
                keys: [PublicKey(fixed(r, 4)?), PublicKey(fixed(r, 5)?)],
                signatures: signatures(r, 6)?,
            }),
            (21, 11) => Ok(Self::Rebind {
                record: statement(r, 2)?,
                signatures: signatures(r, 3)?,
                token: statement(r, 6)?,
                replacement: Signed {
                    statement: statement(r, 7)?,
                    key: PublicKey(fixed(r, 8)?),
                    signature: Signature(fixed(r, 9)?),
                },
                owner: {
                    r.key(10)?;
                    match r.bytes(64)? {
                        [] => None,
                        bytes => Some(Signature::from_slice(bytes).map_err(|_| FormatError::Unexpected)?),
                    }
                },
            }),
            (22, 7) => Ok(Self::FactoryBind {
                record: statement(r, 2)?,
                signatures: signatures(r, 3)?,
                batch: statement(r, 6)?,
            }),
            (23, 5) => Ok(Self::Transfer { statement: statement(r, 2)?, signatures: signatures(r, 3)? }),
            (24, 6) => Ok(Self::Validate {
                signed: signed(r)?,
                witnesses: {
                    r.key(5)?;
                    let n = r.array(MAX_WITNESSES)?;
                    let mut witnesses = Vec::with_capacity(n);
                    for _ in 0..n {
                        if r.array(2)? != 2 {
                            return Err(FormatError::Unexpected);
                        }
                        witnesses.push((r.bytes(MAX_STATEMENT)?.into(), PublicKey(r.fixed()?)));
                    }
                    witnesses
                },
            }),
            (25, 3) => Ok(Self::Delegate { statement: statement(r, 2)? }),
            (50, 5) => Ok(Self::Metrics(signed(r)?)),
            (26, 4) => Ok(Self::DelegateAct { statement: statement(r, 2)?, body: statement(r, 3)? }),
            (27, 4) => Ok(Self::Consent { statement: statement(r, 2)?, signature: Signature(fixed(r, 3)?) }),
            (kind @ 32..=41, pairs) => Ok(Self::Registry(Registry::read(kind, pairs, r)?)),
            (47, 7) => Ok(Self::ConfigSet(Config::read(r)?)),
            (48, 7) => Ok(Self::ConfigReport(Config::read(r)?)),
            (kind @ 42..=46, 4) => {
                r.key(2)?;
                let change = Change::read(kind as u8, r)?;
                Ok(Self::Govern(Governance { change, height: int(r, 3)? }))
            }
            (56, 4) => {
                Ok(Self::EnergyOrder { statement: statement(r, 2)?, signature: Signature(fixed(r, 3)?) })
            }
            (57, 7) => Ok(Self::EnergyReceipt {
                statement: statement(r, 2)?,
                keys: [PublicKey(fixed(r, 3)?), PublicKey(fixed(r, 4)?)],
                signatures: signatures(r, 5)?,
            }),
            (58, 3) => Ok(Self::EnergyRelease { transfer: TradeId(fixed(r, 2)?) }),
            (59, 5) => Ok(Self::Settle { subject: Subject::read(r)?, price: Agreed::read(r)? }),
            (60, 5) => Ok(Self::Object { subject: Subject::read(r)?, reason: int(r, 4)? }),
            (61, 5) => {
                let (subject, upheld) = (Subject::read(r)?, int::<u8>(r, 4)?);
                match upheld {
                    0 | 1 => Ok(Self::Resolve { subject, upheld: upheld == 1 }),
                    _ => Err(FormatError::Unexpected),
                }
            }
            _ => Err(FormatError::Unexpected),
        }
    }
}

/// The part of a transaction that its signer signs (L4, L20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain this is for.
    pub chain_id: Digest,
    /// Account that answers for the transaction.
    pub signer: PublicKey,
    /// One more than the signer's last accepted nonce; the first is 1.
    pub nonce: u64,
    /// Last height at which it may be included.
    pub expiry_height: u64,
    /// What it asks for.
    pub body: Body,
}

impl Unsigned {
    /// The digest the signer signs: `H("modbatt1 tx" || canonical bytes)`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        signing_digest(&self.to_bytes())
    }

    /// Joins the signature over [`Unsigned::digest`].
    #[must_use]
    pub fn with_signature(self, signature: Signature) -> Tx {
        Tx { unsigned: self, signature }
    }
}

fn signing_digest(unsigned: &[u8]) -> Digest {
    sha256(&[b"modbatt1 tx", unsigned])
}

impl Canonical for Unsigned {
    fn write(&self, w: &mut Writer) {
        w.object(6, VERSION).uint(1).bytes(&self.chain_id).uint(2).bytes(&self.signer.0);
        w.uint(3).uint(self.nonce).uint(4).uint(self.expiry_height).uint(5).item(&self.body);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(6, VERSION)?;
        let (chain_id, signer) = (fixed(r, 1)?, PublicKey(fixed(r, 2)?));
        r.key(3)?;
        let nonce = r.uint()?;
        r.key(4)?;
        let expiry_height = r.uint()?;
        r.key(5)?;
        Ok(Self { chain_id, signer, nonce, expiry_height, body: r.item()? })
    }
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tx {
    /// The signed part.
    pub unsigned: Unsigned,
    /// The signer's signature over [`Unsigned::digest`].
    pub signature: Signature,
}

impl Tx {
    /// Identity of the transaction with these bytes.
    #[must_use]
    pub fn id_of(bytes: &[u8]) -> TxId {
        sha256(&[bytes])
    }

    /// Identity of this transaction.
    #[must_use]
    pub fn id(&self) -> TxId {
        Self::id_of(&self.to_bytes())
    }

    /// Checks the envelope's signature (low s enforced).
    ///
    /// # Errors
    /// [`lct::sign::BadSignature`].
    pub fn verify(&self) -> Result<(), lct::sign::BadSignature> {
        self.unsigned.signer.verify(&self.unsigned.digest(), &self.signature)
    }
}

impl Canonical for Tx {
    fn write(&self, w: &mut Writer) {
        w.object(3, VERSION).uint(1).bytes(&self.unsigned.to_bytes()).uint(2).bytes(&self.signature.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, VERSION)?;
        r.key(1)?;
        let unsigned = Unsigned::from_bytes(r.bytes(MAX_TX)?)?;
        Ok(Self { unsigned, signature: Signature(fixed(r, 2)?) })
    }
}
