//! The key package: device key halves, salt and parameters of a device channel (`spec/channel.md`, H84 and H85).
//!
//! ```text
//! 0 'MBKP' | 4 version = 1 | 5 flags (bit 0 sealed) | 6 role of self | 7 kind | 8 cid_self 16 | 24 cid_peer 16 |
//! 40 rel_id 16 | 56 device half of self 64 | 120 device half of the peer 64 | 184 LCT half of self 64 |
//! 248 salt 32 | 280 iv_seed 16 | 296 kdf | 297 aead | 298 rotation_days u16 | 300 epoch u32 | 304 tag 32
//! ```
//! Self is who the package is for. `tag = HMAC(Derive(Extract(salt, half_A || half_B || salt), "kpkg",
//! H(preceding), 32), preceding)`: in a clear package everybody can compute it, it finds corruption only.
//!
//! Sealed: `enc 65 | ciphertext 336 | tag 16 | signature 64`, HPKE to the key-agreement half of the own relationship
//! key with info `"modbatt1 kpkg" || cid_self || cid_peer || nonce 16`, the authority's signature over
//! `H("modbatt1 kpkg sig" || preceding)`.

use crate::{
    Digest, Error, SUITE,
    codec::{Fields, Layout},
    handshake::Kind,
    hash::sha256,
    id::{Cid, Role, is_side_a},
    metadata::LinkParameters,
    schedule::{derive, extract, mac},
    secret::{Secret, equal},
    sign::{PublicKey, Signature, Signer},
    spk::{HPKE_OVERHEAD, Spk, SpkSecret},
};
use kept::{Defence, kept};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Length of a package.
pub const PACKAGE_LEN: usize = 336;
/// Length of a sealed package with the authority's signature.
pub const SEALED_LEN: usize = PACKAGE_LEN + HPKE_OVERHEAD + 64;

const MAGIC: &[u8; 4] = b"MBKP";
const VERSION: u8 = 1;
const FLAG_SEALED: u8 = 1;
const TAG_AT: usize = PACKAGE_LEN - 32;

/// Two parties in the order self, peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// Who the package is for.
    pub own: (Cid, Role),
    /// Its partner.
    pub peer: (Cid, Role),
}

impl Parties {
    /// True when self is side A of the channel.
    pub fn own_is_a(&self) -> bool {
        is_side_a(self.own.1, self.own.0, self.peer.1, self.peer.0)
    }
    /// As the peer sees it.
    pub fn swapped(&self) -> Self {
        Parties { own: self.peer, peer: self.own }
    }
}

/// What a package carries.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPackage {
    /// Handshake that it is for: DEV, BIND or PAKE.
    pub kind: Kind,
    /// Names the relationship; the same for both parties.
    pub relation: [u8; 16],
    /// Device key half of self.
    pub half_own: Secret<64>,
    /// Device key half of the peer.
    pub half_peer: Secret<64>,
    /// LCT key half of self; never used on CAN. All zero when there is none.
    pub lct_half: Secret<64>,
    /// App-generated.
    pub salt: [u8; 32],
    /// IV seed, suite and rotation period.
    pub parameters: LinkParameters,
    /// First epoch, 0.
    pub epoch: u32,
}

impl core::fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyPackage([redacted])")
    }
}

impl KeyPackage {
    /// The same package as the peer gets it: halves swapped, `lct_half` its own.
    pub fn for_peer(&self, lct_half: Secret<64>) -> KeyPackage {
        KeyPackage {
            half_own: self.half_peer.clone(),
            half_peer: self.half_own.clone(),
            lct_half,
            ..self.clone()
        }
    }

    /// Device key halves in the order A, B.
    ///
    /// [`Error::DegenerateKey`] for halves that are all 00, all FF or equal.
    pub fn halves(&self, parties: &Parties) -> Result<[&Secret<64>; 2], Error> {
        let halves = [&self.half_own, &self.half_peer];
        if halves[0] == halves[1] || halves.iter().any(|h| h.is_degenerate()) {
            return Err(Error::DegenerateKey);
        }
        let [own, peer] = halves;
        Ok(if parties.own_is_a() { [own, peer] } else { [peer, own] })
    }

    /// The bytes of a clear package.
    pub fn encode(&self, parties: &Parties) -> Result<Zeroizing<[u8; PACKAGE_LEN]>, Error> {
        self.encode_flagged(parties, 0)
    }

    fn encode_flagged(&self, parties: &Parties, flags: u8) -> Result<Zeroizing<[u8; PACKAGE_LEN]>, Error> {
        let mut out = Zeroizing::new([0; PACKAGE_LEN]);
        let mut at = 0;
        for part in [
            MAGIC.as_slice(),
            &[VERSION, flags, parties.own.1 as u8, self.kind as u8],
            &parties.own.0.0,
            &parties.peer.0.0,
            &self.relation,
            self.half_own.expose(),
            self.half_peer.expose(),
            self.lct_half.expose(),
            &self.salt,
            &self.parameters.iv_seed,
            &[self.parameters.kdf, self.parameters.aead],
            &self.parameters.rotation_days.to_be_bytes(),
            &self.epoch.to_be_bytes(),
        ] {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let tag = self.tag(parties, &out[..TAG_AT])?;
        out[TAG_AT..].copy_from_slice(&tag);
        Ok(out)
    }

    fn tag(&self, parties: &Parties, preceding: &[u8]) -> Result<Digest, Error> {
        let [a, b] = self.halves(parties)?;
        let prk = extract(&self.salt, &[a.expose(), b.expose(), &self.salt]);
        let key = derive::<32>(&prk, "kpkg", &[&sha256(&[preceding])])?;
        Ok(mac(key.expose(), &[preceding]))
    }

    /// Reads a clear package for `parties`.
    ///
    /// [`Error::Malformed`] for length, magic, version, flags, kind, suite or epoch; [`Error::WrongParty`] for other
    /// names; [`Error::DegenerateKey`] for its halves; [`Error::NotAuthentic`] for its tag.
    pub fn decode(bytes: &[u8], parties: &Parties) -> Result<Self, Error> {
        Self::decode_flagged(bytes, parties, 0)
    }

    fn decode_flagged(bytes: &[u8], parties: &Parties, flags: u8) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.array::<4>()? != *MAGIC || f.u8()? != VERSION || f.u8()? != flags {
            return Err(Error::Malformed);
        }
        let role = f.u8()?;
        let kind = match f.u8()? {
            1 => Kind::Dev,
            2 => Kind::Bind,
            5 => Kind::Pake,
            _ => return Err(Error::Malformed),
        };
        let (own, peer) = (Cid(f.array()?), Cid(f.array()?));
        let package = KeyPackage {
            kind,
            relation: f.array()?,
            half_own: Secret::from_slice(f.slice(64)?)?,
            half_peer: Secret::from_slice(f.slice(64)?)?,
            lct_half: Secret::from_slice(f.slice(64)?)?,
            salt: f.array()?,
            parameters: LinkParameters {
                iv_seed: f.array()?,
                kdf: f.u8()?,
                aead: f.u8()?,
                rotation_days: f.u16()?,
            },
            epoch: f.u32()?,
        };
        let tag: Digest = f.array()?;
        f.end()?;
        if (package.parameters.kdf, package.parameters.aead) != (SUITE, SUITE) || package.epoch != 0 {
            return Err(Error::Malformed);
        }
        if (role, own, peer) != (parties.own.1 as u8, parties.own.0, parties.peer.0) {
            return Err(Error::WrongParty);
        }
        let preceding = bytes.get(..TAG_AT).ok_or(Error::Malformed)?;
        if equal(&package.tag(parties, preceding)?, &tag) { Ok(package) } else { Err(Error::NotAuthentic) }
    }

    /// Seals the package to the key of `parties.own`. `nonce` is the one that the authority gave that entity with
    /// its bind request.
    pub fn seal(
        &self,
        parties: &Parties,
        to: &Spk,
        nonce: &[u8; 16],
        authority: &impl Signer,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, SEALED_LEN>, Error> {
        let plain = self.encode_flagged(parties, FLAG_SEALED)?;
        let mut sealed = [0; PACKAGE_LEN + HPKE_OVERHEAD];
        to.seal(&info(parties, nonce)?, plain.as_slice(), &mut sealed, rng)?;
        let signature = authority.sign(&signed(&sealed), rng);
        Ok(Layout::default().put(&[&sealed, &signature.0])?.done())
    }

    /// Verifies the authority's signature and opens a sealed package.
    pub fn open(
        bytes: &[u8],
        parties: &Parties,
        own: &SpkSecret,
        nonce: &[u8; 16],
        authority: &PublicKey,
    ) -> Result<Self, Error> {
        let (sealed, signature) = bytes.split_last_chunk::<64>().ok_or(Error::Malformed)?;
        if bytes.len() != SEALED_LEN {
            return Err(Error::Malformed);
        }
        if kept(Defence::PackageSignature) {
            authority.verify(&signed(sealed), &Signature(*signature))?;
        }
        let mut plain = Zeroizing::new([0; PACKAGE_LEN]);
        own.open(&info(parties, nonce)?, sealed, plain.as_mut_slice())?;
        Self::decode_flagged(plain.as_slice(), parties, FLAG_SEALED)
    }
}

fn info(parties: &Parties, nonce: &[u8; 16]) -> Result<heapless::Vec<u8, 61>, Error> {
    Ok(Layout::default().put(&[b"modbatt1 kpkg", &parties.own.0.0, &parties.peer.0.0, nonce])?.done())
}

fn signed(sealed: &[u8]) -> Digest {
    sha256(&[b"modbatt1 kpkg sig", sealed])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn parties() -> Parties {
        Parties { own: (Cid::of("pack-0001"), Role::Pack), peer: (Cid::of("app-0001"), Role::App) }
    }
    fn example() -> KeyPackage {
        KeyPackage {
            kind: Kind::Dev,
            relation: [9; 16],
            half_own: Secret::new([2; 64]),
            half_peer: Secret::new([1; 64]),
            lct_half: Secret::new([3; 64]),
            salt: [4; 32],
            parameters: LinkParameters { iv_seed: [5; 16], kdf: 1, aead: 1, rotation_days: 30 },
            epoch: 0,
        }
    }

    #[test]
    fn both_sides_read_the_same_halves_in_the_same_order() {
        let (package, parties) = (example(), parties());
        let bytes = package.encode(&parties).unwrap();
        assert_eq!(bytes[..8], *b"MBKP\x01\x00\x02\x01");
        assert_eq!((bytes[56], bytes[120], bytes[184], bytes[248], bytes[280]), (2, 1, 3, 4, 5));
        assert_eq!(bytes[296..304], [1, 1, 0, 30, 0, 0, 0, 0]);
        let of_pack = KeyPackage::decode(bytes.as_slice(), &parties).unwrap();
        assert_eq!(of_pack, package);
        let of_app = package.for_peer(Secret::new([6; 64]));
        let theirs = of_app.encode(&parties.swapped()).unwrap();
        let of_app = KeyPackage::decode(theirs.as_slice(), &parties.swapped()).unwrap();
        assert_eq!(of_app.halves(&parties.swapped()).unwrap(), of_pack.halves(&parties).unwrap());
        assert_eq!(of_pack.halves(&parties).unwrap()[0].expose(), &[1; 64], "A is the app");
    }

    /// Tag of the example, computed with Python's hmac from H84.
    #[test]
    fn the_tag_is_as_published() {
        let bytes = example().encode(&parties()).unwrap();
        assert_eq!(hex::encode(&bytes[TAG_AT..]), TAG);
    }
    const TAG: &str = "e6a5c2d8f18f7786dd5806c9c081c4881323236910db2d01c8a4ec9794a06286";

    #[test]
    fn every_flipped_bit_and_length_is_refused() {
        let (package, parties) = (example(), parties());
        let bytes = package.encode(&parties).unwrap();
        for i in 0..PACKAGE_LEN {
            let mut bad = *bytes;
            bad[i] ^= 1;
            assert!(KeyPackage::decode(&bad, &parties).is_err(), "byte {i}");
            assert!(KeyPackage::decode(&bytes[..i], &parties).is_err(), "cut at {i}");
        }
        let other = Parties { own: (Cid::of("pack-0002"), Role::Pack), ..parties };
        assert_eq!(KeyPackage::decode(bytes.as_slice(), &other), Err(Error::WrongParty));
        assert_eq!(KeyPackage::decode(bytes.as_slice(), &parties.swapped()), Err(Error::WrongParty));
    }

    #[test]
    fn degenerate_halves_are_neither_made_nor_read() {
        for (own, peer) in [(0, 1), (1, 0), (0xFF, 1), (1, 0xFF), (7, 7)] {
            let bad = KeyPackage {
                half_own: Secret::new([own; 64]),
                half_peer: Secret::new([peer; 64]),
                ..example()
            };
            assert_eq!(bad.encode(&parties()).err(), Some(Error::DegenerateKey), "{own:x} {peer:x}");
            let mut bytes = *example().encode(&parties()).unwrap();
            bytes[56..120].fill(own);
            bytes[120..184].fill(peer);
            assert_eq!(KeyPackage::decode(&bytes, &parties()), Err(Error::DegenerateKey), "{own:x} {peer:x}");
        }
    }

    #[test]
    fn sealed_packages_open_for_one_device_one_nonce_and_one_authority() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (package, parties) = (example(), parties());
        let (pack, thief) = (SpkSecret::generate(&mut rng).unwrap(), SpkSecret::generate(&mut rng).unwrap());
        let (authority, liar) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
        let nonce = [8; 16];
        let sealed = package.seal(&parties, &pack.public(), &nonce, &authority, &mut rng).unwrap();
        assert_eq!(sealed.len(), 481);
        let key = authority.public();
        assert_eq!(KeyPackage::open(&sealed, &parties, &pack, &nonce, &key).unwrap(), package);
        let by_liar = package.seal(&parties, &pack.public(), &nonce, &liar, &mut rng).unwrap();
        let clear = package.encode(&parties).unwrap();
        let other = Parties { peer: (Cid::of("app-0002"), Role::App), ..parties };
        for (case, opened) in [
            ("another device", KeyPackage::open(&sealed, &parties, &thief, &nonce, &key)),
            ("another nonce", KeyPackage::open(&sealed, &parties, &pack, &[9; 16], &key)),
            ("another peer", KeyPackage::open(&sealed, &other, &pack, &nonce, &key)),
            ("another authority", KeyPackage::open(&by_liar, &parties, &pack, &nonce, &key)),
            ("not sealed", KeyPackage::open(clear.as_slice(), &parties, &pack, &nonce, &key)),
            ("cut", KeyPackage::open(&sealed[..480], &parties, &pack, &nonce, &key)),
        ] {
            assert!(opened.is_err(), "{case}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..500)) {
            assert!(KeyPackage::decode(&bytes, &parties()).is_err());
            bytes.splice(..bytes.len().min(8), *b"MBKP\x01\x00\x02\x01");
            assert!(KeyPackage::decode(&bytes, &parties()).is_err());
        }
    }
}
