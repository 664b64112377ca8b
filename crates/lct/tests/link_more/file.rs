//! Reading `spec/vectors/link-more.json`, and the runs in it.
#![allow(dead_code)]

use lct::{
    Digest,
    exchange::{Side, seal_half},
    handshake::{self, COMMITTED, Context, Ephemeral, Established, HALVES, Initiator, Kind, Psk, Responder},
    id::{Cid, PairingId, Role},
    key_package::Parties,
    metadata::LinkParameters,
    schedule::{Direction, ExchangeTag, MasterSecret, Tier, TrafficSecret},
    secret::Secret,
    sign::{PublicKey, Signature},
    spk::SpkSecret,
};
pub use serde_json::Value;

pub fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/link-more.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
pub fn at<'a>(v: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(v, |v, key| v.get(key).unwrap_or_else(|| panic!("no entry {path}")))
}
pub fn text<'a>(v: &'a Value, path: &str) -> &'a str {
    at(v, path).as_str().unwrap()
}
pub fn bytes(v: &Value, path: &str) -> Vec<u8> {
    hex::decode(text(v, path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
pub fn fixed<const N: usize>(v: &Value, path: &str) -> [u8; N] {
    bytes(v, path).try_into().unwrap_or_else(|b: Vec<u8>| panic!("{path} has {} bytes", b.len()))
}
pub fn number(v: &Value, path: &str) -> u64 {
    match at(v, path) {
        Value::String(s) => u64::from_str_radix(s.trim_start_matches("0x"), 16).unwrap(),
        n => n.as_u64().unwrap(),
    }
}
pub fn secret<const N: usize>(v: &Value, path: &str) -> Secret<N> {
    Secret::new(fixed(v, path))
}
pub fn same(got: &[u8], v: &Value, path: &str) {
    assert_eq!(hex::encode(got), text(v, path), "{path}");
}
pub fn key(v: &Value, path: &str) -> PublicKey {
    PublicKey::from_slice(&bytes(v, path)).unwrap()
}
pub fn cid(v: &Value, side: &str) -> Cid {
    Cid(fixed(v, &format!("spk.cid{side}")))
}
pub fn spk(v: &Value, side: &str) -> SpkSecret {
    let seed = secret(v, &format!("inputs.spk_seed_{}", side.to_lowercase()));
    SpkSecret::from_seed(seed).unwrap()
}
pub fn halves(v: &Value) -> (Secret<32>, Secret<32>) {
    let pk: [u8; 64] = fixed(v, "inputs.pk64");
    (Secret::from_slice(&pk[..32]).unwrap(), Secret::from_slice(&pk[32..]).unwrap())
}
pub fn parameters(iv_seed: [u8; 16]) -> LinkParameters {
    LinkParameters { iv_seed, kdf: 1, aead: 1, rotation_days: 30 }
}
pub fn parties(v: &Value, side: &str) -> Parties {
    let both = Parties { own: (cid(v, "A"), Role::App), peer: (cid(v, "B"), Role::Pack) };
    if side == "A" { both } else { both.swapped() }
}

/// What the two sides of a run of the file bring.
pub struct Stage {
    pub context: Context,
    psk: Vec<Vec<u8>>,
    exchange: Option<[handshake::HalfExchange; 2]>,
    ephemeral: [([u8; 32], [u8; 16]); 2],
    boot: [u32; 2],
    pub m0: Option<Vec<u8>>,
}

impl Stage {
    pub fn new(v: &Value, name: &str) -> Self {
        let group = at(v, name);
        let flags = number(group, "flags") as u8;
        let kind = match number(group, "kind") {
            1 => Kind::Dev,
            2 => Kind::Bind,
            3 => Kind::Pair,
            5 => Kind::Pake,
            other => panic!("kind {other}"),
        };
        let salt: [u8; 32] = fixed(group, "salt");
        let device_halves = || ["a", "b"].map(|s| bytes(v, &format!("inputs.device_key_half_{s}")));
        let mut psk: Vec<Vec<u8>> = Vec::new();
        let mut exchange = None;
        match kind {
            Kind::Dev => psk.extend(device_halves()),
            Kind::Bind if flags & HALVES != 0 => psk.extend(device_halves()),
            Kind::Pake => {
                psk.push(bytes(v, "pake.K_shared"));
                if flags & HALVES != 0 {
                    psk.extend(device_halves());
                }
            }
            Kind::Pair => {
                let (half_a, half_b) = halves(v);
                let (xk, hash) = (secret(v, "inputs.xk"), fixed::<32>(v, "cert.cm_hash"));
                let id = PairingId(fixed(v, "inputs.pairing_id"));
                exchange = Some([
                    seal_half(Side::A, &half_a, &xk, &hash, &id).unwrap(),
                    seal_half(Side::B, &half_b, &xk, &hash, &id).unwrap(),
                ]);
                psk.extend([half_a.expose().to_vec(), half_b.expose().to_vec()]);
            }
            Kind::Bind | Kind::Resume => {}
        }
        psk.push(salt.to_vec());
        let context = Context {
            kind,
            flags,
            cid_a: cid(v, "A"),
            cid_b: cid(v, "B"),
            spk_a: Some(spk(v, "A").public()),
            spk_b: Some(spk(v, "B").public()),
            cert_hash: (kind == Kind::Pair).then(|| fixed(v, "cert.cert_hash")),
            policy_hash: fixed(group, "policy_hash"),
            salt,
        };
        let ephemeral = ["a", "b"]
            .map(|s| (fixed(v, &format!("inputs.ephemeral_{s}")), fixed(v, &format!("inputs.nonce_{s}"))));
        let boot = ["a", "b"].map(|s| number(v, &format!("inputs.boot_{s}")) as u32);
        let m0 = (flags & COMMITTED != 0).then(|| {
            let (scalar, nonce) = &ephemeral[1];
            handshake::commit(&context, &Ephemeral::from_parts(scalar, *nonce).unwrap()).unwrap().to_vec()
        });
        Stage { context, psk, exchange, ephemeral, boot, m0 }
    }

    fn ephemeral(&self, side: usize) -> Ephemeral {
        let (scalar, nonce) = &self.ephemeral[side];
        Ephemeral::from_parts(scalar, *nonce).unwrap()
    }

    pub fn initiator(&self) -> (Initiator, Vec<u8>) {
        let exchange = self.exchange.as_ref().map(|x| &x[0]);
        let (initiator, m1) =
            Initiator::start(&self.context, self.ephemeral(0), self.boot[0], exchange, self.m0.as_deref())
                .unwrap();
        (initiator, m1.to_vec())
    }

    pub fn responder(&self, v: &Value, m1: &[u8]) -> (Responder, Vec<u8>) {
        let parts: Vec<&[u8]> = self.psk.iter().map(Vec::as_slice).collect();
        let key = spk(v, "B");
        let sign = self.signs().then_some(|d: &Digest| key.signing_key().sign_rfc6979(d));
        let (responder, m2) = Responder::answer_signing(
            &self.context,
            self.ephemeral(1),
            self.boot[1],
            self.m0.as_deref(),
            m1,
            self.exchange.as_ref().map(|x| &x[1]),
            &Psk(&parts),
            sign,
        )
        .unwrap();
        (responder, m2.to_vec())
    }

    /// What A does with this M2.
    pub fn finish_a(
        &self,
        v: &Value,
        initiator: &Initiator,
        m2: &[u8],
    ) -> Result<(Vec<u8>, Established), lct::Error> {
        let parts: Vec<&[u8]> = self.psk.iter().map(Vec::as_slice).collect();
        let key = spk(v, "A");
        let sign = self.signs().then_some(|d: &Digest| -> Signature { key.signing_key().sign_rfc6979(d) });
        initiator.finish_signing(&self.context, m2, &Psk(&parts), sign).map(|(m3, done)| (m3.to_vec(), done))
    }

    fn signs(&self) -> bool {
        self.context.flags & handshake::SIGNED != 0
    }
}

/// Runs a handshake of the file and compares every message and the result.
pub fn run(v: &Value, name: &str) -> Established {
    let group = at(v, name);
    let stage = Stage::new(v, name);
    if let Some(m0) = &stage.m0 {
        same(m0, group, "M0");
    }
    let (initiator, m1) = stage.initiator();
    same(&m1, group, "M1");
    let (responder, m2) = stage.responder(v, &m1);
    same(&m2, group, "M2");
    let (m3, of_a) = stage.finish_a(v, &initiator, &m2).unwrap();
    same(&m3, group, "M3");
    let of_b = responder.finish(&stage.context, &m3).unwrap();
    assert_eq!((of_a.th4, of_a.comparison), (of_b.th4, of_b.comparison), "{name}");
    same(&of_b.th4, group, "TH4");
    same(of_b.master.0.expose(), group, "MS0");
    same(&of_b.channel_id(), group, "chan_id");
    if stage.m0.is_some() {
        assert_eq!(format!("{:06}", of_b.comparison), text(group, "SAS"));
    }
    of_b
}

/// Traffic secret of a run in epoch 0, from what the file says of it.
pub fn traffic(v: &Value, source: &str, tier: &str, direction: &str) -> TrafficSecret {
    let master = MasterSecret(secret(v, &format!("{source}.MS0")));
    traffic_of(v, source, &master, tier, direction, 0)
}

/// Traffic secret of an epoch of a run's channel.
pub fn traffic_of(
    v: &Value,
    source: &str,
    master: &MasterSecret,
    tier: &str,
    direction: &str,
    epoch: u32,
) -> TrafficSecret {
    let tier = match tier {
        "dev" => Tier::Dev,
        "exch" => Tier::Exch,
        "pair" => Tier::Pair,
        "bind" => Tier::Bind,
        other => panic!("tier {other}"),
    };
    let direction = if direction == "ab" { Direction::Ab } else { Direction::Ba };
    let tag = ExchangeTag::of(&secret(v, "inputs.xk"));
    let channel = fixed(v, &format!("{source}.chan_id"));
    master.traffic(tier, direction, epoch, &channel, Some(&tag)).unwrap()
}

/// A generator that gives one scalar: 64 bytes that the library reduces modulo the order.
pub struct Scalar(pub [u8; 32]);

impl rand_chacha::rand_core::TryRng for Scalar {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("a scalar is drawn as bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("a scalar is drawn as bytes")
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        assert_eq!(out.len(), 64);
        out.fill(0);
        out[32..].copy_from_slice(&self.0);
        Ok(())
    }
}
impl rand_chacha::rand_core::TryCryptoRng for Scalar {}
