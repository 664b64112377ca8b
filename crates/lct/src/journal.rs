//! What a device writes into its audit chain, and the statements that vouch for the chain (`spec/channel.md`, H120 to
//! H123). Nothing here may hold a key or a plaintext.

use crate::{
    Digest, Error,
    binding::verify_tail,
    codec::Fields,
    hash::sha256,
    id::Cid,
    secret::Secret,
    sign::{PublicKey, Signature, SigningKey},
    spk::{HPKE_OVERHEAD, OpeningKey, Spk},
};
use rand_core::CryptoRng;

/// Most bytes of detail in an entry.
pub const DETAIL_MAX: usize = 40;
/// Longest entry in bytes.
pub const ENTRY_MAX: usize = 16 + DETAIL_MAX;
/// Node of an entry that is about the device itself.
pub const SELF: u8 = 0xFF;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Code {
            $($(#[$doc])* $name = $code,)*
        }

        impl Code {
            /// The code with number `code`.
            pub fn from_number(code: u8) -> Option<Code> {
                match code {
                    $($code => Some(Code::$name),)*
                    _ => None,
                }
            }

            /// Short English text.
            pub fn text(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The device started; detail: firmware u32.
    Started = 1, "started";
    /// A binding stands; detail: binding_id 16, assurance u8.
    Bound = 2, "bound";
    /// A pairing stands; detail: pairing_id 16, policy version u32.
    Paired = 3, "paired";
    /// A fresh epoch stands; detail: epoch u32.
    ChannelUp = 4, "channel up";
    /// A handshake was given up; detail: kind u8.
    HandshakeFailed = 5, "handshake failed";
    /// Messages were refused since the last entry of this code; detail: sealed u32, policy u32, security u32.
    Refused = 6, "messages refused";
    /// Work of an epoch that ended; detail: epoch u32, sealed u32, opened u32, then u32 each of malformed, unknown
    /// key, replayed, not authentic.
    EpochCounts = 7, "counts of an epoch";
    /// Events found no room in the log; detail: how many u32.
    Suppressed = 8, "events suppressed";
    /// A peer told a time too far ahead; detail: told u32, own u32.
    TimeJump = 9, "time jump not believed";
    /// A time token moved the clock; detail: time u32, own u32.
    TimeToken = 10, "time from the authority";
    /// A peer was revoked and its keys were erased; detail: cid 16, reason u8.
    PeerRevoked = 11, "peer revoked";
    /// A revocation list was taken; detail: number u32, entries u16.
    RevocationList = 12, "revocation list";
    /// A revocation list was refused; detail: number u32.
    RevocationRefused = 13, "revocation list refused";
    /// The revocation list held is too old; detail: next_update u32.
    RevocationStale = 14, "revocation list stale";
    /// A policy was taken and waits for pairings; detail: version u32.
    PolicyPending = 15, "policy pending";
    /// A policy was refused; detail: version u32.
    PolicyRefused = 16, "policy refused";
    /// A lease ended; detail: pairing_id 16, how u8 (1 time, 2 powered time, 3 uses).
    LeaseEnded = 17, "lease ended";
    /// A message was refused by the lease, by what its certificate grants or by the assurance of the binding; detail:
    /// base u16, why u8 (H104).
    RaiseRefused = 18, "refused by lease, certificate or assurance";
    /// The commissioning window opened; detail: seconds u16.
    WindowOpened = 19, "commissioning window opened";
    /// The commissioning window closed.
    WindowClosed = 20, "commissioning window closed";
    /// A code was tried too often; detail: tries u8.
    LockedOut = 21, "locked out";
    /// The enclosure was opened; keys were erased. Also at each start in that condition.
    Tampered = 22, "tampered";
    /// Keys could not be read; at each start that finds it so.
    KeyLost = 23, "keys lost";
    /// Everything but identity and counters was erased.
    FactoryReset = 24, "factory reset";
    /// Too many messages failed to open; detail: epoch u32.
    FailureAlarm = 25, "failure alarm";
    /// A fresh group key; detail: generation u32.
    GroupKey = 26, "group key renewed";
    /// A message of a protected class arrived in clear; detail: base u16.
    ClearRefused = 27, "protected message in clear";
    /// A security PDU was refused; detail: type u8, status u8.
    PduRefused = 28, "security PDU refused";
    /// Entries before this one will never come; detail: number u64 of the first of them, and the hash 32 of the last.
    /// Number 0: the whole log before this one.
    EntriesLost = 29, "entries lost";
    /// More is required of a relationship from now on; detail: level u8, reason u8, urgency u8, 1 when this device
    /// asked for it.
    Escalated = 32, "validation level raised";
    /// What was raised is over; detail: level u8, by what u8 (0 time, else the level of the validation).
    EscalationEnded = 33, "raised validation level ended";
    /// Requests for a higher level beyond the rate; detail: how many since the last entry of this code u32.
    EscalationOverflow = 34, "requests for a higher level refused";
    /// An operation below the level raised was refused; detail: operation u8, level required u8.
    BelowLevel = 35, "refused, a higher validation level is required";
    /// One of its entities ended a pairing; detail: pairing_id 16, 1 when it was this device.
    PairingEnded = 36, "pairing ended";
    /// A delegation was shown and stands; detail: number u32, its id 16, its end u32.
    DelegationShown = 37, "delegation shown";
    /// A delegate did something; detail: number of its delegation u32, PDU type u8, id 16 of binding or pairing.
    DelegateActed = 38, "act of a delegate";
    /// A delegation, or what its holder wanted, was refused; detail: number u32, PDU type u8, status u8.
    DelegateRefused = 39, "delegate refused";
    /// Another authority is obeyed from now on; detail: its SPK_id 8.
    Succession = 40, "another authority";
}

/// One entry.
///
/// `1 | code u8 | boot u32 | uptime s u32 | Unix time u32, 0 when unknown | node u8 | n u8 | detail n`. node: 0 the app
/// or the pack above, 1 to 31 a module below, 0xFF the device itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened; codes that this version does not know are kept as they are.
    pub code: u8,
    /// Boot counter of the device.
    pub boot: u32,
    /// Seconds since that start.
    pub uptime_s: u32,
    /// Unix seconds, 0 when the device did not know.
    pub time: u32,
    /// Whom it is about.
    pub node: u8,
    /// By code.
    pub detail: heapless::Vec<u8, DETAIL_MAX>,
}

impl Entry {
    /// The bytes.
    pub fn encode(&self) -> Result<heapless::Vec<u8, ENTRY_MAX>, Error> {
        let layout = crate::codec::Layout::default().put(&[
            &[1, self.code],
            &self.boot.to_be_bytes(),
            &self.uptime_s.to_be_bytes(),
            &self.time.to_be_bytes(),
            &[self.node, self.detail.len() as u8],
            &self.detail,
        ])?;
        Ok(layout.done())
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let (code, boot, uptime_s, time, node) = (f.u8()?, f.u32()?, f.u32()?, f.u32()?, f.u8()?);
        let n = usize::from(f.u8()?);
        let detail = heapless::Vec::from_slice(f.slice(n)?).map_err(|_| Error::Malformed)?;
        f.end()?;
        Ok(Entry { code, boot, uptime_s, time, node, detail })
    }
}

/// The detail of [`Code::EntriesLost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Number of the first entry that will never come; 0 when the head of the log was lost with them. Where none is
    /// missing it is the number of the entry that tells.
    pub first: u64,
    /// Hash of the last of them: the entry that tells stands behind it.
    pub hash: Digest,
}

impl Gap {
    /// The detail.
    pub fn encode(&self) -> [u8; DETAIL_MAX] {
        let mut out = [0; DETAIL_MAX];
        out[..8].copy_from_slice(&self.first.to_be_bytes());
        out[8..].copy_from_slice(&self.hash);
        out
    }

    /// What the entry with these bytes tells to be missing, if that is what it is about.
    pub fn told_by(entry: &[u8]) -> Option<Self> {
        let entry = Entry::decode(entry).ok().filter(|entry| entry.code == Code::EntriesLost as u8)?;
        let mut f = Fields::new(&entry.detail);
        let gap = Gap { first: f.u64().ok()?, hash: f.array().ok()? };
        f.end().ok().map(|()| gap)
    }

    /// Whether a log that ends with entry `count` can go on with entry `number`, which tells this. An empty one can:
    /// what came before lies elsewhere.
    pub fn joins(&self, count: u64, number: u64) -> bool {
        number > count && self.first <= number && (count == 0 || self.first == count + 1)
    }
}

/// Length of what a checkpoint states.
pub const CHECKPOINT_BODY: usize = 1 + 16 + 8 + 32 + 4;
/// Length of a checkpoint.
pub const CHECKPOINT_LEN: usize = CHECKPOINT_BODY + 64;

/// `1 | cid 16 | n u64, from 1 | h_n 32 | time u32 | signature 64`: the relationship key's signature over
/// `H("modbatt1 logcheck" || preceding)`. Whoever has it notices that a log was cut before entry n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log.
    pub cid: Cid,
    /// Number of the entry.
    pub number: u64,
    /// Its hash.
    pub hash: Digest,
    /// Unix seconds, 0 when unknown.
    pub time: u32,
}

impl Checkpoint {
    /// What is signed: all but the signature.
    pub fn body(&self) -> [u8; CHECKPOINT_BODY] {
        let mut out = [0; CHECKPOINT_BODY];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.cid.0);
        out[17..25].copy_from_slice(&self.number.to_be_bytes());
        out[25..57].copy_from_slice(&self.hash);
        out[57..].copy_from_slice(&self.time.to_be_bytes());
        out
    }

    /// The digest that the device signs.
    pub fn digest(&self) -> Digest {
        sha256(&[b"modbatt1 logcheck", &self.body()])
    }

    /// The signed bytes.
    pub fn issue(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> [u8; CHECKPOINT_LEN] {
        let mut out = [0; CHECKPOINT_LEN];
        out[..CHECKPOINT_BODY].copy_from_slice(&self.body());
        out[CHECKPOINT_BODY..].copy_from_slice(&key.sign(&self.digest(), rng).0);
        out
    }

    /// Reads what is signed, which the ledger carries beside its signature.
    pub fn read_body(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let point = Checkpoint { cid: Cid(f.array()?), number: f.u64()?, hash: f.array()?, time: f.u32()? };
        f.end()?;
        if point.number == 0 { Err(Error::Malformed) } else { Ok(point) }
    }

    /// Reads without verifying: the checkpoint and its signature.
    pub fn read(bytes: &[u8]) -> Result<(Self, Signature), Error> {
        let (body, signature) = bytes.split_at_checked(CHECKPOINT_BODY).ok_or(Error::Malformed)?;
        Ok((Self::read_body(body)?, Signature::from_slice(signature)?))
    }

    /// Reads and verifies under a relationship key of the device.
    pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Self, Error> {
        let (point, signature) = Self::read(bytes)?;
        key.verify(&point.digest(), &signature)?;
        Ok(point)
    }
}

/// Length of the first key, sealed to the authority.
pub const SEALED_KEY_LEN: usize = 32 + HPKE_OVERHEAD;
/// Length of the statement of the first key.
pub const KEY_STATEMENT_LEN: usize = 1 + 16 + SEALED_KEY_LEN + 64;

/// Seals the first key of the chain to the authority, `info = "modbatt1 log key" || cid`.
pub fn seal_first_key(
    key: &Secret<32>,
    cid: &Cid,
    authority: &Spk,
    rng: &mut impl CryptoRng,
) -> Result<[u8; SEALED_KEY_LEN], Error> {
    let mut out = [0; SEALED_KEY_LEN];
    authority.seal(&key_info(cid), key.expose(), &mut out, rng)?;
    Ok(out)
}

fn key_info(cid: &Cid) -> [u8; 32] {
    let mut info = [0; 32];
    info[..16].copy_from_slice(b"modbatt1 log key");
    info[16..].copy_from_slice(&cid.0);
    info
}

/// `1 | cid 16 | sealed first key 113 | signature 64`: the relationship key's signature over
/// `H("modbatt1 logkey" || preceding)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatement {
    /// Whose log.
    pub cid: Cid,
    /// The key, for the authority.
    pub sealed: [u8; SEALED_KEY_LEN],
}

impl KeyStatement {
    /// The signed bytes.
    pub fn issue(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> [u8; KEY_STATEMENT_LEN] {
        let mut out = [0; KEY_STATEMENT_LEN];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.cid.0);
        out[17..17 + SEALED_KEY_LEN].copy_from_slice(&self.sealed);
        let sig = key.sign(&sha256(&[b"modbatt1 logkey", &out[..17 + SEALED_KEY_LEN]]), rng);
        out[17 + SEALED_KEY_LEN..].copy_from_slice(&sig.0);
        out
    }

    /// Reads without verifying.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let statement = KeyStatement { cid: Cid(f.array()?), sealed: f.array()? };
        let _sig: [u8; 64] = f.array()?;
        f.end()?;
        Ok(statement)
    }

    /// Reads and verifies under a relationship key of the device.
    pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Self, Error> {
        let statement = Self::read(bytes)?;
        verify_tail(b"modbatt1 logkey", bytes, key)?;
        Ok(statement)
    }

    /// The first key; only the authority can open it.
    pub fn first_key(&self, authority: &OpeningKey) -> Result<Secret<32>, Error> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let n = authority.open(&key_info(&self.cid), &self.sealed, key.as_mut())?;
        if n == 32 { Ok(Secret::new(*key)) } else { Err(Error::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spk::SpkSecret;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn entries_read_as_written() {
        for n in [0, 1, DETAIL_MAX] {
            let entry = Entry {
                code: Code::Bound as u8,
                boot: 3,
                uptime_s: 9,
                time: 1_800_000_000,
                node: SELF,
                detail: core::iter::repeat_n(7, n).collect(),
            };
            let bytes = entry.encode().unwrap();
            assert_eq!(bytes.len(), 16 + n);
            assert_eq!(Entry::decode(&bytes), Ok(entry));
            for cut in 0..bytes.len() {
                assert!(Entry::decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn statements_hold_for_one_key_and_one_log() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let [key, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let [authority, stranger] = core::array::from_fn(|_| SpkSecret::generate(&mut rng).unwrap());
        let cid = Cid::of("module-0001");
        let point = Checkpoint { cid, number: 256, hash: [5; 32], time: 9 };
        let bytes = point.issue(&key, &mut rng);
        assert_eq!(Checkpoint::open(&bytes, &key.public()), Ok(point));
        assert_eq!(Checkpoint::open(&bytes, &other.public()), Err(Error::NotAuthentic));
        let first = Secret::random(&mut rng);
        let sealed = seal_first_key(&first, &cid, &authority.public(), &mut rng).unwrap();
        let statement = KeyStatement { cid, sealed };
        let bytes = statement.issue(&key, &mut rng);
        let read = KeyStatement::open(&bytes, &key.public()).unwrap();
        assert_eq!(read.first_key(authority.opening_key()), Ok(first));
        assert_eq!(read.first_key(stranger.opening_key()), Err(Error::NotAuthentic));
        let moved = KeyStatement { cid: Cid::of("module-0002"), sealed };
        assert_eq!(
            moved.first_key(authority.opening_key()),
            Err(Error::NotAuthentic),
            "sealed for another log"
        );
        for at in 0..CHECKPOINT_LEN {
            let mut bad = point.issue(&key, &mut rng);
            bad[at] ^= 1;
            assert!(Checkpoint::open(&bad, &key.public()).is_err(), "byte {at}");
        }
    }
}
