//! Sealing of the records that a device keeps in its own flash (`spec/channel.md`, H132).

use crate::{Error, schedule::derive, secret::Secret, sign::SigningKey};
use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use kept::{Defence, kept};
use zeroize::Zeroize;

/// Length of the tag of a sealed record in bytes.
pub const TAG_LEN: usize = 16;
/// Length of the nonce of a sealed record in bytes.
pub const NONCE_LEN: usize = 12;

/// The keys that protect a device's flash.
#[derive(Clone)]
pub struct StorageKeys {
    /// Seals everything that a factory reset erases: `Derive(KEK, "vault", "", 32)`, KEK from the board's key store.
    pub storage: Secret<32>,
    /// Seals the counters that outlive a factory reset: `Derive(identity scalar, "vault lasting", "", 32)`.
    pub lasting: Secret<32>,
    /// Authenticates counter reservations (H40): `Derive(identity scalar, "storage", "", 32)`.
    pub counters: Secret<32>,
}

impl StorageKeys {
    /// The keys of the device with this identity key and this storage key (KEK).
    pub fn new(identity: &SigningKey, storage: &Secret<32>) -> Result<Self, Error> {
        let scalar = identity.to_bytes();
        Ok(StorageKeys {
            storage: derive(storage, "vault", &[])?,
            lasting: derive(&scalar, "vault lasting", &[])?,
            counters: derive(&scalar, "storage", &[])?,
        })
    }

    /// The same with another storage key.
    pub fn renewed(&self, storage: &Secret<32>) -> Result<Self, Error> {
        Ok(StorageKeys { storage: derive(storage, "vault", &[])?, ..self.clone() })
    }
}

/// Seals `record` in place with AES-256-GCM and returns the tag.
pub fn seal_record(
    key: &Secret<32>,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    record: &mut [u8],
) -> Result<[u8; TAG_LEN], Error> {
    if !kept(Defence::SealedStorage) {
        return Ok([0; TAG_LEN]);
    }
    let cipher = Aes256Gcm::new(key.expose().into());
    let tag = cipher
        .encrypt_inout_detached(&(*nonce).into(), aad, record.into())
        .map_err(|_| Error::BufferTooSmall)?;
    Ok(tag.into())
}

/// Opens `record` in place; what does not verify is erased and [`Error::NotAuthentic`].
pub fn open_record(
    key: &Secret<32>,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    record: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Error> {
    if !kept(Defence::SealedStorage) {
        return Ok(());
    }
    let cipher = Aes256Gcm::new(key.expose().into());
    let opened = cipher.decrypt_inout_detached(&(*nonce).into(), aad, (&mut *record).into(), &(*tag).into());
    opened.map_err(|_| {
        record.zeroize();
        Error::NotAuthentic
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_unchanged_under_its_key_nonce_and_context() {
        let key = Secret::new([1; 32]);
        let mut record = *b"master secret";
        let tag = seal_record(&key, &[2; 12], b"aad", &mut record).unwrap();
        assert_ne!(&record, b"master secret");
        let mut opened = record;
        open_record(&key, &[2; 12], b"aad", &mut opened, &tag).unwrap();
        assert_eq!(&opened, b"master secret");
        let (other, mut bad_tag) = (Secret::new([3; 32]), tag);
        bad_tag[15] ^= 1;
        let mut changed = record;
        changed[0] ^= 1;
        for (key, nonce, aad, text, tag) in [
            (&other, 2, &b"aad"[..], record, tag),
            (&key, 3, b"aad", record, tag),
            (&key, 2, b"aae", record, tag),
            (&key, 2, b"aad", changed, tag),
            (&key, 2, b"aad", record, bad_tag),
        ] {
            let mut text = text;
            assert_eq!(open_record(key, &[nonce; 12], aad, &mut text, &tag), Err(Error::NotAuthentic));
            assert_eq!(text, [0; 13], "nothing is left of what did not verify");
        }
    }

    #[test]
    fn the_three_keys_differ_and_only_one_follows_the_storage_key() {
        let identity = SigningKey::from_bytes(&[7; 32]).unwrap();
        let a = StorageKeys::new(&identity, &Secret::new([1; 32])).unwrap();
        let b = a.renewed(&Secret::new([2; 32])).unwrap();
        assert!(a.storage != a.lasting && a.lasting != a.counters && a.storage != a.counters);
        assert!(a.storage != b.storage && a.lasting == b.lasting && a.counters == b.counters);
    }
}
