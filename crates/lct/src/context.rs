//! What is stated in the context of a component or of a relation (`spec/ledger.md`, L144 to L147): how it was made, where it
//! serves, and what its role answers for.
//!
//! Deterministic CBOR `{0: 1, 1: chain id 32, 2: LCT 32, 3: kind, 4: number, 5: [content ..], 6: time ms}`; digest
//! `H("modbatt1 context" || bytes)`. Statements of one kind about one LCT are numbered from 1; a later one takes the place
//! of the one before.

use crate::{
    Digest, Error, codec,
    codec::Fields,
    hash::sha256,
    id::Cid,
    sign::{PublicKey, Signature, Signer},
};
use rand_core::CryptoRng;

/// Length bound of an encoded statement.
pub const CONTEXT_MAX: usize = 1024;
/// Most figures of quality.
pub const FIGURES_MAX: usize = 16;
/// Most packs in the scope of an app.
pub const PACKS_MAX: usize = 16;
/// Most modules that a pack answers for.
pub const MODULES_MAX: usize = 31;

/// A list of components, ascending.
pub type Cids<const N: usize> = heapless::Vec<Cid, N>;

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Kind 1: how a component was made. `[date, batch, [[figure, value] ..]]`.
    Manufacturing {
        /// Day of manufacture, Unix seconds.
        made: u32,
        /// Number of the batch, 1 to 32 characters.
        batch: heapless::String<32>,
        /// Figures of quality: name of 1 to 24 characters, value in the unit that the name ends with.
        quality: heapless::Vec<(heapless::String<24>, i32), FIGURES_MAX>,
    },
    /// Kind 2: where a component or relation serves. `[location, system, environment]`, 64 characters each.
    Deployment {
        /// Where.
        location: heapless::String<64>,
        /// In which system.
        system: heapless::String<64>,
        /// Under which conditions.
        environment: heapless::String<64>,
    },
    /// Kind 4: what an app may do. `[operations, [pack ..], account]`.
    Scope {
        /// Bit 0 read, bit 1 write, bit 2 execute; at least one.
        operations: u8,
        /// On which packs.
        packs: Cids<PACKS_MAX>,
        /// The account that energy is settled with.
        account: PublicKey,
    },
    /// Kind 5: for which modules a pack answers. `[[module ..]]`.
    Witness {
        /// Whose energy events count with its word only.
        modules: Cids<MODULES_MAX>,
    },
    /// Kind 6: what a module is rated for. `[mV, charge mA, discharge mA, micro-ohm, lowest, highest 0.001 degC]`.
    Profile {
        /// Nominal voltage, mV.
        nominal_mv: u32,
        /// Highest charge current, mA.
        charge_ma: u32,
        /// Highest discharge current, mA.
        discharge_ma: u32,
        /// Resistance, micro-ohm.
        resistance_uohm: u32,
        /// Lowest and highest temperature, 0.001 degC.
        temperature_mc: [i32; 2],
    },
}

impl Content {
    /// Its kind; 3 is performance, which nobody states: the ledger computes it.
    pub fn kind(&self) -> u8 {
        match self {
            Content::Manufacturing { .. } => 1,
            Content::Deployment { .. } => 2,
            Content::Scope { .. } => 4,
            Content::Witness { .. } => 5,
            Content::Profile { .. } => 6,
        }
    }

    /// The kind as a word for people and APIs.
    pub fn name(&self) -> &'static str {
        match self {
            Content::Manufacturing { .. } => "manufacturing",
            Content::Deployment { .. } => "deployment",
            Content::Scope { .. } => "scope",
            Content::Witness { .. } => "witness",
            Content::Profile { .. } => "profile",
        }
    }

    /// Whether every part is in its range.
    fn in_range(&self) -> bool {
        let plain = |s: &str| s.bytes().all(|b| (0x20..0x7f).contains(&b));
        match self {
            Content::Manufacturing { batch, quality, .. } => {
                !batch.is_empty() && plain(batch) && quality.iter().all(|(n, _)| !n.is_empty() && plain(n))
            }
            Content::Deployment { .. } => true,
            Content::Scope { operations, packs, .. } => {
                (1..=7).contains(operations) && !packs.is_empty() && ascending(packs)
            }
            Content::Witness { modules } => ascending(modules),
            Content::Profile { temperature_mc: [lowest, highest], .. } => lowest <= highest,
        }
    }
}

fn ascending(list: &[Cid]) -> bool {
    list.windows(2).all(|two| two[0] < two[1])
}

/// A statement about an LCT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The LCT, of an entity or of a relation.
    pub lct: Digest,
    /// Number among the statements of this kind about this LCT, from 1.
    pub number: u32,
    /// What is stated.
    pub content: Content,
    /// When, Unix ms.
    pub time_ms: u64,
}

impl Statement {
    /// Writes the CBOR; returns its length. [`Error::Malformed`] when a part is out of its range.
    pub fn encode(&self, out: &mut [u8; CONTEXT_MAX]) -> Result<usize, Error> {
        if self.number == 0 || !self.content.in_range() {
            return Err(Error::Malformed);
        }
        codec::encode(out, |e| {
            e.map(7)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.lct)?;
            e.u8(3)?.u8(self.content.kind())?.u8(4)?.u32(self.number)?.u8(5)?;
            match &self.content {
                Content::Manufacturing { made, batch, quality } => {
                    e.array(3)?.u32(*made)?.str(batch)?.array(quality.len() as u64)?;
                    for (name, value) in quality {
                        e.array(2)?.str(name)?.i32(*value)?;
                    }
                }
                Content::Deployment { location, system, environment } => {
                    e.array(3)?.str(location)?.str(system)?.str(environment)?;
                }
                Content::Scope { operations, packs, account } => {
                    e.array(3)?.u8(*operations)?.array(packs.len() as u64)?;
                    for pack in packs {
                        e.bytes(&pack.0)?;
                    }
                    e.bytes(&account.0)?;
                }
                Content::Witness { modules } => {
                    e.array(1)?.array(modules.len() as u64)?;
                    for module in modules {
                        e.bytes(&module.0)?;
                    }
                }
                Content::Profile { nominal_mv, charge_ma, discharge_ma, resistance_uohm, temperature_mc } => {
                    e.array(6)?.u32(*nominal_mv)?.u32(*charge_ma)?.u32(*discharge_ma)?;
                    e.u32(*resistance_uohm)?.i32(temperature_mc[0])?.i32(temperature_mc[1])?;
                }
            }
            e.u8(6)?.u64(self.time_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses what is out of its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > CONTEXT_MAX {
            return Err(Error::Malformed);
        }
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 7)?;
        codec::expect_key(d, 1)?;
        let chain_id = codec::bytes(d)?;
        codec::expect_key(d, 2)?;
        let lct = codec::bytes(d)?;
        codec::expect_key(d, 3)?;
        let kind = d.u8()?;
        codec::expect_key(d, 4)?;
        let number = d.u32()?;
        codec::expect_key(d, 5)?;
        let content = match kind {
            1 => {
                codec::expect_array(d, 3)?;
                let (made, batch) = (d.u32()?, codec::text(d)?);
                let mut quality = heapless::Vec::new();
                for _ in 0..d.array()?.ok_or(Error::Malformed)? {
                    codec::expect_array(d, 2)?;
                    let figure = (codec::text(d)?, d.i32()?);
                    quality.push(figure).map_err(|_| Error::Malformed)?;
                }
                Content::Manufacturing { made, batch, quality }
            }
            2 => {
                codec::expect_array(d, 3)?;
                let (location, system) = (codec::text(d)?, codec::text(d)?);
                Content::Deployment { location, system, environment: codec::text(d)? }
            }
            4 => {
                codec::expect_array(d, 3)?;
                let (operations, packs) = (d.u8()?, cids(d)?);
                Content::Scope { operations, packs, account: PublicKey::from_slice(d.bytes()?)? }
            }
            5 => {
                codec::expect_array(d, 1)?;
                Content::Witness { modules: cids(d)? }
            }
            6 => {
                codec::expect_array(d, 6)?;
                Content::Profile {
                    nominal_mv: d.u32()?,
                    charge_ma: d.u32()?,
                    discharge_ma: d.u32()?,
                    resistance_uohm: d.u32()?,
                    temperature_mc: [d.i32()?, d.i32()?],
                }
            }
            _ => return Err(Error::Malformed),
        };
        codec::expect_key(d, 6)?;
        let time_ms = d.u64()?;
        if number == 0 || !content.in_range() {
            return Err(Error::Malformed);
        }
        Ok(Statement { chain_id, lct, number, content, time_ms })
    }

    /// What is signed.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; CONTEXT_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 context", &out[..n]]))
    }
}

/// Identity of the entity LCT of the component `cid` whose device key is `key` (L33).
#[must_use]
pub fn entity_lct(chain_id: &Digest, cid: &Cid, key: &PublicKey) -> Digest {
    sha256(&[b"modbatt1 lct-entity", chain_id, &cid.0, &key.0])
}

/// A statement with who signed it: what the ledger is brought, and what a factory keeps until there is a network (L220).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical bytes.
    pub statement: heapless::Vec<u8, CONTEXT_MAX>,
    /// Whose word it is.
    pub key: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

/// How a file with a signed statement begins; its last byte is the version.
pub const FILE_MAGIC: [u8; 5] = *b"MBCX\x01";
/// Length bound of such a file: magic, `u16` length, statement, key 33, signature 64.
pub const FILE_MAX: usize = 5 + 2 + CONTEXT_MAX + 33 + 64;

impl Signed {
    /// Signs a statement. [`Error::Malformed`] when a part is out of its range.
    pub fn by(statement: &Statement, key: &impl Signer, rng: &mut impl CryptoRng) -> Result<Self, Error> {
        let mut out = [0; CONTEXT_MAX];
        let n = statement.encode(&mut out)?;
        let bytes = heapless::Vec::from_slice(&out[..n]).map_err(|_| Error::BufferTooSmall)?;
        let signature = key.sign(&statement.digest()?, rng);
        Ok(Signed { statement: bytes, key: key.public(), signature })
    }

    /// A statement with a signature that was made elsewhere. [`Error::Malformed`] when it does not read,
    /// [`Error::NotAuthentic`] when the key did not sign it.
    pub fn new(statement: &[u8], key: PublicKey, signature: Signature) -> Result<Self, Error> {
        let statement = heapless::Vec::from_slice(statement).map_err(|_| Error::Malformed)?;
        let signed = Signed { statement, key, signature };
        signed.open().map(|_| signed)
    }

    /// The statement, if it reads and the key signed it.
    pub fn open(&self) -> Result<Statement, Error> {
        let statement = Statement::decode(&self.statement)?;
        self.key.verify(&statement.digest()?, &self.signature)?;
        Ok(statement)
    }

    /// `"MBCX" | 01 | n u16 | statement n | key 33 | signature 64`.
    pub fn to_file(&self) -> heapless::Vec<u8, FILE_MAX> {
        let n = (self.statement.len() as u16).to_be_bytes();
        let parts: [&[u8]; 5] = [&FILE_MAGIC, &n, &self.statement, &self.key.0, &self.signature.0];
        parts.into_iter().flatten().copied().collect()
    }

    /// Reads a file and checks the signature. [`Error::Malformed`] for anything else than one signed statement,
    /// [`Error::NotAuthentic`] when the key did not sign it.
    pub fn from_file(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.array()? != FILE_MAGIC {
            return Err(Error::Malformed);
        }
        let n = usize::from(u16::from_be_bytes(f.array()?));
        let statement = f.slice(n)?;
        let key = PublicKey::from_slice(f.slice(33)?)?;
        let signature = Signature(f.array()?);
        f.end()?;
        Signed::new(statement, key, signature)
    }
}

fn cids<const N: usize>(d: &mut minicbor::Decoder<'_>) -> Result<Cids<N>, Error> {
    let mut list = heapless::Vec::new();
    for _ in 0..d.array()?.ok_or(Error::Malformed)? {
        list.push(Cid(codec::bytes(d)?)).map_err(|_| Error::Malformed)?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn statement(content: Content) -> Statement {
        Statement { chain_id: [1; 32], lct: [2; 32], number: 1, content, time_ms: u64::MAX }
    }

    fn longest() -> [Content; 5] {
        let account = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let figure = |n: u8| {
            let mut name = heapless::String::<24>::try_from("figure with a long nam").unwrap();
            name.push((b'a' + n) as char).unwrap();
            (name, i32::MIN)
        };
        [
            Content::Manufacturing {
                made: u32::MAX,
                batch: "b".repeat(32).as_str().try_into().unwrap(),
                quality: (0..16).map(figure).collect(),
            },
            Content::Deployment {
                location: "l".repeat(64).as_str().try_into().unwrap(),
                system: "s".repeat(64).as_str().try_into().unwrap(),
                environment: "e".repeat(64).as_str().try_into().unwrap(),
            },
            Content::Scope { operations: 7, packs: (0..16).map(|n| Cid([n; 16])).collect(), account },
            Content::Witness { modules: (0..31).map(|n| Cid([n; 16])).collect() },
            Content::Profile {
                nominal_mv: u32::MAX,
                charge_ma: u32::MAX,
                discharge_ma: u32::MAX,
                resistance_uohm: u32::MAX,
                temperature_mc: [i32::MIN, i32::MAX],
            },
        ]
    }

    #[test]
    fn every_kind_reads_as_written_up_to_its_longest() {
        for content in longest() {
            let kind = content.kind();
            let made = statement(content);
            let mut out = [0; CONTEXT_MAX];
            let n = made.encode(&mut out).unwrap();
            assert_eq!(Statement::decode(&out[..n]), Ok(made), "kind {kind}");
            assert!(Statement::decode(&out[..n - 1]).is_err(), "kind {kind}, cut");
            // Behind the map's head, version, chain id and LCT stands the kind.
            let at = 3 + 35 + 35 + 1;
            assert_eq!(out[at], kind);
            for other in [0, 3, 7] {
                out[at] = other;
                assert!(Statement::decode(&out[..n]).is_err(), "kind {kind} as {other}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_neither_written_nor_read() {
        let account = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        let one = |n: u8| [Cid([n; 16])].into_iter().collect();
        let twice: Cids<PACKS_MAX> = [Cid([1; 16]), Cid([1; 16])].into_iter().collect();
        let none =
            Content::Manufacturing { made: 1, batch: heapless::String::new(), quality: heapless::Vec::new() };
        let figure = |name: &str| Content::Manufacturing {
            made: 1,
            batch: "b".try_into().unwrap(),
            quality: [(name.try_into().unwrap(), 1)].into_iter().collect(),
        };
        let mut out = [0; CONTEXT_MAX];
        for content in [
            none,
            figure(""),
            figure("line\nbreak"),
            Content::Scope { operations: 0, packs: one(1), account },
            Content::Scope { operations: 8, packs: one(1), account },
            Content::Scope { operations: 1, packs: heapless::Vec::new(), account },
            Content::Scope { operations: 1, packs: twice, account },
            Content::Witness { modules: [Cid([2; 16]), Cid([1; 16])].into_iter().collect() },
            Content::Profile {
                nominal_mv: 0,
                charge_ma: 0,
                discharge_ma: 0,
                resistance_uohm: 0,
                temperature_mc: [1, 0],
            },
        ] {
            assert_eq!(statement(content.clone()).encode(&mut out), Err(Error::Malformed), "{content:?}");
        }
        let scope = Content::Scope { operations: 1, packs: one(1), account };
        let n = statement(scope).encode(&mut out).unwrap();
        // The operations follow the heads of kind, number and content.
        let at = 3 + 35 + 35 + 2 + 2 + 1 + 1;
        assert_eq!(out[at], 1);
        out[at] = 8;
        assert_eq!(Statement::decode(&out[..n]), Err(Error::Malformed), "operations");
    }

    /// Whoever brings a statement to the ledger can rely on the file: nothing in it can be changed, added or cut.
    #[test]
    fn a_file_holds_one_statement_as_it_was_signed() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        for content in longest() {
            let signed = Signed::by(&statement(content), &key, &mut rng).unwrap();
            let file = signed.to_file();
            assert_eq!(Signed::from_file(&file), Ok(signed));
            for end in 0..file.len() {
                assert!(Signed::from_file(&file[..end]).is_err(), "cut at {end}");
            }
            let mut longer = file.to_vec();
            longer.push(0);
            assert!(Signed::from_file(&longer).is_err());
        }
        let [.., profile] = longest();
        let file = Signed::by(&statement(profile), &key, &mut rng).unwrap().to_file();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(Signed::from_file(&bad).is_err(), "byte {at}");
        }
    }
}
