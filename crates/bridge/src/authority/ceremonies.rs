//! Ceremonies under way and relationships made, in one small file, so that a restart loses none (A20).
//!
//! ```text
//! file    = "MBCE" || 01 || CBOR { 0: 1, 1: chain id, 2: [ binding ... ], 3: [ pairing ... ] } || H(preceding)
//! binding = { 0: 3, 1: id, 2: creator, 3: created, 4: [ side, side ], 5: [] or introduced, 6: bound 0 | 1,
//!             7: assurance 0 .. 3, 8: [ paired, proposal, update ] }
//! side    = [ cid, role, access data, nonce 16, access commitment 32 ]
//! paired  = [] or [ policy, created, end of the lease ] of the last completed pairing
//! introduced = [ time, SPK A, attestation A, SPK B, attestation B ]
//! pairing = { 0: 2, 1: id, 2: binding id, 3: creator, 4: created, 5: certificate hash, 6: nonce commitment,
//!             7: end of the lease, 8: policy }
//! ```
//!
//! Times are Unix seconds, policies are versions; a proposal or an update that is not there is empty. Nothing here is secret: keys are public halves, of a validation nonce only the
//! commitment is kept, and of a pairing certificate only its hash.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use lct::{
    Digest,
    binding::Assurance,
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    metadata::ACCESS_MAX,
    policy::UPDATE_MAX,
    sign::Signature,
    spk::Spk,
};
use ledger::{
    codec::{Canonical, FormatError, Reader, Writer},
    tx::TxId,
};

use super::policy::{Agreement, Paired, Signed};
use crate::durable;

const MAGIC: &[u8; 4] = b"MBCE";
const VERSION: u8 = 1;
const BOND_VERSION: u64 = 3;
const PAIRING_VERSION: u64 = 2;
/// Seconds until a ceremony is void.
pub(crate) const CEREMONY_S: u32 = 3600;
/// Most bindings and pairings under way at the same time, each.
const OPEN_MAX: usize = 1024;
/// Most rows that are read back.
const ROWS_MAX: usize = 1 << 20;

/// One side of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub cid: Cid,
    pub role: Role,
    pub access: Vec<u8>,
    /// Fresh; enters the side's attestation.
    pub nonce: [u8; 16],
    /// `H(access || blind)`; whoever made the binding has the blind.
    pub commit: Digest,
}

/// The relationship keys of both sides as the devices attested them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduced {
    /// Time of the binding.
    pub time: u32,
    pub keys: [(Spk, Signature); 2],
}

/// A binding ceremony, and later the relationship it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bond {
    pub creator: String,
    pub created: u32,
    pub sides: [Side; 2],
    /// How the two are to establish each other's identity.
    pub assurance: Assurance,
    pub introduced: Option<Introduced>,
    /// The ledger held it when its ceremony ran out: it stays as a relationship.
    pub bound: bool,
    pub policy: Agreement,
    /// The answer that waits for a block and its transaction. Not stored: a restart forgets what waited.
    pub submitted: Option<(Digest, TxId)>,
    /// A binding in whose place this one comes and what withdraws it. Not stored either.
    pub cleared: Option<(BindingId, TxId)>,
}

/// A pairing whose completion is outstanding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    pub binding_id: BindingId,
    pub creator: String,
    pub created: u32,
    pub cert_hash: Digest,
    /// `lct::pairing::nonce_commitment`.
    pub commitment: Digest,
    pub lease_end: u32,
    /// Under which the certificate was issued.
    pub policy_version: u32,
    /// As [`Bond::submitted`].
    pub submitted: Option<(Digest, TxId)>,
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub bonds: BTreeMap<BindingId, Bond>,
    pub pairings: BTreeMap<PairingId, Pairing>,
}

/// Whether a ceremony begun at `created` still runs at `now`.
pub(crate) fn runs(created: u32, now: u32) -> bool {
    now < created.saturating_add(CEREMONY_S)
}

impl Pairing {
    /// What is kept of it once it is completed.
    pub fn paired(&self) -> Paired {
        Paired { version: self.policy_version, created: self.created, lease_end: self.lease_end }
    }
}

impl Rows {
    /// Takes out a pairing that the ledger holds: its policy is in force.
    pub fn settle(&mut self, id: &PairingId) {
        if let Some(pairing) = self.pairings.remove(id)
            && let Some(bond) = self.bonds.get_mut(&pairing.binding_id)
        {
            bond.policy.settle(pairing.paired());
        }
    }

    /// Whether there is room for another ceremony of each kind.
    pub fn has_room(&self) -> bool {
        self.bonds.values().filter(|b| !b.bound).count() < OPEN_MAX && self.pairings.len() < OPEN_MAX
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// It is damaged, or no ceremony file.
    #[error("{} is damaged or no ceremony file; it holds the relationship keys' public halves, restore it", .0.display())]
    Damaged(PathBuf),
    /// Another build wrote it.
    #[error(
        "{} was written by another build, in format {found}; nothing was changed, the build that wrote it still opens it",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that is not known: of the file, a binding or a pairing.
        found: u64,
    },
    /// It belongs to another chain.
    #[error("{} belongs to another chain", .0.display())]
    OtherChain(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The file and what it holds.
#[derive(Debug)]
pub(crate) struct Ceremonies {
    path: PathBuf,
    chain_id: Digest,
    rows: Rows,
}

impl Ceremonies {
    /// Reads the file at `path`; without one there are no ceremonies yet.
    pub fn open(path: &Path, chain_id: Digest) -> Result<Self, CeremonyError> {
        let rows = match fs::read(path) {
            Ok(bytes) => {
                let (found, rows) = decode(&bytes).map_err(|e| match e {
                    FormatError::Version(found) => CeremonyError::Version { path: path.into(), found },
                    _ => CeremonyError::Damaged(path.into()),
                })?;
                if found != chain_id {
                    return Err(CeremonyError::OtherChain(path.into()));
                }
                rows
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Rows::default(),
            Err(source) => return Err(CeremonyError::Io { path: path.into(), source }),
        };
        Ok(Ceremonies { path: path.into(), chain_id, rows })
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Changes what is held, durably: on an error nothing has changed.
    pub fn change<T>(&mut self, f: impl FnOnce(&mut Rows) -> T) -> Result<T, CeremonyError> {
        let mut rows = self.rows.clone();
        let made = f(&mut rows);
        durable::replace(&self.path, &encode(&self.chain_id, &rows))
            .map_err(|source| CeremonyError::Io { path: self.path.clone(), source })?;
        self.rows = rows;
        Ok(made)
    }

    /// Remembers which transaction carries the answer to a binding, until the next start.
    pub fn submitted_bond(&mut self, id: &BindingId, answer: Digest, tx: TxId) {
        if let Some(bond) = self.rows.bonds.get_mut(id) {
            bond.submitted = Some((answer, tx));
        }
    }

    /// Remembers which transaction withdraws a binding before this one, until the next start.
    pub fn cleared_bond(&mut self, id: &BindingId, tx: (BindingId, TxId)) {
        if let Some(bond) = self.rows.bonds.get_mut(id) {
            bond.cleared = Some(tx);
        }
    }

    /// Remembers which transaction carries the completion of a pairing, until the next start.
    pub fn submitted_pairing(&mut self, id: &PairingId, answer: Digest, tx: TxId) {
        if let Some(pairing) = self.rows.pairings.get_mut(id) {
            pairing.submitted = Some((answer, tx));
        }
    }
}

fn encode(chain_id: &Digest, rows: &Rows) -> Vec<u8> {
    let content = Content { chain_id: *chain_id, rows: rows.clone() };
    let mut file = [MAGIC.as_slice(), &[VERSION], &content.to_bytes()].concat();
    let sum = sha256(&[&file]);
    file.extend_from_slice(&sum);
    file
}

fn decode(file: &[u8]) -> Result<(Digest, Rows), FormatError> {
    let (version, _) =
        file.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(FormatError::Unexpected)?;
    if *version != VERSION {
        // How it ends is that version's affair.
        return Err(FormatError::Version((*version).into()));
    }
    let (content, sum) = file.split_last_chunk::<32>().ok_or(FormatError::Truncated)?;
    if sha256(&[content]) != *sum {
        return Err(FormatError::Unexpected);
    }
    let content = Content::from_bytes(content.get(MAGIC.len() + 1..).unwrap_or_default())?;
    Ok((content.chain_id, content.rows))
}

/// What stands between magic and checksum.
struct Content {
    chain_id: Digest,
    rows: Rows,
}

impl Canonical for Content {
    fn write(&self, w: &mut Writer) {
        write(w, &self.chain_id, &self.rows);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        rows(r).map(|(chain_id, rows)| Content { chain_id, rows })
    }
}

fn write(w: &mut Writer, chain_id: &Digest, rows: &Rows) {
    w.object(4, VERSION.into()).uint(1).bytes(chain_id).uint(2).array(rows.bonds.len());
    for (id, bond) in &rows.bonds {
        w.object(9, BOND_VERSION).uint(1).bytes(&id.0).uint(2).text(&bond.creator);
        w.uint(3).uint(bond.created.into()).uint(4).array(2);
        for side in &bond.sides {
            w.array(5).bytes(&side.cid.0).uint(side.role as u64).bytes(&side.access);
            w.bytes(&side.nonce).bytes(&side.commit);
        }
        w.uint(5);
        match &bond.introduced {
            None => {
                w.array(0);
            }
            Some(i) => {
                w.array(5).uint(i.time.into());
                for (spk, attestation) in &i.keys {
                    w.bytes(&spk.0).bytes(&attestation.0);
                }
            }
        }
        w.uint(6).uint(bond.bound.into()).uint(7).uint(bond.assurance as u64);
        let bytes = |signed: &Option<Signed>| signed.as_ref().map_or(Vec::new(), |s| s.bytes.clone());
        w.uint(8).array(3);
        match bond.policy.paired {
            None => w.array(0),
            Some(p) => w.array(3).uint(p.version.into()).uint(p.created.into()).uint(p.lease_end.into()),
        };
        w.bytes(&bytes(&bond.policy.proposal)).bytes(&bytes(&bond.policy.update));
    }
    w.uint(3).array(rows.pairings.len());
    for (id, p) in &rows.pairings {
        w.object(9, PAIRING_VERSION)
            .uint(1)
            .bytes(&id.0)
            .uint(2)
            .bytes(&p.binding_id.0)
            .uint(3)
            .text(&p.creator);
        w.uint(4).uint(p.created.into()).uint(5).bytes(&p.cert_hash).uint(6).bytes(&p.commitment);
        w.uint(7).uint(p.lease_end.into()).uint(8).uint(p.policy_version.into());
    }
}

fn rows(r: &mut Reader<'_>) -> Result<(Digest, Rows), FormatError> {
    r.object(4, VERSION.into())?;
    r.key(1)?;
    let chain_id = r.fixed()?;
    let mut rows = Rows::default();
    r.key(2)?;
    for _ in 0..r.array(ROWS_MAX)? {
        let (id, bond) = bond(r)?;
        rows.bonds.insert(id, bond);
    }
    r.key(3)?;
    for _ in 0..r.array(ROWS_MAX)? {
        let (id, pairing) = pairing(r)?;
        rows.pairings.insert(id, pairing);
    }
    Ok((chain_id, rows))
}

fn bond(r: &mut Reader<'_>) -> Result<(BindingId, Bond), FormatError> {
    r.object(9, BOND_VERSION)?;
    r.key(1)?;
    let id = BindingId(r.fixed()?);
    r.key(2)?;
    let creator = r.text(api::LABEL_MAX)?.into();
    r.key(3)?;
    let created = r.int()?;
    r.key(4)?;
    exactly(r, 2)?;
    let sides = [side(r)?, side(r)?];
    r.key(5)?;
    let introduced = match r.array(5)? {
        0 => None,
        5 => Some(Introduced { time: r.int()?, keys: [attested(r)?, attested(r)?] }),
        _ => return Err(FormatError::Unexpected),
    };
    r.key(6)?;
    let bound = match r.uint()? {
        0 => false,
        1 => true,
        _ => return Err(FormatError::Unexpected),
    };
    r.key(7)?;
    let assurance = Assurance::from_code(r.int()?).map_err(|_| FormatError::Unexpected)?;
    r.key(8)?;
    exactly(r, 3)?;
    let paired = match r.array(3)? {
        0 => None,
        3 => Some(Paired { version: r.int()?, created: r.int()?, lease_end: r.int()? }),
        _ => return Err(FormatError::Unexpected),
    };
    let policy =
        Agreement { paired, proposal: signed(r, Signed::proposal)?, update: signed(r, Signed::update)? };
    Ok((
        id,
        Bond {
            creator,
            created,
            sides,
            assurance,
            introduced,
            bound,
            policy,
            submitted: None,
            cleared: None,
        },
    ))
}

fn signed(
    r: &mut Reader<'_>,
    read: fn(&[u8]) -> Result<Signed, lct::Error>,
) -> Result<Option<Signed>, FormatError> {
    match r.bytes(UPDATE_MAX)? {
        [] => Ok(None),
        bytes => read(bytes).map(Some).map_err(|_| FormatError::Unexpected),
    }
}

fn side(r: &mut Reader<'_>) -> Result<Side, FormatError> {
    exactly(r, 5)?;
    Ok(Side {
        cid: Cid(r.fixed()?),
        role: Role::from_code(r.int()?).map_err(|_| FormatError::Unexpected)?,
        access: r.bytes(ACCESS_MAX)?.into(),
        nonce: r.fixed()?,
        commit: r.fixed()?,
    })
}

fn attested(r: &mut Reader<'_>) -> Result<(Spk, Signature), FormatError> {
    let spk = Spk::from_slice(&r.fixed::<68>()?).map_err(|_| FormatError::Unexpected)?;
    Ok((spk, Signature(r.fixed()?)))
}

fn pairing(r: &mut Reader<'_>) -> Result<(PairingId, Pairing), FormatError> {
    r.object(9, PAIRING_VERSION)?;
    r.key(1)?;
    let id = PairingId(r.fixed()?);
    r.key(2)?;
    let binding_id = BindingId(r.fixed()?);
    r.key(3)?;
    let creator = r.text(api::LABEL_MAX)?.into();
    r.key(4)?;
    let created = r.int()?;
    r.key(5)?;
    let cert_hash = r.fixed()?;
    r.key(6)?;
    let commitment = r.fixed()?;
    r.key(7)?;
    let lease_end = r.int()?;
    r.key(8)?;
    let policy_version = r.int()?;
    let pairing = Pairing {
        binding_id,
        creator,
        created,
        cert_hash,
        commitment,
        lease_end,
        policy_version,
        submitted: None,
    };
    Ok((id, pairing))
}

fn exactly(r: &mut Reader<'_>, items: usize) -> Result<(), FormatError> {
    if r.array(items)? == items { Ok(()) } else { Err(FormatError::Unexpected) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        policy::{Policy, Rotation},
        secret::Secret,
        spk::SpkSecret,
    };

    /// A policy with room for so many signatures; here nobody verifies them.
    fn policy_bytes(version: u32, signatures: usize) -> Vec<u8> {
        let policy = Policy {
            version,
            entities: [Cid([1; 16]), Cid([2; 16])],
            rotation: Rotation::FACTORY,
            rows: [[4, 0, 4, 0, 0, 0, 1, 3]].into_iter().collect(),
        };
        [policy.encode().unwrap().as_slice(), &vec![9; 64 * signatures]].concat()
    }

    fn example() -> Rows {
        let side = |name: &str, role| Side {
            cid: Cid::of(name),
            role,
            access: b"can1:0".to_vec(),
            nonce: [3; 16],
            commit: [4; 32],
        };
        let spk = |n| SpkSecret::from_seed(Secret::new([n; 32])).unwrap().public();
        let bond = Bond {
            creator: "fitter 7".into(),
            created: 5,
            sides: [side("app-0001", Role::App), side("pack-0001", Role::Pack)],
            assurance: Assurance::Code,
            introduced: Some(Introduced {
                time: 9,
                keys: [(spk(1), Signature([7; 64])), (spk(2), Signature([8; 64]))],
            }),
            bound: true,
            policy: Agreement {
                paired: Some(Paired { version: 2, created: 7, lease_end: 9 }),
                proposal: Some(Signed::proposal(&policy_bytes(4, 1)).unwrap()),
                update: Some(Signed::update(&policy_bytes(3, 3)).unwrap()),
            },
            submitted: None,
            cleared: None,
        };
        let pairing = Pairing {
            binding_id: BindingId([1; 16]),
            creator: "x".into(),
            created: 6,
            cert_hash: [2; 32],
            commitment: [5; 32],
            lease_end: u32::MAX,
            policy_version: 3,
            submitted: None,
        };
        Rows {
            bonds: [
                (BindingId([1; 16]), bond.clone()),
                (
                    BindingId([2; 16]),
                    Bond { introduced: None, bound: false, policy: Agreement::default(), ..bond },
                ),
            ]
            .into(),
            pairings: [(PairingId([3; 16]), pairing)].into(),
        }
    }

    #[test]
    fn a_restart_finds_everything_and_a_failed_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ceremonies");
        let mut c = Ceremonies::open(&path, [1; 32]).unwrap();
        c.change(|rows| *rows = example()).unwrap();
        assert_eq!(Ceremonies::open(&path, [1; 32]).unwrap().rows(), &example());
        assert!(matches!(Ceremonies::open(&path, [2; 32]), Err(CeremonyError::OtherChain(_))));
        // The temporary file cannot be created where a folder has its name.
        fs::create_dir(path.with_extension("part")).unwrap();
        assert!(c.change(|rows| rows.bonds.clear()).is_err());
        assert_eq!(c.rows(), &example());
    }

    #[test]
    fn any_damage_is_found() {
        let good = encode(&[1; 32], &example());
        assert!(decode(&good).is_ok());
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(decode(&bad).is_err(), "byte {i}");
            assert!(decode(&good[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_file_of_another_format_is_named_and_left_alone() {
        let kept = encode(&[1; 32], &example());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ceremonies");
        let sealed = |mut content: Vec<u8>| {
            let sum = sha256(&[&content]);
            content.extend(sum);
            content
        };
        let (content, _) = kept.split_last_chunk::<32>().unwrap();
        let file = [&content[..4], &[2], &content[5..]].concat();
        // The object in it.
        let object = [&content[..7], &[9], &content[8..]].concat();
        for (other, version) in [(file.clone(), 2), (sealed(file), 2), (sealed(object), 9)] {
            fs::write(&path, &other).unwrap();
            let refused = Ceremonies::open(&path, [1; 32]).unwrap_err();
            assert!(matches!(refused, CeremonyError::Version { found, .. } if found == version), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), other);
        }
    }
}
