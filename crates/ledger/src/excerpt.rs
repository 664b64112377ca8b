//! What one key of the state holds after a block, or that it holds nothing, for who has no replica (`spec/ledger.md`, L250,
//! L251).
//!
//! ```text
//! excerpt = "MBSE" || 01 || { 0: 1, 1: header h + 1, 2: its certificate, 3: [handover ..], 4: 1 there or 0 not there,
//!                             5: proof that it is, or that it is not }
//! ```
//!
//! The header after a block states the root of the state that the block left; its validators certified that.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    anchor::{self, Handover, HandoverError, MAX_HANDOVERS, Trust},
    block::{Certificate, CertificateError, Header},
    codec::{Canonical, FormatError, Reader, Writer},
    proof::{Absence, StateProof},
};

/// First bytes of the file.
pub const MAGIC: &[u8; 4] = b"MBSE";
/// Format version, the byte after them.
pub const VERSION: u8 = 1;
/// Longest file, in bytes.
pub const MAX_LEN: usize = 1 << 20;

/// What the state holds under a key, with proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value.
    Present(StateProof),
    /// Nothing.
    Absent(Absence),
}

/// What the state after a block holds under a key, with all that it takes to check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The header after the block.
    pub header: Header,
    /// Signatures of validators over it.
    pub certificate: Certificate,
    /// Changes of validators before it.
    pub handovers: Vec<Handover>,
    /// The proof.
    pub found: Found,
}

/// What an excerpt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Height of the block whose state it is.
    pub height: u64,
    /// Root of that state.
    pub state_root: lct::Digest,
    /// Time of the block that certifies it, Unix milliseconds.
    pub certified_ms: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What is under it.
    pub value: Option<Vec<u8>>,
}

/// Why an excerpt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcerptError {
    /// The file begins otherwise.
    NotAnExcerpt,
    /// It has another format version.
    Version(u8),
    /// It is longer than any.
    TooLong,
    /// It is damaged.
    Format(FormatError),
    /// It is of another chain than the one that is trusted.
    OtherChain,
    /// It is of a time before the trusted height.
    Earlier,
    /// Its changes of validators lead nowhere.
    Handover(HandoverError),
    /// The validators did not certify it.
    Certificate(CertificateError),
    /// The proof is of another state.
    State,
}

impl fmt::Display for ExcerptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnExcerpt => f.write_str("it is not an excerpt of a state"),
            Self::Version(v) => write!(f, "it has format version {v}; this build knows version {VERSION}"),
            Self::TooLong => f.write_str("it is longer than any excerpt"),
            Self::Format(e) => write!(f, "it is damaged: {e}"),
            Self::OtherChain => f.write_str("it is of another chain"),
            Self::Earlier => f.write_str("it is of a time before the trusted height"),
            Self::Handover(e) => write!(f, "{e}"),
            Self::Certificate(e) => write!(f, "its block is not certified: {e}"),
            Self::State => f.write_str("its proof does not lead to the certified state"),
        }
    }
}

impl core::error::Error for ExcerptError {}

impl Excerpt {
    /// The file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &[VERSION], &self.to_bytes()].concat()
    }

    /// Reads a file without judging it.
    ///
    /// # Errors
    /// [`ExcerptError`] of the form.
    pub fn from_file(file: &[u8]) -> Result<Self, ExcerptError> {
        if file.len() > MAX_LEN {
            return Err(ExcerptError::TooLong);
        }
        let rest = file.strip_prefix(MAGIC).ok_or(ExcerptError::NotAnExcerpt)?;
        match rest.split_first() {
            Some((&VERSION, bytes)) => Self::from_bytes(bytes).map_err(ExcerptError::Format),
            Some((other, _)) => Err(ExcerptError::Version(*other)),
            None => Err(ExcerptError::NotAnExcerpt),
        }
    }

    /// Checks the excerpt for who trusts `trust`.
    ///
    /// # Errors
    /// The first [`ExcerptError`] in the order of the enum.
    pub fn check(&self, trust: &Trust) -> Result<Proved, ExcerptError> {
        let header = &self.header;
        if header.chain_id != trust.chain_id {
            return Err(ExcerptError::OtherChain);
        }
        if header.height < trust.height {
            return Err(ExcerptError::Earlier);
        }
        let validators = anchor::follow(&trust.chain_id, Some(trust), &self.handovers, header.height);
        let validators = validators.map_err(ExcerptError::Handover)?;
        let validators = validators.unwrap_or_else(|| trust.validators.clone());
        self.certificate.verify(&header.id(), &validators).map_err(ExcerptError::Certificate)?;
        let root = &header.state_root;
        let (holds, key, value) = match &self.found {
            Found::Present(proof) => (proof.leads_to(root), &proof.key, Some(proof.value.clone())),
            Found::Absent(proof) => (proof.leads_to(root), &proof.key, None),
        };
        if !holds {
            return Err(ExcerptError::State);
        }
        Ok(Proved {
            height: header.height.saturating_sub(1),
            state_root: *root,
            certified_ms: header.time_ms,
            key: key.clone(),
            value,
        })
    }
}

impl Canonical for Excerpt {
    fn write(&self, w: &mut Writer) {
        w.object(6, 1).uint(1).item(&self.header).uint(2).item(&self.certificate);
        w.uint(3).array(self.handovers.len());
        for handover in &self.handovers {
            w.item(handover);
        }
        w.uint(4);
        match &self.found {
            Found::Present(proof) => w.uint(1).uint(5).item(proof),
            Found::Absent(proof) => w.uint(0).uint(5).item(proof),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(6, 1)?;
        r.key(1)?;
        let header = r.item()?;
        r.key(2)?;
        let certificate = r.item()?;
        r.key(3)?;
        let n = r.array(MAX_HANDOVERS)?;
        let handovers = (0..n).map(|_| r.item()).collect::<Result<_, _>>()?;
        r.key(4)?;
        let there = r.uint()?;
        r.key(5)?;
        let found = match there {
            1 => Found::Present(r.item()?),
            0 => Found::Absent(r.item()?),
            _ => return Err(FormatError::Unexpected),
        };
        Ok(Self { header, certificate, handovers, found })
    }
}
