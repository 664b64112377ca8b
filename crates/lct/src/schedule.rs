//! The key schedule: labels, extraction, master secret, traffic secrets (`spec/channel.md`, H20 to H29).

use crate::{Digest, Error, id::Cid, secret::Secret};
use hkdf::Hkdf;
use hmac::{KeyInit, Mac};
use kept::{Defence, kept};
use sha2::Sha256;

type Hmac = hmac::Hmac<Sha256>;

/// Longest label, without the prefix `"modbatt1 "`.
const LABEL_MAX: usize = 32;
/// Longest context of a label.
const CONTEXT_MAX: usize = 96;

/// HKDF-Extract (RFC 5869).
pub fn extract(salt: &[u8], ikm: &[&[u8]]) -> Secret<32> {
    let mut h = hmac(salt);
    for part in ikm {
        h.update(part);
    }
    Secret::new(h.finalize().into_bytes().into())
}

/// `Derive(secret, label, ctx, N)` = HKDF-Expand with
/// `info = u16(N) || u8(len(l)) || l || u8(len(ctx)) || ctx`, `l = "modbatt1 " + label`.
///
/// `label` and `ctx` are constants of the protocol; what does not fit 32 and 96 bytes is a defect of the
/// caller and yields [`Error::BufferTooSmall`].
pub fn derive<const N: usize>(secret: &Secret<32>, label: &str, ctx: &[&[u8]]) -> Result<Secret<N>, Error> {
    const PREFIX: &[u8] = b"modbatt1 ";
    let ctx_len: usize = ctx.iter().map(|c| c.len()).sum();
    if label.len() > LABEL_MAX || ctx_len > CONTEXT_MAX {
        return Err(Error::BufferTooSmall);
    }
    let mut info = heapless::Vec::<u8, { 4 + 9 + LABEL_MAX + CONTEXT_MAX }>::new();
    let put = |info: &mut heapless::Vec<u8, _>, bytes: &[u8]| {
        info.extend_from_slice(bytes).map_err(|_| Error::BufferTooSmall)
    };
    put(&mut info, &(N as u16).to_be_bytes())?;
    put(&mut info, &[(PREFIX.len() + label.len()) as u8])?;
    put(&mut info, PREFIX)?;
    put(&mut info, label.as_bytes())?;
    put(&mut info, &[ctx_len as u8])?;
    for part in ctx {
        put(&mut info, part)?;
    }
    let mut out = Secret::new([0; N]);
    expand(secret, &info, out.expose_mut())?;
    Ok(out)
}

/// HKDF-Expand (RFC 5869) into `out`; [`Error::BufferTooSmall`] beyond 255 times 32 bytes.
pub fn expand(prk: &Secret<32>, info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let prk = Hkdf::<Sha256>::from_prk(prk.expose()).map_err(|_| Error::InvalidKey)?;
    prk.expand(info, out).map_err(|_| Error::BufferTooSmall)
}

fn hmac(key: &[u8]) -> Hmac {
    // HMAC takes keys of any length (RFC 2104); the constructor's error is for other MACs.
    <Hmac as KeyInit>::new_from_slice(key).unwrap_or_else(|_| <Hmac as KeyInit>::new(&Default::default()))
}

/// HMAC-SHA256 over the concatenation of `parts`.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut h = hmac(key);
    for part in parts {
        h.update(part);
    }
    h.finalize().into_bytes().into()
}

/// The first 16 bytes of [`mac`].
pub fn mac16(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&mac(key, parts)[..16]);
    out
}

/// Which keys protect a message. The order is the order of bits 19..18 of the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// Device channel.
    Dev = 0,
    /// Exchange tier: routine telemetry and status.
    Exch = 1,
    /// Pairing tier: commands, configuration, critical telemetry.
    Pair = 2,
    /// Binding tier: validation, keys.
    Bind = 3,
    /// Group frames of a pack; they travel with the level of the pairing tier.
    Group = 4,
}

impl Tier {
    /// Level bits (19..18) under which this tier travels.
    pub fn level(self) -> u8 {
        match self {
            Tier::Group => Tier::Pair as u8,
            other => other as u8,
        }
    }

    /// Lower-case English name.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Dev => "device",
            Tier::Exch => "exchange",
            Tier::Pair => "pairing",
            Tier::Bind => "binding",
            Tier::Group => "group",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Tier::Dev => "dev",
            Tier::Exch => "exch",
            Tier::Pair => "pair",
            Tier::Bind => "bind",
            Tier::Group => "grp",
        }
    }
}

/// Direction of a message on its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the A side (nearer the app) to the B side.
    Ab = 0,
    /// From the B side to the A side.
    Ba = 1,
}

impl Direction {
    /// The other direction.
    pub const fn reversed(self) -> Self {
        match self {
            Direction::Ab => Direction::Ba,
            Direction::Ba => Direction::Ab,
        }
    }
}

/// First 16 bytes of `HMAC(xk, "modbatt1 xk")`: binds the exchange key into the exchange tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeTag(pub Secret<16>);

impl ExchangeTag {
    /// The tag of an exchange key.
    pub fn of(exchange_key: &Secret<32>) -> Self {
        ExchangeTag(Secret::new(mac16(exchange_key.expose(), &[b"modbatt1 xk"])))
    }
}

/// Master secret of one epoch of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterSecret(pub Secret<32>);

/// First 8 bytes of TH4.
pub type ChannelId = [u8; 8];

impl MasterSecret {
    /// The next epoch's secret after a rotation with both nonces and an updated salt.
    pub fn rekey(
        &self,
        next_epoch: u32,
        nonce_a: &[u8; 16],
        nonce_b: &[u8; 16],
        salt: &[u8; 32],
    ) -> Result<MasterSecret, Error> {
        if !kept(Defence::EpochRatchet) {
            return Ok(self.clone());
        }
        derive(&self.0, "rekey", &[&next_epoch.to_be_bytes(), nonce_a, nonce_b, salt]).map(MasterSecret)
    }

    /// Traffic secret of a tier and direction in epoch `epoch`.
    ///
    /// `exchange` is required for [`Tier::Exch`] and ignored for the others.
    pub fn traffic(
        &self,
        tier: Tier,
        direction: Direction,
        epoch: u32,
        channel: &ChannelId,
        exchange: Option<&ExchangeTag>,
    ) -> Result<TrafficSecret, Error> {
        let tag = match (tier, exchange) {
            (Tier::Exch, Some(tag)) => tag.0.expose().as_slice(),
            (Tier::Exch, None) => return Err(Error::InvalidKey),
            _ => &[],
        };
        let epoch = epoch.to_be_bytes();
        traffic_secret(&self.0, tier, direction, &[&epoch, channel, tag])
    }
}

/// Key of a pack's group frames, generation `g`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupKey(pub Secret<32>);

impl GroupKey {
    /// Traffic secret of the group tier: always from the pack to its modules.
    pub fn traffic(&self, generation: u32, pack: &Cid) -> Result<TrafficSecret, Error> {
        traffic_secret(&self.0, Tier::Group, Direction::Ab, &[&generation.to_be_bytes(), &pack.0])
    }
}

fn traffic_secret(
    secret: &Secret<32>,
    tier: Tier,
    dir: Direction,
    ctx: &[&[u8]],
) -> Result<TrafficSecret, Error> {
    let mut label = heapless::String::<16>::new();
    let way = match dir {
        Direction::Ba if kept(Defence::DirectionKeys) => " ba",
        _ => " ab",
    };
    for part in ["ts ", tier.label(), way] {
        label.push_str(part).map_err(|_| Error::BufferTooSmall)?;
    }
    derive(secret, &label, ctx).map(TrafficSecret)
}

/// Secret from which the keys of one tier, direction and epoch come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrafficSecret(pub Secret<32>);

impl TrafficSecret {
    /// AES-256-GCM key.
    pub fn key(&self) -> Result<Secret<32>, Error> {
        derive(&self.0, "key", &[])
    }
    /// HMAC key of the compact profiles.
    pub fn mac_key(&self) -> Result<Secret<32>, Error> {
        derive(&self.0, "mac", &[])
    }
    /// 16 bytes of which the first four are the nonce base.
    pub fn iv(&self) -> Result<Secret<16>, Error> {
        derive(&self.0, "iv", &[])
    }
    /// AES key of the compact profiles.
    pub fn compact_key(&self) -> Result<Secret<32>, Error> {
        derive(&self.0, "ckey", &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, A.1 (extract only) and A.3-like empty salt through the same code.
    #[test]
    fn extract_is_rfc5869() {
        let prk = extract(&hex::decode("000102030405060708090a0b0c").unwrap(), &[&[0x0b; 22]]);
        assert_eq!(
            hex::encode(prk.expose()),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
        let parts = extract(&hex::decode("000102030405060708090a0b0c").unwrap(), &[&[0x0b; 20], &[0x0b; 2]]);
        assert_eq!(prk, parts);
    }

    #[test]
    fn too_long_labels_and_contexts_are_refused_not_cut() {
        let s = Secret::new([1; 32]);
        assert!(derive::<32>(&s, "123456789012345678901234567890123", &[]).is_err());
        assert!(derive::<32>(&s, "x", &[&[0; 97]]).is_err());
    }
}
