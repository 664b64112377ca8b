//! Checkpoints: what validators sign about a whole chain at once, and witnesses after them (`spec/ledger.md`, L171 to
//! L174).
//!
//! ```text
//! statement  = { 0: 1, 1: chain id, 2: height, 3: block id, 4: state root, 5: root of the tree of blocks,
//!                6: H(validator set of the next height) }
//! checkpoint = "MBCP" || 01 || { 0: 1, 1: statement as a byte string, 2: validator set, 3: certificate over the
//!                statement, 4: [[key of a witness, its signature] ..] }
//! succession = "MBCS" || 01 || { 0: 1, 1: path, 2: [handover ..] }
//! inclusion  = "MBCI" || 01 || { 0: 1, 1: height of the checkpoint, 2: path }
//! ```
//!
//! A witness signs a checkpoint only after one that it signed before, and only if the one follows from the other. So
//! two histories of one chain cannot both have its signature.

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::{Signer, SigningKey as ValidatorKey};
use lct::{
    Digest,
    hash::sha256,
    sign::{PublicKey, Signature},
};

use crate::{
    anchor::{self, Handover, HandoverError, Trust},
    block::{Certificate, CertificateError},
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::ValidatorSet,
    history::{self, PATH_MAX},
    proof::Path,
};

/// First bytes of a checkpoint file.
pub const MAGIC: &[u8; 4] = b"MBCP";
/// First bytes of the file that leads from one checkpoint to another.
pub const SUCCESSION_MAGIC: &[u8; 4] = b"MBCS";
/// First bytes of the file that leads from a block to a checkpoint after it.
pub const INCLUSION_MAGIC: &[u8; 4] = b"MBCI";
/// Format version, the byte after any of these.
pub const VERSION: u8 = 1;
/// Longest file that a verifier reads, in bytes.
pub const MAX_LEN: usize = 1 << 20;
/// Most witnesses of a checkpoint.
pub const MAX_WITNESSES: usize = 64;
const MAX_STATEMENT: usize = 512;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The chain.
    pub chain_id: Digest,
    /// Height of its last block, at least 1; also the size of the tree of blocks.
    pub height: u64,
    /// Identity of that block.
    pub block_id: Digest,
    /// Root of the state after that block.
    pub state_root: Digest,
    /// Root of the tree of blocks.
    pub tree_root: Digest,
    /// `H(validator set)` of the next height: who signs.
    pub validators: Digest,
}

impl Statement {
    /// What validators sign: `"modbatt1 checkpoint" || H(statement)`.
    #[must_use]
    pub fn message(&self) -> [u8; 51] {
        let mut message = [0; 51];
        message[..19].copy_from_slice(b"modbatt1 checkpoint");
        message[19..].copy_from_slice(&sha256(&[&self.to_bytes()]));
        message
    }

    /// What a witness signs: `H("modbatt1 cosign" || statement)`.
    #[must_use]
    pub fn witness_digest(&self) -> Digest {
        sha256(&[b"modbatt1 cosign", &self.to_bytes()])
    }

    /// Signs with the keys of validators, which must be enough of them for [`Checkpoint::from_file`] to take it.
    #[must_use]
    pub fn certify<'a>(
        self,
        validators: ValidatorSet,
        keys: impl IntoIterator<Item = &'a ValidatorKey>,
    ) -> Checkpoint {
        let message = self.message();
        let sign = |key: &ValidatorKey| (key.verifying_key().to_bytes(), key.sign(&message).to_bytes());
        let certificate = Certificate { signatures: keys.into_iter().map(sign).collect() };
        Checkpoint { statement: self, validators, certificate, witnesses: Vec::new() }
    }
}

impl Canonical for Statement {
    fn write(&self, w: &mut Writer) {
        w.object(7, 1).uint(1).bytes(&self.chain_id).uint(2).uint(self.height).uint(3).bytes(&self.block_id);
        w.uint(4).bytes(&self.state_root).uint(5).bytes(&self.tree_root).uint(6).bytes(&self.validators);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(7, 1)?;
        let fixed = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.fixed());
        Ok(Self {
            chain_id: fixed(r, 1)?,
            height: r.key(2).and_then(|()| r.uint())?,
            block_id: fixed(r, 3)?,
            state_root: fixed(r, 4)?,
            tree_root: fixed(r, 5)?,
            validators: fixed(r, 6)?,
        })
    }
}

/// A statement, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What is signed.
    pub statement: Statement,
    /// The validators of the next height.
    pub validators: ValidatorSet,
    /// Their signatures over [`Statement::message`].
    pub certificate: Certificate,
    /// Witnesses and their signatures over [`Statement::witness_digest`].
    pub witnesses: Vec<(PublicKey, Signature)>,
}

/// What leads from one checkpoint to a later one of the same chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// That the earlier tree of blocks is the beginning of the later one.
    pub path: Vec<Digest>,
    /// The changes of validators between them.
    pub handovers: Vec<Handover>,
}

/// What leads from a block to a checkpoint of its height or a later one: that the tree of blocks holds it (L223).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Height of the checkpoint.
    pub height: u64,
    /// From the leaf of the block to the root of the tree of blocks.
    pub path: Vec<Digest>,
}

/// Why a file is no checkpoint that holds, or does not follow another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// The file begins otherwise.
    NotACheckpoint,
    /// It has another format version.
    Version(u8),
    /// It is longer than any.
    TooLong,
    /// It is damaged.
    Format(FormatError),
    /// The validators in it are not those of its statement.
    Validators,
    /// They did not sign it.
    Certificate(CertificateError),
    /// A witness did not sign it, or is there twice.
    Witness,
    /// The two are of different chains.
    OtherChain,
    /// The one that is to follow is of a lower height.
    Height,
    /// Two checkpoints of one height say different things: there are two histories.
    Fork,
    /// The tree of the later one does not begin with that of the earlier one.
    Inconsistent,
    /// The validators of the earlier one do not lead to those of the later one.
    Handover(HandoverError),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotACheckpoint => "this is not such a file",
            Self::Version(v) => return write!(f, "format version {v} is not known to this build"),
            Self::TooLong => "the file is longer than any checkpoint",
            Self::Format(e) => return write!(f, "the file is damaged: {e}"),
            Self::Validators => "the validators in the checkpoint are not those of its statement",
            Self::Certificate(e) => return write!(f, "the checkpoint is not certified: {e}"),
            Self::Witness => "the signature of a witness does not verify, or counts twice",
            Self::OtherChain => "the checkpoints are of different chains",
            Self::Height => "the checkpoint is older than the one that it is to follow",
            Self::Fork => "two signed checkpoints of one height differ: the chain has two histories",
            Self::Inconsistent => "the earlier checkpoint is not part of the history of the later one",
            Self::Handover(e) => return write!(f, "{e}"),
        };
        f.write_str(text)
    }
}

impl core::error::Error for CheckpointError {}

/// The object in a file that begins with `magic`.
fn read_file<T: Canonical>(magic: &[u8; 4], file: &[u8]) -> Result<T, CheckpointError> {
    let rest = file.strip_prefix(magic).ok_or(CheckpointError::NotACheckpoint)?;
    let (version, body) = rest.split_first().ok_or(CheckpointError::NotACheckpoint)?;
    if *version != VERSION {
        return Err(CheckpointError::Version(*version));
    }
    if file.len() > MAX_LEN {
        return Err(CheckpointError::TooLong);
    }
    T::from_bytes(body).map_err(CheckpointError::Format)
}

fn to_file(magic: &[u8; 4], object: &impl Canonical) -> Vec<u8> {
    [&magic[..], &[VERSION], &object.to_bytes()].concat()
}

impl Checkpoint {
    /// The checkpoint file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        to_file(MAGIC, self)
    }

    /// Reads a checkpoint file and checks every signature in it. Who the validators and the witnesses are is for the
    /// caller to judge.
    ///
    /// # Errors
    /// The first [`CheckpointError`] in the order of the enum.
    pub fn from_file(file: &[u8]) -> Result<Self, CheckpointError> {
        let checkpoint: Self = read_file(MAGIC, file)?;
        let set = sha256(&[&checkpoint.validators.to_bytes()]);
        if set != checkpoint.statement.validators {
            return Err(CheckpointError::Validators);
        }
        let certified =
            checkpoint.certificate.certifies(&checkpoint.statement.message(), &checkpoint.validators);
        certified.map_err(CheckpointError::Certificate)?;
        let digest = checkpoint.statement.witness_digest();
        for (i, (key, signature)) in checkpoint.witnesses.iter().enumerate() {
            let counted = checkpoint.witnesses[..i].iter().any(|(other, _)| other == key);
            if counted || key.verify(&digest, signature).is_err() {
                return Err(CheckpointError::Witness);
            }
        }
        Ok(checkpoint)
    }

    /// What a verifier trusts who trusts this checkpoint.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust {
            chain_id: self.statement.chain_id,
            validators: self.validators.clone(),
            height: self.statement.height.saturating_add(1),
        }
    }

    /// Checks that this checkpoint goes on where `earlier` ended: one history, and validators that hand over.
    ///
    /// # Errors
    /// [`CheckpointError::OtherChain`], `Height`, `Fork`, `Inconsistent` or `Handover`.
    pub fn check_follows(&self, earlier: &Self, by: &Succession) -> Result<(), CheckpointError> {
        let (old, new) = (&earlier.statement, &self.statement);
        if old.chain_id != new.chain_id {
            return Err(CheckpointError::OtherChain);
        }
        if new.height < old.height {
            return Err(CheckpointError::Height);
        }
        if new.height == old.height {
            return if new == old { Ok(()) } else { Err(CheckpointError::Fork) };
        }
        let trees = ((old.height, &old.tree_root), (new.height, &new.tree_root));
        if !history::is_consistent(trees.0, trees.1, &by.path) {
            return Err(CheckpointError::Inconsistent);
        }
        let trust = earlier.trust();
        let led = anchor::follow(&new.chain_id, Some(&trust), &by.handovers, new.height.saturating_add(1));
        match led.map_err(CheckpointError::Handover)? {
            Some(set) if set == self.validators => Ok(()),
            _ => Err(CheckpointError::Validators),
        }
    }

    /// Adds the signature of a witness, who has made sure of [`Checkpoint::check_follows`].
    pub fn add_witness(&mut self, key: PublicKey, signature: Signature) {
        self.witnesses.retain(|(other, _)| *other != key);
        self.witnesses.push((key, signature));
    }
}

impl Canonical for Checkpoint {
    fn write(&self, w: &mut Writer) {
        w.object(5, 1).uint(1).bytes(&self.statement.to_bytes()).uint(2).item(&self.validators);
        w.uint(3).item(&self.certificate).uint(4).array(self.witnesses.len());
        for (key, signature) in &self.witnesses {
            w.array(2).bytes(&key.0).bytes(&signature.0);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(5, 1)?;
        r.key(1)?;
        let statement = Statement::from_bytes(r.bytes(MAX_STATEMENT)?)?;
        r.key(2)?;
        let validators = r.item()?;
        r.key(3)?;
        let certificate = r.item()?;
        r.key(4)?;
        let n = r.array(MAX_WITNESSES)?;
        let mut witnesses = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(2)? != 2 {
                return Err(FormatError::Unexpected);
            }
            witnesses.push((PublicKey(r.fixed()?), Signature(r.fixed()?)));
        }
        Ok(Self { statement, validators, certificate, witnesses })
    }
}

impl Succession {
    /// The file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        to_file(SUCCESSION_MAGIC, self)
    }

    /// Reads the file without judging it.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`], `Version`, `TooLong` or `Format`.
    pub fn from_file(file: &[u8]) -> Result<Self, CheckpointError> {
        read_file(SUCCESSION_MAGIC, file)
    }
}

impl Statement {
    /// Whether the history that this checkpoint certifies holds the block `id` of `height`.
    #[must_use]
    pub fn holds(&self, height: u64, id: &Digest, by: &Inclusion) -> bool {
        by.height == self.height
            && history::is_included((height, id), (self.height, &self.tree_root), &by.path)
    }
}

impl Inclusion {
    /// The file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        to_file(INCLUSION_MAGIC, self)
    }

    /// Reads the file without judging it.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`], `Version`, `TooLong` or `Format`.
    pub fn from_file(file: &[u8]) -> Result<Self, CheckpointError> {
        read_file(INCLUSION_MAGIC, file)
    }
}

impl Canonical for Inclusion {
    fn write(&self, w: &mut Writer) {
        w.object(3, 1).uint(1).uint(self.height).uint(2).item(&Path(self.path.clone()));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, 1)?;
        r.key(1)?;
        let height = r.uint()?;
        r.key(2)?;
        let Path(path) = r.item()?;
        if path.len() > PATH_MAX {
            return Err(FormatError::TooLong);
        }
        Ok(Self { height, path })
    }
}

impl Canonical for Succession {
    fn write(&self, w: &mut Writer) {
        w.object(3, 1).uint(1).item(&Path(self.path.clone())).uint(2);
        anchor::write_list(w, &self.handovers);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, 1)?;
        r.key(1)?;
        let Path(path) = r.item()?;
        if path.len() > PATH_MAX {
            return Err(FormatError::TooLong);
        }
        r.key(2)?;
        Ok(Self { path, handovers: anchor::read_list(r)? })
    }
}
