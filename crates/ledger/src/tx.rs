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
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    sign::{PublicKey, Signature},
};

use crate::codec::{Canonical, FormatError, Reader, Writer};

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
    PairComplete {
        /// Identity of the pairing; used once.
        pairing_id: PairingId,
        /// The binding under which the two entities paired.
        binding_id: BindingId,
        /// Signing key of entity A of that binding.
        key_a: PublicKey,
        /// Signing key of entity B of that binding.
        key_b: PublicKey,
        /// SHA-256 of the whole pairing certificate.
        cert_hash: Digest,
        /// The validation nonce, known only after the certificate was opened with both halves.
        nonce: Digest,
        /// Transcript hash of the handshake.
        th4: Digest,
        /// The pairing ends this many seconds after the block's time.
        lease_s: u32,
        /// By `key_a` over the completion digest.
        signature_a: Signature,
        /// By `key_b` over the completion digest.
        signature_b: Signature,
        /// By the authority that also signs the envelope, over the same digest.
        signature_authority: Signature,
    },
    /// Records the Merkle root of a telemetry batch; `lct::record::BatchStatement` bytes.
    Batch(Signed),
    /// Records an energy event; `lct::energy::EnergyEvent` bytes.
    Energy(Signed),
    /// Closes an energy cycle; `lct::energy::CycleClose` bytes.
    CycleClose(Signed),
}

/// The kind of a [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// [`Body::Register`].
    Register = 1,
    /// [`Body::LctCreate`].
    LctCreate = 2,
    /// [`Body::Bind`].
    Bind = 3,
    /// [`Body::PairComplete`].
    PairComplete = 4,
    /// [`Body::Batch`].
    Batch = 5,
    /// [`Body::Energy`].
    Energy = 6,
    /// [`Body::CycleClose`].
    CycleClose = 7,
}

impl Kind {
    /// The kind's name as it appears in events and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "component/register",
            Self::LctCreate => "lct/create",
            Self::Bind => "binding/record",
            Self::PairComplete => "pairing/complete",
            Self::Batch => "telemetry/batch",
            Self::Energy => "energy/event",
            Self::CycleClose => "energy/cycle-close",
        }
    }
}

impl Body {
    /// The kind of this body.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Register { .. } => Kind::Register,
            Self::LctCreate { .. } => Kind::LctCreate,
            Self::Bind { .. } => Kind::Bind,
            Self::PairComplete { .. } => Kind::PairComplete,
            Self::Batch(_) => Kind::Batch,
            Self::Energy(_) => Kind::Energy,
            Self::CycleClose(_) => Kind::CycleClose,
        }
    }
}

fn statement(r: &mut Reader<'_>, key: u64) -> Result<Vec<u8>, FormatError> {
    r.key(key)?;
    Ok(r.bytes(MAX_STATEMENT)?.into())
}

fn fixed<const N: usize>(r: &mut Reader<'_>, key: u64) -> Result<[u8; N], FormatError> {
    r.key(key)?;
    r.fixed()
}

impl Canonical for Body {
    fn write(&self, w: &mut Writer) {
        let pairs = match self {
            Self::Register { .. } => 4,
            Self::LctCreate { .. } | Self::Batch(_) | Self::Energy(_) | Self::CycleClose(_) => 5,
            Self::Bind { .. } => 6,
            Self::PairComplete { .. } => 13,
        };
        w.object(pairs, VERSION).uint(1).uint(self.kind() as u64);
        match self {
            Self::Register { statement, signature } => {
                w.uint(2).bytes(statement).uint(3).bytes(&signature.0);
            }
            Self::LctCreate { a, b, context } => {
                w.uint(2).bytes(&a.0).uint(3).bytes(&b.0).uint(4).text(context);
            }
            Self::Bind { record, signature_a, signature_b, signature_authority } => {
                w.uint(2).bytes(record).uint(3).bytes(&signature_a.0);
                w.uint(4).bytes(&signature_b.0).uint(5).bytes(&signature_authority.0);
            }
            Self::PairComplete {
                pairing_id,
                binding_id,
                key_a,
                key_b,
                cert_hash,
                nonce,
                th4,
                lease_s,
                signature_a,
                signature_b,
                signature_authority,
            } => {
                w.uint(2).bytes(&pairing_id.0).uint(3).bytes(&binding_id.0);
                w.uint(4).bytes(&key_a.0).uint(5).bytes(&key_b.0);
                w.uint(6).bytes(cert_hash).uint(7).bytes(nonce).uint(8).bytes(th4);
                w.uint(9).uint((*lease_s).into()).uint(10).bytes(&signature_a.0);
                w.uint(11).bytes(&signature_b.0).uint(12).bytes(&signature_authority.0);
            }
            Self::Batch(s) | Self::Energy(s) | Self::CycleClose(s) => {
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
            (4, 13) => Ok(Self::PairComplete {
                pairing_id: PairingId(fixed(r, 2)?),
                binding_id: BindingId(fixed(r, 3)?),
                key_a: PublicKey(fixed(r, 4)?),
                key_b: PublicKey(fixed(r, 5)?),
                cert_hash: fixed(r, 6)?,
                nonce: fixed(r, 7)?,
                th4: fixed(r, 8)?,
                lease_s: {
                    r.key(9)?;
                    r.int()?
                },
                signature_a: Signature(fixed(r, 10)?),
                signature_b: Signature(fixed(r, 11)?),
                signature_authority: Signature(fixed(r, 12)?),
            }),
            (5, 5) => Ok(Self::Batch(signed(r)?)),
            (6, 5) => Ok(Self::Energy(signed(r)?)),
            (7, 5) => Ok(Self::CycleClose(signed(r)?)),
            _ => Err(FormatError::Unexpected),
        }
    }
}

/// The part of a transaction that its signer signs.
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
