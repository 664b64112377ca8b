//! The three-message handshake of kinds DEV, BIND, PAIR and PAKE (`spec/channel.md`, H10 to H19).
//!
//! ```text
//! M0  0 version | 1 kind|0x20 | 2 flags | 3 suite | 4 commitment 32                                    36 (SAS only)
//! M1  0 version | 1 kind      | 2 flags | 3 suite | 4 chan_hint u32 | 8 boot u32 | 12 N_A 16 | 28 E_A 33 [| HX_A 60]
//! M2  0 version | 1 kind|0x40 | 2 flags | 3 suite | 4 boot u32 | 8 N_B 16 | 24 E_B 33 [| HX_B 60] | mac_B 16 [| sig_B 64]
//! M3  0 version | 1 kind|0x80 | 2 flags | 3 status = 0 | 4 mac_A 16 [| sig_A 64]
//! ```
//! A pre-shared key gives authority, an ephemeral agreement hides the result from the controller and gives
//! forward secrecy, signatures give identity.

use crate::{
    Digest, Error, SUITE,
    codec::{Fields, Layout},
    curve::backend::AgreementKey,
    exchange::EXCHANGE_LEN,
    hash::sha256,
    id::Cid,
    schedule::{ChannelId, MasterSecret, derive, extract, mac16},
    secret::{Secret, equal},
    sign::{PublicKey, Signature, SigningKey},
    spk::Spk,
};
use kept::{Defence, kept};
use rand_core::CryptoRng;

/// Longest handshake message (M2 of PAIR).
pub const MESSAGE_MAX: usize = 197;
/// A handshake message.
pub type Message = heapless::Vec<u8, MESSAGE_MAX>;
/// Bytes of half exchange carried in M1 and M2 of PAIR.
pub type HalfExchange = [u8; EXCHANGE_LEN];

/// What is being established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Device channel from device key halves.
    Dev = 1,
    /// Binding: proves possession of both relationship keys.
    Bind = 2,
    /// Pairing under a certificate.
    Pair = 3,
    /// Fresh epoch of an existing channel; see [`crate::resume`].
    Resume = 4,
    /// Device channel from a printed code.
    Pake = 5,
}

/// Flag bit 0: signatures present.
pub const SIGNED: u8 = 1;
/// Flag bit 1: device halves mixed into BIND.
pub const HALVES: u8 = 2;
/// Flag bit 2: a commitment M0 precedes M1.
pub const COMMITTED: u8 = 4;

/// What both sides must agree on before the first message; all of it enters TH0.
#[derive(Debug, Clone)]
pub struct Context {
    /// Kind of handshake.
    pub kind: Kind,
    /// Flag bits.
    pub flags: u8,
    /// A side.
    pub cid_a: Cid,
    /// B side.
    pub cid_b: Cid,
    /// Relationship key of A; hashed when [`SIGNED`].
    pub spk_a: Option<Spk>,
    /// Relationship key of B; hashed when [`SIGNED`].
    pub spk_b: Option<Spk>,
    /// Hash of the pairing certificate, kind PAIR only.
    pub cert_hash: Option<Digest>,
    /// Hash of class table and parameters.
    pub policy_hash: Digest,
    /// App-generated salt, or zero.
    pub salt: [u8; 32],
}

impl Context {
    fn th0(&self) -> Digest {
        let spk_hash = |spk: &Option<Spk>| match spk {
            Some(spk) if self.flags & SIGNED != 0 => sha256(&[&spk.0]),
            _ => [0; 32],
        };
        let named = |cid: &Cid| if kept(Defence::NamedParties) { cid.0 } else { [0; 16] };
        sha256(&[
            b"modbatt1 hs",
            &[self.kind as u8, SUITE, self.flags],
            &named(&self.cid_a),
            &named(&self.cid_b),
            &spk_hash(&self.spk_a),
            &spk_hash(&self.spk_b),
            &self.cert_hash.unwrap_or([0; 32]),
            &self.policy_hash,
        ])
    }

    fn head(&self, message: u8, last: u8) -> [u8; 4] {
        [1, self.kind as u8 | message, self.flags, last]
    }

    fn verifying_key(&self, spk: &Option<Spk>) -> Result<PublicKey, Error> {
        spk.as_ref().map(Spk::sign_pub).ok_or(Error::WrongParty)
    }
}

/// Pre-shared key material: `half_a || half_b || salt` and the like, at most 192 bytes.
pub struct Psk<'a>(pub &'a [&'a [u8]]);

/// What a finished handshake yields.
#[derive(Debug, Clone)]
pub struct Established {
    /// Master secret of epoch 0.
    pub master: MasterSecret,
    /// TH4: names the session in statements.
    pub th4: Digest,
    /// Six-digit comparison, meaningful with [`COMMITTED`].
    pub comparison: u32,
}

impl Established {
    /// `TH4[0:8]`.
    pub fn channel_id(&self) -> ChannelId {
        channel_id(&self.th4)
    }
}

/// `TH4[0:8]`.
pub fn channel_id(th4: &Digest) -> ChannelId {
    let mut id = [0; 8];
    id.copy_from_slice(&th4[..8]);
    id
}

/// An ephemeral key pair and nonce of one run.
pub struct Ephemeral {
    secret: AgreementKey,
    nonce: [u8; 16],
}

impl Ephemeral {
    /// Draws both.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        Ephemeral { secret: AgreementKey::generate(rng), nonce }
    }

    /// Given values, for published vectors.
    pub fn from_parts(scalar: &[u8; 32], nonce: [u8; 16]) -> Result<Self, Error> {
        let secret = AgreementKey::from_bytes(scalar).ok_or(Error::InvalidKey)?;
        Ok(Ephemeral { secret, nonce })
    }

    fn point(&self) -> [u8; 33] {
        self.secret.public()
    }

    fn agree(&self, peer: &[u8; 33]) -> Result<Secret<32>, Error> {
        match self.secret.agree(peer) {
            // Arithmetic on what is no point of the curve ends in a place that its sender knows.
            None if !kept(Defence::PointsOfTheCurve) => Ok(Secret::new([0; 32])),
            agreed => agreed.ok_or(Error::InvalidKey),
        }
    }

    /// `H("modbatt1 sas commit" || E_B || N_B)`, the commitment in M0.
    fn commitment(&self) -> Digest {
        commitment(&self.point(), &self.nonce)
    }
}

fn commitment(point: &[u8; 33], nonce: &[u8; 16]) -> Digest {
    sha256(&[b"modbatt1 sas commit", point, nonce])
}

/// M0 by which B commits itself before it sees M1 (kind DEV with [`COMMITTED`]).
pub fn commit(context: &Context, ephemeral: &Ephemeral) -> Result<Message, Error> {
    let head = context.head(0x20, SUITE);
    Layout::default().put(&[&head, &ephemeral.commitment()]).map(Layout::done)
}

/// M1 as read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Boot counter of A.
    pub boot: u32,
    point: [u8; 33],
    /// A's half, kind PAIR.
    pub exchange: Option<HalfExchange>,
}

/// M2 as read, before it is trusted.
#[derive(Debug, Clone)]
pub struct Response {
    /// Boot counter of B.
    pub boot: u32,
    nonce: [u8; 16],
    point: [u8; 33],
    /// B's half, kind PAIR.
    pub exchange: Option<HalfExchange>,
    mac: [u8; 16],
    signature: Option<Signature>,
}

fn optional<const N: usize>(f: &mut Fields<'_>, present: bool) -> Result<Option<[u8; N]>, Error> {
    present.then(|| f.array()).transpose()
}

impl Request {
    /// Reads M1; refuses another kind, flags, suite or length.
    pub fn parse(context: &Context, m1: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(m1);
        if f.array()? != context.head(0, SUITE) || f.u32()? != 0 {
            return Err(Error::Malformed);
        }
        let boot = f.u32()?;
        let _nonce: [u8; 16] = f.array()?;
        let request =
            Request { boot, point: f.array()?, exchange: optional(&mut f, context.kind == Kind::Pair)? };
        f.end()?;
        Ok(request)
    }
}

impl Response {
    /// Reads M2; refuses another kind, flags, suite or length.
    pub fn parse(context: &Context, m2: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(m2);
        if f.array()? != context.head(0x40, SUITE) {
            return Err(Error::Malformed);
        }
        let response = Response {
            boot: f.u32()?,
            nonce: f.array()?,
            point: f.array()?,
            exchange: optional(&mut f, context.kind == Kind::Pair)?,
            mac: f.array()?,
            signature: optional(&mut f, context.flags & SIGNED != 0)?.map(Signature),
        };
        f.end()?;
        Ok(response)
    }
}

struct Secrets {
    s1: Secret<32>,
}

impl Secrets {
    fn new(context: &Context, th0: &Digest, psk: &Psk<'_>, dh: &Secret<32>) -> Result<Self, Error> {
        let s0 = extract(&context.salt, psk.0);
        let salt = derive::<32>(&s0, "hs salt", &[th0])?;
        let nothing = Secret::new([0; 32]);
        let dh = if kept(Defence::EphemeralAgreement) { dh } else { &nothing };
        Ok(Secrets { s1: extract(salt.expose(), &[dh.expose()]) })
    }

    fn finished(&self, label: &str, th: &Digest) -> Result<[u8; 16], Error> {
        Ok(mac16(derive::<32>(&self.s1, label, &[th])?.expose(), &[th]))
    }

    fn established(&self, th4: Digest) -> Result<Established, Error> {
        let digits = derive::<4>(&self.s1, "sas", &[&th4])?;
        Ok(Established {
            master: MasterSecret(derive(&self.s1, "ms", &[&th4])?),
            th4,
            comparison: u32::from_be_bytes(*digits.expose()) % 1_000_000,
        })
    }
}

/// The A side between M1 and M2.
pub struct Initiator {
    ephemeral: Ephemeral,
    th0: Digest,
    th1: Digest,
    commitment: Option<Digest>,
}

impl Initiator {
    /// Builds M1. `m0` is B's commitment when [`COMMITTED`] is set.
    pub fn start(
        context: &Context,
        ephemeral: Ephemeral,
        boot: u32,
        exchange: Option<&HalfExchange>,
        m0: Option<&[u8]>,
    ) -> Result<(Self, Message), Error> {
        if exchange.is_some() != (context.kind == Kind::Pair)
            || m0.is_some() != (context.flags & COMMITTED != 0)
        {
            return Err(Error::Malformed);
        }
        let commitment = match m0 {
            Some(m0) => {
                let mut f = Fields::new(m0);
                if f.array()? != context.head(0x20, SUITE) {
                    return Err(Error::Malformed);
                }
                let commitment = f.array()?;
                f.end()?;
                Some(commitment)
            }
            None => None,
        };
        let m1 = Layout::<MESSAGE_MAX>::default()
            .put(&[
                &context.head(0, SUITE),
                &[0; 4],
                &boot.to_be_bytes(),
                &ephemeral.nonce,
                &ephemeral.point(),
                exchange.map_or(&[][..], |x| x.as_slice()),
            ])
            .map(Layout::done)?;
        let th0 = context.th0();
        let th1 = sha256(&[&th0, m0.unwrap_or(&[]), &m1]);
        Ok((Initiator { ephemeral, th0, th1, commitment }, m1))
    }

    /// Checks M2 and builds M3. `psk` may depend on the half received in M2 ([`Response::parse`]).
    pub fn finish(
        &self,
        context: &Context,
        m2: &[u8],
        psk: &Psk<'_>,
        key: Option<&SigningKey>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Message, Established), Error> {
        self.finish_signing(context, m2, psk, key.map(|k| move |d: &Digest| k.sign(d, rng)))
    }

    /// As [`Initiator::finish`], signing with `sign`.
    pub fn finish_signing(
        &self,
        context: &Context,
        m2: &[u8],
        psk: &Psk<'_>,
        sign: Option<impl FnOnce(&Digest) -> Signature>,
    ) -> Result<(Message, Established), Error> {
        let response = Response::parse(context, m2)?;
        if let Some(committed) = &self.commitment
            && kept(Defence::Commitment)
            && !equal(committed, &commitment(&response.point, &response.nonce))
        {
            return Err(Error::NotAuthentic);
        }
        let dh = self.ephemeral.agree(&response.point)?;
        let core_len = m2.len() - 16 - if response.signature.is_some() { 64 } else { 0 };
        let th2 = sha256(&[&self.th1, &m2[..core_len]]);
        let secrets = Secrets::new(context, &self.th0, psk, &dh)?;
        if !equal(&secrets.finished("fin b", &th2)?, &response.mac) {
            return Err(Error::NotAuthentic);
        }
        if let Some(sig) = &response.signature {
            let digest = sha256(&[b"modbatt1 sig b", &th2, &response.mac]);
            context.verifying_key(&context.spk_b)?.verify(&digest, sig)?;
        }
        let th3 = sha256(&[&th2, &m2[core_len..]]);
        let mac_a = secrets.finished("fin a", &th3)?;
        let sig_a = match (sign, context.flags & SIGNED != 0) {
            (Some(sign), true) => Some(sign(&sha256(&[b"modbatt1 sig a", &th3, &mac_a]))),
            (None, false) => None,
            _ => return Err(Error::WrongParty),
        };
        let sig_bytes = sig_a.as_ref().map_or(&[][..], |s| s.0.as_slice());
        let m3 = Layout::<MESSAGE_MAX>::default()
            .put(&[&context.head(0x80, 0), &mac_a, sig_bytes])
            .map(Layout::done)?;
        let th4 = sha256(&[&th3, &mac_a, sig_bytes]);
        Ok((m3, secrets.established(th4)?))
    }
}

/// The B side between M2 and M3.
pub struct Responder {
    secrets: Secrets,
    th3: Digest,
}

impl Responder {
    /// Answers M1 with M2. `psk` may depend on the half received in M1 ([`Request::parse`]); `m0` is the
    /// commitment sent before, if any.
    pub fn answer(
        context: &Context,
        ephemeral: Ephemeral,
        boot: u32,
        m0: Option<&[u8]>,
        m1: &[u8],
        exchange: Option<&HalfExchange>,
        psk: &Psk<'_>,
        key: Option<&SigningKey>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Message), Error> {
        let sign = key.map(|k| move |d: &Digest| k.sign(d, rng));
        Self::answer_signing(context, ephemeral, boot, m0, m1, exchange, psk, sign)
    }

    /// As [`Responder::answer`], signing with `sign`.
    pub fn answer_signing(
        context: &Context,
        ephemeral: Ephemeral,
        boot: u32,
        m0: Option<&[u8]>,
        m1: &[u8],
        exchange: Option<&HalfExchange>,
        psk: &Psk<'_>,
        sign: Option<impl FnOnce(&Digest) -> Signature>,
    ) -> Result<(Self, Message), Error> {
        if exchange.is_some() != (context.kind == Kind::Pair)
            || m0.is_some() != (context.flags & COMMITTED != 0)
        {
            return Err(Error::Malformed);
        }
        let request = Request::parse(context, m1)?;
        let dh = ephemeral.agree(&request.point)?;
        let th0 = context.th0();
        let th1 = sha256(&[&th0, m0.unwrap_or(&[]), m1]);
        let core = Layout::<MESSAGE_MAX>::default()
            .put(&[
                &context.head(0x40, SUITE),
                &boot.to_be_bytes(),
                &ephemeral.nonce,
                &ephemeral.point(),
                exchange.map_or(&[][..], |x| x.as_slice()),
            ])?
            .done();
        let th2 = sha256(&[&th1, &core]);
        let secrets = Secrets::new(context, &th0, psk, &dh)?;
        let mac_b = secrets.finished("fin b", &th2)?;
        let sig_b = match (sign, context.flags & SIGNED != 0) {
            (Some(sign), true) => Some(sign(&sha256(&[b"modbatt1 sig b", &th2, &mac_b]))),
            (None, false) => None,
            _ => return Err(Error::WrongParty),
        };
        let sig_bytes = sig_b.as_ref().map_or(&[][..], |s| s.0.as_slice());
        let m2 = Layout::<MESSAGE_MAX>::default().put(&[&core, &mac_b, sig_bytes]).map(Layout::done)?;
        let th3 = sha256(&[&th2, &mac_b, sig_bytes]);
        Ok((Responder { secrets, th3 }, m2))
    }

    /// Checks M3.
    pub fn finish(&self, context: &Context, m3: &[u8]) -> Result<Established, Error> {
        let mut f = Fields::new(m3);
        if f.array()? != context.head(0x80, 0) {
            return Err(Error::Malformed);
        }
        let mac_a: [u8; 16] = f.array()?;
        let sig_a = optional::<64>(&mut f, context.flags & SIGNED != 0)?.map(Signature);
        f.end()?;
        if !equal(&self.secrets.finished("fin a", &self.th3)?, &mac_a) {
            return Err(Error::NotAuthentic);
        }
        if let Some(sig) = &sig_a {
            let digest = sha256(&[b"modbatt1 sig a", &self.th3, &mac_a]);
            context.verifying_key(&context.spk_a)?.verify(&digest, sig)?;
        }
        let th4 = sha256(&[&self.th3, &m3[4..]]);
        self.secrets.established(th4)
    }
}
