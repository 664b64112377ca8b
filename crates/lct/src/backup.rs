//! Backups of keys that issue, and the shares of the key that opens them (`spec/api.md`, A213, A214).
//!
//! ```text
//! backup: 'MBBK' | 1 | set 16 | t u8 | n u8 | time u32 | k u8 | k x (kind u8 | l u8 | name l | public 68 or 33)
//!         | check 32 | ciphertext 32 x k | tag 16
//!         'MBBK' | 2 | .. as above, and before check: m u16 | lineage m, of an authority that followed another
//! share:  'MBSH' | 1 | set 16 | t u8 | n u8 | x u8 | SPK_id of its custodian 8 | enc 65 | ciphertext 32 | tag 16
//! ```
//!
//! Kind 1 is the seed of an SPK (public 68), kind 2 a signing scalar (public 33). Any t of the n shares yield the backup key K. AES-256-GCM
//! under `Derive(K, "backup", set, 32)` with a nonce of zeros, for one K seals once; AAD is what stands before the
//! ciphertext. `check = Derive(K, "backup check", set, 32)` tells the right K without trying it. A share is sealed by HPKE; info is
//! `"modbatt1 share" ||` its first 32 bytes.

use crate::{
    Error,
    aead::Aead,
    codec::Fields,
    id::SpkId,
    schedule::derive,
    secret::{Secret, equal},
    sign::SigningKey,
    spk::{HPKE_OVERHEAD, OpeningKey, SPK_LEN, Spk, SpkSecret},
};
use rand_core::CryptoRng;

/// Most keys of one backup.
pub const KEYS_MAX: usize = 16;
/// Longest name of a key, in bytes.
pub const NAME_MAX: usize = 80;
/// Most shares.
pub const SHARES_MAX: u8 = 16;
/// Longest backup.
pub const BACKUP_MAX: usize = HEAD_LEN + KEYS_MAX * (2 + NAME_MAX + SPK_LEN + 32) + 2 + LINEAGE_MAX + 32 + 16;
/// Longest lineage, which says who followed whom (`spec/api.md`, A98).
pub const LINEAGE_MAX: usize = 16_384;
/// Length of a share.
pub const SHARE_LEN: usize = SHARE_HEAD + SEALED_LEN;
const HEAD_LEN: usize = 4 + 1 + 16 + 2 + 4 + 1;
const SHARE_HEAD: usize = 4 + 1 + 16 + 3 + 8;
const SEALED_LEN: usize = 32 + HPKE_OVERHEAD;

/// Which shares belong together, and how many are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Drawn for each backup.
    pub id: [u8; 16],
    /// How many shares are needed, 2 at least.
    pub threshold: u8,
    /// How many there are, at most [`SHARES_MAX`].
    pub shares: u8,
}

impl Set {
    fn read(f: &mut Fields<'_>) -> Result<Self, Error> {
        let set = Set { id: f.array()?, threshold: f.u8()?, shares: f.u8()? };
        if set.is_possible() { Ok(set) } else { Err(Error::Malformed) }
    }

    /// True for numbers that a backup can have.
    pub fn is_possible(&self) -> bool {
        2 <= self.threshold && self.threshold <= self.shares && self.shares <= SHARES_MAX
    }
}

/// A key as a backup names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name, as that of its file.
    pub name: heapless::String<NAME_MAX>,
    /// What it is known as: an SPK, or a signing key.
    pub public: Public,
}

/// What a key is known as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    /// Of a seed.
    Spk(Spk),
    /// Of a signing scalar.
    Signing([u8; 33]),
}

impl Public {
    fn bytes(&self) -> (u8, &[u8]) {
        match self {
            Public::Spk(spk) => (1, &spk.0),
            Public::Signing(key) => (2, key),
        }
    }

    /// Whether it is that of this secret.
    fn is_of(&self, secret: &Secret<32>) -> bool {
        match self {
            Public::Spk(spk) => SpkSecret::from_seed(secret.clone()).is_ok_and(|key| key.public() == *spk),
            Public::Signing(public) => {
                SigningKey::from_bytes(secret.expose()).is_ok_and(|key| key.public().0 == *public)
            }
        }
    }
}

/// What a backup says of itself, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup<'a> {
    /// Its shares.
    pub set: Set,
    /// When it was made, Unix seconds.
    pub time: u32,
    /// What is in it.
    pub keys: heapless::Vec<Named, KEYS_MAX>,
    /// Who followed whom, as the installation has it; empty where nobody followed. It is authentic with the keys, and no secret.
    pub lineage: &'a [u8],
}

/// The bytes of a backup.
pub type BackupBytes = heapless::Vec<u8, BACKUP_MAX>;

impl<'a> Backup<'a> {
    /// Seals one secret for each of [`Backup::keys`] under the backup key, which seals nothing else.
    ///
    /// # Errors
    /// [`Error::Malformed`] for numbers that cannot be, without keys, or for a secret that is not that of its public key.
    pub fn seal(&self, secrets: &[Secret<32>], key: &Secret<32>) -> Result<BackupBytes, Error> {
        let fits = self.keys.iter().zip(secrets).all(|(named, secret)| named.public.is_of(secret));
        let named = self.keys.iter().all(|named| (1..=NAME_MAX).contains(&named.name.len()));
        if !self.set.is_possible()
            || secrets.is_empty()
            || secrets.len() != self.keys.len()
            || !fits
            || !named
            || self.lineage.len() > LINEAGE_MAX
        {
            return Err(Error::Malformed);
        }
        let mut out = BackupBytes::new();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes).map_err(|_| Error::BufferTooSmall);
        put(b"MBBK")?;
        put(&[if self.lineage.is_empty() { 1 } else { 2 }])?;
        put(&self.set.id)?;
        put(&[self.set.threshold, self.set.shares])?;
        put(&self.time.to_be_bytes())?;
        put(&[self.keys.len() as u8])?;
        for named in &self.keys {
            let (kind, public) = named.public.bytes();
            put(&[kind, named.name.len() as u8])?;
            put(named.name.as_bytes())?;
            put(public)?;
        }
        if !self.lineage.is_empty() {
            put(&(self.lineage.len() as u16).to_be_bytes())?;
            put(self.lineage)?;
        }
        put(self.check(key)?.expose())?;
        let head = out.len();
        for secret in secrets {
            out.extend_from_slice(secret.expose()).map_err(|_| Error::BufferTooSmall)?;
        }
        out.extend_from_slice(&[0; 16]).map_err(|_| Error::BufferTooSmall)?;
        let (aad, sealed) = out.split_at_mut(head);
        let (text, tag) = sealed.split_last_chunk_mut().ok_or(Error::BufferTooSmall)?;
        self.cipher(key)?.seal(&[0; 12], aad, text, tag)?;
        Ok(out)
    }

    /// Reads what a backup says of itself. Nothing of it is authentic before [`Backup::open`].
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::InvalidKey`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parts(bytes).map(|(backup, _)| backup)
    }

    /// The backup, and where its ciphertext begins.
    fn parts(bytes: &'a [u8]) -> Result<(Self, usize), Error> {
        let mut f = Fields::new(bytes);
        let followed = match &f.array()? {
            b"MBBK\x01" => false,
            b"MBBK\x02" => true,
            _ => return Err(Error::Malformed),
        };
        let (set, time, count) = (Set::read(&mut f)?, f.u32()?, usize::from(f.u8()?));
        if count == 0 {
            return Err(Error::Malformed);
        }
        let mut keys = heapless::Vec::new();
        let mut head = HEAD_LEN + 32;
        for _ in 0..count {
            let (kind, len) = (f.u8()?, usize::from(f.u8()?));
            let name = core::str::from_utf8(f.slice(len)?).map_err(|_| Error::Malformed)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if len == 0 || name.starts_with('.') || !name.chars().all(plain) {
                return Err(Error::Malformed);
            }
            let name = heapless::String::try_from(name).map_err(|_| Error::Malformed)?;
            let public = match kind {
                1 => Public::Spk(Spk::from_slice(f.slice(SPK_LEN)?)?),
                2 => Public::Signing(crate::sign::PublicKey::from_slice(f.slice(33)?)?.0),
                _ => return Err(Error::Malformed),
            };
            head += 2 + len + public.bytes().1.len();
            keys.push(Named { name, public }).map_err(|_| Error::Malformed)?;
        }
        let mut lineage = &[][..];
        if followed {
            let len = usize::from(f.u16()?);
            if len == 0 || len > LINEAGE_MAX {
                return Err(Error::Malformed);
            }
            (lineage, head) = (f.slice(len)?, head + 2 + len);
        }
        f.slice(32)?;
        f.slice(32 * count + 16)?;
        f.end()?;
        Ok((Backup { set, time, keys, lineage }, head))
    }

    /// Whether `key` is the one of the backup with these bytes.
    ///
    /// # Errors
    /// As [`Backup::read`].
    pub fn is_opened_by(bytes: &[u8], key: &Secret<32>) -> Result<bool, Error> {
        let (backup, head) = Backup::parts(bytes)?;
        Ok(equal(bytes.get(head - 32..head).unwrap_or_default(), backup.check(key)?.expose()))
    }

    /// The secrets, in the order of [`Backup::keys`]; each is that of the public key beside it.
    ///
    /// # Errors
    /// As [`Backup::read`]; [`Error::NotAuthentic`] when the key is another one or anything was changed.
    pub fn open(bytes: &[u8], key: &Secret<32>) -> Result<heapless::Vec<Secret<32>, KEYS_MAX>, Error> {
        let (backup, head) = Backup::parts(bytes)?;
        let (aad, sealed) = bytes.split_at(head);
        let (text, tag) = sealed.split_last_chunk::<16>().ok_or(Error::Malformed)?;
        let mut plain = zeroize::Zeroizing::new([0; 32 * KEYS_MAX]);
        let plain = plain.get_mut(..text.len()).ok_or(Error::Malformed)?;
        plain.copy_from_slice(text);
        backup.cipher(key)?.open(&[0; 12], aad, plain, tag)?;
        let secrets = plain.chunks_exact(32).map(Secret::from_slice);
        let secrets = secrets.collect::<Result<heapless::Vec<_, KEYS_MAX>, _>>()?;
        let fits = backup.keys.iter().zip(&secrets).all(|(named, secret)| named.public.is_of(secret));
        if fits { Ok(secrets) } else { Err(Error::NotAuthentic) }
    }

    fn cipher(&self, key: &Secret<32>) -> Result<Aead, Error> {
        Ok(Aead::new(&derive::<32>(key, "backup", &[&self.set.id])?))
    }

    fn check(&self, key: &Secret<32>) -> Result<Secret<32>, Error> {
        derive::<32>(key, "backup check", &[&self.set.id])
    }
}

/// One share, sealed to its custodian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Of which backup.
    pub set: Set,
    /// Which of its shares, from 1.
    pub number: u8,
    /// Whose key opens it.
    pub custodian: SpkId,
    sealed: [u8; SEALED_LEN],
}

impl Share {
    /// Seals the share `number` to a custodian.
    ///
    /// # Errors
    /// [`Error::Malformed`] for numbers that cannot be; [`Error::InvalidKey`].
    pub fn seal(
        (set, number): (Set, u8),
        part: &Secret<32>,
        to: &Spk,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let mut share = Share { set, number, custodian: to.id(), sealed: [0; SEALED_LEN] };
        if !share.is_possible() {
            return Err(Error::Malformed);
        }
        to.seal(&share.info(), part.expose(), &mut share.sealed, rng)?;
        Ok(share)
    }

    fn is_possible(&self) -> bool {
        self.set.is_possible() && (1..=self.set.shares).contains(&self.number)
    }

    /// The part of the backup key.
    ///
    /// # Errors
    /// [`Error::WrongParty`] when it is sealed to somebody else than `own`; [`Error::NotAuthentic`] when it was changed.
    pub fn open(&self, own: &Spk, key: &OpeningKey) -> Result<Secret<32>, Error> {
        if self.custodian != own.id() {
            return Err(Error::WrongParty);
        }
        let mut part = zeroize::Zeroizing::new([0; 32]);
        key.open(&self.info(), &self.sealed, part.as_mut_slice())?;
        Ok(Secret::new(*part))
    }

    /// The bytes.
    pub fn to_bytes(&self) -> [u8; SHARE_LEN] {
        let mut out = [0; SHARE_LEN];
        out[..SHARE_HEAD].copy_from_slice(&self.head());
        out[SHARE_HEAD..].copy_from_slice(&self.sealed);
        out
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.array::<5>()? != *b"MBSH\x01" {
            return Err(Error::Malformed);
        }
        let (set, number, custodian) = (Set::read(&mut f)?, f.u8()?, SpkId(f.array()?));
        let share = Share { set, number, custodian, sealed: f.array()? };
        f.end()?;
        if share.is_possible() { Ok(share) } else { Err(Error::Malformed) }
    }

    fn head(&self) -> [u8; SHARE_HEAD] {
        let mut head = [0; SHARE_HEAD];
        head[..5].copy_from_slice(b"MBSH\x01");
        head[5..21].copy_from_slice(&self.set.id);
        head[21..24].copy_from_slice(&[self.set.threshold, self.set.shares, self.number]);
        head[24..].copy_from_slice(&self.custodian.0);
        head
    }

    fn info(&self) -> [u8; 14 + SHARE_HEAD] {
        let mut info = [0; 14 + SHARE_HEAD];
        info[..14].copy_from_slice(b"modbatt1 share");
        info[14..].copy_from_slice(&self.head());
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn made(lineage: &[u8]) -> (Backup<'_>, [Secret<32>; 2], Secret<32>, BackupBytes) {
        let secrets = [Secret::new([7; 32]), Secret::new([9; 32])];
        let spk = SpkSecret::from_seed(secrets[0].clone()).unwrap().public();
        let signing = SigningKey::from_bytes(secrets[1].expose()).unwrap().public();
        let named = |name: &str, public| Named { name: name.try_into().unwrap(), public };
        let keys = [named("authority", Public::Spk(spk)), named("batch-1.a", Public::Signing(signing.0))];
        let set = Set { id: [3; 16], threshold: 3, shares: 5 };
        let backup = Backup { set, time: 5, keys: keys.into_iter().collect(), lineage };
        let key = Secret::new([1; 32]);
        let bytes = backup.seal(&secrets, &key).unwrap();
        (backup, secrets, key, bytes)
    }

    #[test]
    fn a_backup_opens_with_its_key_and_unchanged_only() {
        for lineage in [&[][..], b"who followed whom"] {
            opens_unchanged_only(lineage);
        }
    }

    fn opens_unchanged_only(lineage: &[u8]) {
        let (backup, secrets, key, bytes) = made(lineage);
        assert_eq!(Backup::read(&bytes), Ok(backup.clone()));
        assert_eq!(Backup::open(&bytes, &key).unwrap().as_slice(), secrets);
        assert_eq!(Backup::is_opened_by(&bytes, &key), Ok(true));
        let other = Secret::new([2; 32]);
        assert_eq!(Backup::is_opened_by(&bytes, &other), Ok(false));
        assert_eq!(Backup::open(&bytes, &other).err(), Some(Error::NotAuthentic));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Backup::open(&bad, &key).is_err(), "byte {at}");
            assert!(Backup::read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Backup::read(&[&bytes[..], &[0]].concat()).is_err());
        for secret in &secrets {
            assert!(!bytes.windows(8).any(|part| *part == secret.expose()[..8]), "not in clear");
        }
        let swapped = [secrets[1].clone(), secrets[0].clone()];
        assert_eq!(backup.seal(&swapped, &key), Err(Error::Malformed), "each beside its public key");
        let path = heapless::String::try_from("../x").unwrap();
        let mut escaping = backup;
        escaping.keys[0].name = path;
        assert!(Backup::read(&escaping.seal(&secrets, &key).unwrap()).is_err(), "a name is no path");
    }

    /// A backup of before, without a line, is what it was byte for byte; a line says how long it is, and is not empty.
    #[test]
    fn a_line_has_a_version_of_its_own() {
        let (_, _, key, first) = made(b"");
        let (backup, secrets, ..) = made(b"");
        assert_eq!(
            (&first[..5], first.len()),
            (&b"MBBK\x01"[..], HEAD_LEN + 2 * (2 + 9) + 68 + 33 + 32 + 64 + 16)
        );
        let line = [7; LINEAGE_MAX];
        let (followed, _, _, second) = made(&line);
        assert_eq!((&second[..5], second.len()), (&b"MBBK\x02"[..], first.len() + 2 + LINEAGE_MAX));
        assert_eq!(Backup::read(&second).map(|read| read.lineage == followed.lineage), Ok(true));
        let longer = [7; LINEAGE_MAX + 1];
        let longer = Backup { lineage: &longer, ..backup.clone() };
        assert_eq!(longer.seal(&secrets, &key), Err(Error::Malformed));
        let head = first.len() - 32 - 64 - 16;
        let empty = [b"MBBK\x02", &first[5..head], &[0, 0], &first[head..]].concat();
        assert_eq!(Backup::read(&empty), Err(Error::Malformed), "one encoding only");
    }

    /// Each by itself: numbers that cannot be, no key, a secret too few, and a name that is hidden or none.
    #[test]
    fn what_makes_no_backup_is_refused_whatever_else_is_right() {
        let (backup, secrets, key, _) = made(b"");
        let set = Set { threshold: 6, ..backup.set };
        let impossible = Backup { set, ..backup.clone() };
        assert_eq!(impossible.seal(&secrets, &key), Err(Error::Malformed), "more shares than there are");
        let empty = Backup { keys: heapless::Vec::new(), ..backup.clone() };
        assert_eq!(empty.seal(&[], &key), Err(Error::Malformed), "no key");
        assert_eq!(backup.seal(&secrets[..1], &key), Err(Error::Malformed), "a secret too few");
        for name in [".key", "a key"] {
            let mut named = backup.clone();
            named.keys[0].name = name.try_into().unwrap();
            assert!(Backup::read(&named.seal(&secrets, &key).unwrap()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_share_opens_for_its_custodian_and_under_its_number_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let [own, other] = core::array::from_fn(|_| SpkSecret::generate(&mut rng).unwrap());
        let part = Secret::new([8; 32]);
        let set = Set { id: [3; 16], threshold: 3, shares: 5 };
        let share = Share::seal((set, 2), &part, &own.public(), &mut rng).unwrap();
        let bytes = share.to_bytes();
        assert_eq!(Share::read(&bytes), Ok(share.clone()));
        assert_eq!(share.open(&own.public(), own.opening_key()), Ok(part.clone()));
        assert_eq!(share.open(&other.public(), other.opening_key()), Err(Error::WrongParty));
        for at in 0..SHARE_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            let opened = Share::read(&bad).and_then(|share| share.open(&own.public(), own.opening_key()));
            assert!(opened.is_err(), "byte {at}");
            assert!(Share::read(&bytes[..at]).is_err(), "cut at {at}");
        }
        for (threshold, shares, number) in [(1, 5, 1), (3, 2, 1), (3, 17, 1), (3, 5, 0), (3, 5, 6)] {
            let set = Set { id: [3; 16], threshold, shares };
            assert!(Share::seal((set, number), &part, &own.public(), &mut rng).is_err());
        }
    }
}
