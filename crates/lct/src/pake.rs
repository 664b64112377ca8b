//! The printed code and its proof: SPAKE2+ (RFC 9383), suite P256-SHA256-HKDF-SHA256-HMAC-SHA256
//! (`spec/channel.md`, H80 to H83).
//!
//! The app is the prover and knows the code; the pack is the verifier and keeps only `w0 || L`. Context
//! `"modbatt1 pake"`, idProver = cid of the app, idVerifier = cid of the pack. Messages:
//!
//! ```text
//! shareP 65                    prover to verifier
//! shareV 65 | confirmV 32      verifier to prover, who checks confirmV before it says anything more
//! confirmP 32                  prover to verifier
//! ```
//! Each value of this module is used up by its next step, so that a run answers one guess and no second one.

use crate::{Digest, Error, hash::sha256, id::Cid, secret::Secret, secret::equal};
use kept::{Defence, kept};
use rand_core::CryptoRng;
use spake2plus::{Context, P256Sha256};
use zeroize::Zeroize;

/// Characters of a code, without its check character: 60 random bits.
pub const CODE_LEN: usize = 12;
/// Length of a share, an uncompressed point.
pub const SHARE_LEN: usize = 65;
/// Length of a confirmation.
pub const CONFIRMATION_LEN: usize = 32;
/// Length of what a verifier answers: its share and its confirmation.
pub const ANSWER_LEN: usize = SHARE_LEN + CONFIRMATION_LEN;
/// Length of a verifier's record, `w0 32 | L 65`.
pub const RECORD_LEN: usize = 32 + SHARE_LEN;
/// Bytes of the stretched code: `w0s 40 | w1s 40`.
pub const STRETCHED_LEN: usize = 80;
/// Parameters of scrypt that stretch a code: log2 of N, r, p. Its salt is the pack's cid.
pub const SCRYPT: (u8, u32, u32) = (15, 8, 1);

/// Crockford's digits of base 32; the check character has five more.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECKS: &[u8; 5] = b"*~$=U";
/// Modulus of the check character: a prime above 32, so every wrong digit and every swap of two neighbours shows.
const CHECK_MODULUS: u64 = 37;

/// A code as it is printed on a pack: 12 digits of Crockford's base 32 and a check character.
///
/// The digits are the 60-bit number, most significant first. The check character is that number modulo 37, written
/// with the 32 digits followed by `*~$=U`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code(Secret<CODE_LEN>);

impl Code {
    /// Draws a code.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut digits = [0; CODE_LEN];
        rng.fill_bytes(&mut digits);
        // 256 is a multiple of 32: the low five bits of a random byte are a uniform digit.
        digits.iter_mut().for_each(|d| *d = DIGITS[usize::from(*d & 31)]);
        let code = Code(Secret::new(digits));
        digits.zeroize();
        code
    }

    /// Reads what somebody typed: upper or lower case, `I` and `L` for 1, `O` for 0, spaces and hyphens anywhere.
    ///
    /// [`Error::Malformed`] for another character or length, [`Error::NotAuthentic`] when the check character does
    /// not fit: a slip of the pen, told before a guess is spent.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut typed = [0; CODE_LEN + 1];
        let mut n = 0;
        for c in text.bytes().filter(|c| !matches!(c, b' ' | b'-')) {
            let place = typed.get_mut(n).ok_or(Error::Malformed)?;
            *place = match c.to_ascii_uppercase() {
                b'I' | b'L' => b'1',
                b'O' => b'0',
                other => other,
            };
            n += 1;
        }
        let (digits, check) = match typed.split_first_chunk::<CODE_LEN>() {
            Some((digits, [check])) if n == CODE_LEN + 1 => (digits, *check),
            _ => return Err(Error::Malformed),
        };
        let known = |c: &u8| DIGITS.contains(c);
        if !digits.iter().all(known) || !(known(&check) || CHECKS.contains(&check)) {
            return Err(Error::Malformed);
        }
        let code = Code(Secret::new(*digits));
        typed.zeroize();
        if code.check() == check { Ok(code) } else { Err(Error::NotAuthentic) }
    }

    /// The 12 characters, upper case, that are stretched.
    pub fn characters(&self) -> &[u8; CODE_LEN] {
        self.0.expose()
    }

    /// The check character.
    pub fn check(&self) -> u8 {
        let value = self.0.expose().iter().fold(0u64, |v, c| {
            let digit = DIGITS.iter().position(|d| d == c).unwrap_or(0);
            v << 5 | digit as u64
        });
        let check = (value % CHECK_MODULUS) as usize;
        DIGITS.get(check).or_else(|| CHECKS.get(check.wrapping_sub(DIGITS.len()))).copied().unwrap_or(b'0')
    }

    /// As it is printed: `XXXX-XXXX-XXXX-C`.
    pub fn printed(&self) -> heapless::String<16> {
        let mut text = heapless::String::new();
        for (i, c) in self.0.expose().iter().chain(&[self.check()]).enumerate() {
            let hyphen = i > 0 && i % 4 == 0;
            // 13 characters and 3 hyphens: exactly the capacity.
            let _fits = if hyphen { text.push('-') } else { Ok(()) }.and_then(|()| text.push(char::from(*c)));
        }
        text
    }
}

/// What a prover computes from a code: `w0` and `w1`.
#[derive(Clone)]
pub struct ProverSecret(spake2plus::ProverSecret<P256Sha256>);

impl ProverSecret {
    /// From the stretched code: each half of 40 bytes is reduced modulo the group order (RFC 9383, 3.2).
    pub fn from_stretched(stretched: &Secret<STRETCHED_LEN>) -> Result<Self, Error> {
        spake2plus::ProverSecret::from_pbkdf_output(stretched.expose())
            .map(ProverSecret)
            .map_err(|_| Error::InvalidKey)
    }

    /// What the verifier keeps.
    pub fn record(&self) -> Record {
        Record(Secret::new(*self.0.verifier_record().to_bytes()))
    }
}

impl core::fmt::Debug for ProverSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ProverSecret([redacted])")
    }
}

/// What a verifier keeps instead of the code: `w0 32 | L 65`, 97 bytes. Who has it can pose as the verifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record(Secret<RECORD_LEN>);

impl Record {
    /// Reads 97 bytes: `w0` below the order and not zero, `L` a point.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        spake2plus::VerifierRecord::<P256Sha256>::from_bytes(bytes).map_err(|_| Error::InvalidKey)?;
        Secret::from_slice(bytes).map(Record)
    }

    /// The bytes, for sealed storage.
    pub fn expose(&self) -> &[u8; RECORD_LEN] {
        self.0.expose()
    }

    /// `H("modbatt1 code" || cid || w0 || L)`: ties the code to a device certificate.
    pub fn commitment(&self, pack: &Cid) -> Digest {
        sha256(&[b"modbatt1 code", &pack.0, self.0.expose()])
    }
}

fn context<'a>(app: &'a Cid, pack: &'a Cid) -> Context<'a> {
    Context { context: b"modbatt1 pake", prover_id: &app.0, verifier_id: &pack.0 }
}

/// The prover, who waits for the verifier's answer.
pub struct Prover {
    run: spake2plus::Prover<P256Sha256>,
    share: [u8; SHARE_LEN],
}

/// What is drawn without [`Defence::FreshShares`]: the same for every proof.
struct Constant;

impl rand_core::TryRng for Constant {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(1)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(1)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(1);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Constant {}

impl Prover {
    /// Draws a share.
    pub fn start(secret: &ProverSecret, app: &Cid, pack: &Cid, rng: &mut impl CryptoRng) -> Self {
        Self::start_in(secret, &context(app, pack), rng)
    }

    fn start_in(secret: &ProverSecret, context: &Context<'_>, rng: &mut impl CryptoRng) -> Self {
        let (run, share) = match kept(Defence::FreshShares) {
            true => spake2plus::Prover::start(&secret.0, context, rng),
            false => spake2plus::Prover::start(&secret.0, context, &mut Constant),
        };
        Prover { run, share: *share.as_bytes() }
    }

    /// `shareP`, the first message.
    pub fn share(&self) -> &[u8; SHARE_LEN] {
        &self.share
    }

    /// Checks `shareV | confirmV`; only then there is a `confirmP` to send, and `K_shared`.
    ///
    /// [`Error::InvalidKey`] for a share that is not a point, is the own share reflected, or leaves nothing secret;
    /// [`Error::NotAuthentic`] when the verifier holds another code: nothing may be sent then.
    pub fn finish(self, answer: &[u8; ANSWER_LEN]) -> Result<([u8; CONFIRMATION_LEN], Secret<32>), Error> {
        let (share, confirm) = answer.split_at(SHARE_LEN);
        if equal(share, &self.share) {
            return Err(Error::InvalidKey);
        }
        let share = spake2plus::ShareV::from_bytes(share).map_err(|_| Error::InvalidKey)?;
        let confirm = spake2plus::ConfirmV::from_bytes(confirm).map_err(|_| Error::Malformed)?;
        let run = self.run.receive(&share).map_err(|_| Error::InvalidKey)?;
        let (confirm, key) = run.finish(&confirm).map_err(|_| Error::NotAuthentic)?;
        Ok((*confirm.as_bytes(), Secret::new(*key.as_bytes())))
    }
}

/// The verifier, who answered and waits for the prover's confirmation.
pub struct Verifier(spake2plus::VerifierConfirming<P256Sha256>);

impl Verifier {
    /// Answers `shareP` with `shareV | confirmV`. The answer tells the prover whether its guess was right: the try
    /// must be counted durably before it leaves (H82).
    pub fn answer(
        record: &Record,
        app: &Cid,
        pack: &Cid,
        share: &[u8; SHARE_LEN],
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, [u8; ANSWER_LEN]), Error> {
        Self::answer_in(record, &context(app, pack), share, rng)
    }

    fn answer_in(
        record: &Record,
        context: &Context<'_>,
        share: &[u8; SHARE_LEN],
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, [u8; ANSWER_LEN]), Error> {
        let share = spake2plus::ShareP::from_bytes(share).map_err(|_| Error::InvalidKey)?;
        let record =
            spake2plus::VerifierRecord::from_bytes(record.expose()).map_err(|_| Error::InvalidKey)?;
        let (run, own) = spake2plus::Verifier::start(&record, context, rng);
        let (run, confirm) = run.receive(&share).map_err(|_| Error::InvalidKey)?;
        let mut answer = [0; ANSWER_LEN];
        answer[..SHARE_LEN].copy_from_slice(own.as_ref());
        answer[SHARE_LEN..].copy_from_slice(confirm.as_ref());
        Ok((Verifier(run), answer))
    }

    /// Checks `confirmP` and gives `K_shared`; [`Error::NotAuthentic`] when the prover had another code.
    pub fn finish(self, confirmation: &[u8; CONFIRMATION_LEN]) -> Result<Secret<32>, Error> {
        let confirmation = spake2plus::ConfirmP::from_bytes(confirmation).map_err(|_| Error::Malformed)?;
        let key = self.0.finish(&confirmation).map_err(|_| Error::NotAuthentic)?;
        Ok(Secret::new(*key.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }
    fn ids() -> (Cid, Cid) {
        (Cid::of("app-0001"), Cid::of("pack-0001"))
    }
    fn secret(byte: u8) -> ProverSecret {
        ProverSecret::from_stretched(&Secret::new([byte; STRETCHED_LEN])).unwrap()
    }

    /// The check characters were computed by hand: the number modulo 37.
    #[test]
    fn codes_are_read_as_they_are_written_by_hand() {
        for (typed, printed) in [
            ("0000-0000-0000-0", "0000-0000-0000-0"),
            ("00000000000zz", "0000-0000-000Z-Z"),
            ("0000 0000 0010 *", "0000-0000-0010-*"), // 32
            ("oooo-oooo-0014 u", "0000-0000-0014-U"), // 36
            ("0000 0000 0015 0", "0000-0000-0015-0"), // 37
            ("i00000000000=", "1000-0000-0000-="),    // 2^55 mod 37 = 35
        ] {
            let code = Code::parse(typed).unwrap_or_else(|e| panic!("{typed}: {e}"));
            assert_eq!(code.printed(), printed, "{typed}");
            assert_eq!(Code::parse(&code.printed()).unwrap(), code);
        }
        for (typed, error) in [
            ("", Error::Malformed),
            ("0000-0000-0000", Error::Malformed),
            ("0000-0000-0000-00", Error::Malformed),
            ("0000-0000-000U-0", Error::Malformed),
            ("0000-0000-0000-!", Error::Malformed),
            ("0000-0000-000\u{e4}-0", Error::Malformed),
            ("0000-0000-0000-1", Error::NotAuthentic),
        ] {
            assert_eq!(Code::parse(typed), Err(error), "{typed}");
        }
    }

    #[test]
    fn a_wrong_character_and_a_swap_of_neighbours_show_in_the_check() {
        let mut rng = rng(7);
        for _ in 0..20 {
            let code = Code::generate(&mut rng);
            let printed: std::vec::Vec<u8> = code.printed().bytes().filter(|c| *c != b'-').collect();
            let read = |text: &[u8]| Code::parse(core::str::from_utf8(text).unwrap());
            assert_eq!(read(&printed).unwrap(), code);
            for i in 0..CODE_LEN {
                for wrong in DIGITS.iter().filter(|d| **d != printed[i]) {
                    let mut text = printed.clone();
                    text[i] = *wrong;
                    assert_eq!(read(&text), Err(Error::NotAuthentic));
                }
                let mut text = printed.clone();
                text.swap(i, i + 1);
                assert!(text == printed || read(&text).is_err(), "{i}");
            }
        }
    }

    #[test]
    fn the_same_code_agrees_and_each_difference_ends_the_run() {
        let (app, pack) = ids();
        let right = secret(1);
        for (case, prover_secret, prover_ids, agrees) in [
            ("same", secret(1), (app, pack), true),
            ("other code", secret(2), (app, pack), false),
            ("other app", secret(1), (Cid::of("app-0002"), pack), false),
            ("other pack", secret(1), (app, Cid::of("pack-0002")), false),
        ] {
            let prover = Prover::start(&prover_secret, &prover_ids.0, &prover_ids.1, &mut rng(1));
            let (verifier, answer) =
                Verifier::answer(&right.record(), &app, &pack, prover.share(), &mut rng(2)).unwrap();
            match prover.finish(&answer) {
                Ok((confirm, key)) => {
                    assert!(agrees, "{case}");
                    assert_eq!(verifier.finish(&confirm).unwrap(), key, "{case}");
                }
                Err(e) => assert!(!agrees && e == Error::NotAuthentic, "{case}"),
            }
        }
    }

    #[test]
    fn altered_reflected_and_invalid_messages_are_refused() {
        let (app, pack) = ids();
        let (secret, mut rng) = (secret(1), rng(3));
        let answer = |prover: &Prover, rng: &mut ChaCha20Rng| {
            Verifier::answer(&secret.record(), &app, &pack, prover.share(), rng).unwrap()
        };
        for i in (0..ANSWER_LEN).step_by(7) {
            let prover = Prover::start(&secret, &app, &pack, &mut rng);
            let (_, mut bytes) = answer(&prover, &mut rng);
            bytes[i] ^= 1;
            assert!(prover.finish(&bytes).is_err(), "byte {i}");
        }
        let prover = Prover::start(&secret, &app, &pack, &mut rng);
        let (verifier, mut bytes) = answer(&prover, &mut rng);
        let mut confirm_v = [0; CONFIRMATION_LEN];
        confirm_v.copy_from_slice(&bytes[SHARE_LEN..]);
        assert_eq!(verifier.finish(&confirm_v).err(), Some(Error::NotAuthentic), "confirmV as confirmP");
        bytes[..SHARE_LEN].copy_from_slice(&{ *prover.share() });
        assert_eq!(prover.finish(&bytes).err(), Some(Error::InvalidKey), "reflected share");

        let good = *Prover::start(&secret, &app, &pack, &mut rng).share();
        let mut cases = std::vec![[0; SHARE_LEN]];
        for head in [0x00, 0x02, 0x03, 0x05, 0x06, 0x07] {
            let mut bad = good;
            bad[0] = head;
            cases.push(bad);
        }
        let mut off_curve = good;
        off_curve[64] ^= 1;
        cases.push(off_curve);
        let mut too_big = good;
        too_big[1..33].fill(0xFF);
        cases.push(too_big);
        for bad in cases {
            let refused = Verifier::answer(&secret.record(), &app, &pack, &bad, &mut rng);
            assert_eq!(refused.err(), Some(Error::InvalidKey), "{:02x}", bad[0]);
            let prover = Prover::start(&secret, &app, &pack, &mut rng);
            let mut answer = [0; ANSWER_LEN];
            answer[..SHARE_LEN].copy_from_slice(&bad);
            assert_eq!(prover.finish(&answer).err(), Some(Error::InvalidKey), "{:02x}", bad[0]);
        }
    }

    #[test]
    fn records_are_checked_when_read() {
        let record = secret(1).record();
        assert_eq!(Record::from_slice(record.expose()).unwrap(), record);
        let mut zero = *record.expose();
        zero[..32].fill(0);
        let mut big = *record.expose();
        big[..32].fill(0xFF);
        let mut off_curve = *record.expose();
        off_curve[96] ^= 1;
        for bad in [zero, big, off_curve] {
            assert_eq!(Record::from_slice(&bad).err(), Some(Error::InvalidKey));
        }
        assert!(Record::from_slice(&record.expose()[..96]).is_err());
        assert_ne!(record.commitment(&ids().0), record.commitment(&ids().1));
    }

    /// A generator that gives one scalar: 64 bytes that the library reduces modulo the order.
    struct Scalar([u8; 32]);

    impl rand_core::TryRng for Scalar {
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
    impl rand_core::TryCryptoRng for Scalar {}

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    struct Known<'a> {
        context: Context<'a>,
        w: [[u8; 40]; 2],
        l: &'static str,
        scalars: [[u8; 32]; 2],
        shares: [&'static str; 2],
        confirmations: [&'static str; 2],
        shared: &'static str,
    }

    fn reproduce(known: &Known<'_>) -> Record {
        let mut stretched = [0; STRETCHED_LEN];
        stretched[..40].copy_from_slice(&known.w[0]);
        stretched[40..].copy_from_slice(&known.w[1]);
        let secret = ProverSecret::from_stretched(&Secret::new(stretched)).unwrap();
        let record = secret.record();
        assert_eq!(hex::encode(&record.expose()[32..]), known.l);
        let prover = Prover::start_in(&secret, &known.context, &mut Scalar(known.scalars[0]));
        assert_eq!(hex::encode(prover.share()), known.shares[0]);
        let share = *prover.share();
        let (verifier, answer) =
            Verifier::answer_in(&record, &known.context, &share, &mut Scalar(known.scalars[1])).unwrap();
        assert_eq!(hex::encode(&answer[..SHARE_LEN]), known.shares[1]);
        assert_eq!(hex::encode(&answer[SHARE_LEN..]), known.confirmations[1]);
        let (confirm, key) = prover.finish(&answer).unwrap();
        assert_eq!(hex::encode(confirm), known.confirmations[0]);
        assert_eq!(hex::encode(key.expose()), known.shared);
        assert_eq!(verifier.finish(&confirm).unwrap(), key);
        record
    }

    fn padded(scalar: &str) -> [u8; 40] {
        let mut out = [0; 40];
        out[8..].copy_from_slice(&bytes::<32>(scalar));
        out
    }

    /// RFC 9383, appendix C, P256-SHA256-HKDF-SHA256-HMAC-SHA256.
    #[test]
    fn the_vector_of_rfc_9383() {
        reproduce(&Known {
            context: Context {
                context: b"SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256 Test Vectors",
                prover_id: b"client",
                verifier_id: b"server",
            },
            w: [
                padded("bb8e1bbcf3c48f62c08db243652ae55d3e5586053fca77102994f23ad95491b3"),
                padded("7e945f34d78785b8a3ef44d0df5a1a97d6b3b460409a345ca7830387a74b1dba"),
            ],
            l: "04eb7c9db3d9a9eb1f8adab81b5794c1f13ae3e225efbe91ea487425854c7fc00f00bfedcbd09b2400142d40a14f2064ef31dfaa903b91d1faea7093d835966efd",
            scalars: [
                bytes("d1232c8e8693d02368976c174e2088851b8365d0d79a9eee709c6a05a2fad539"),
                bytes("717a72348a182085109c8d3917d6c43d59b224dc6a7fc4f0483232fa6516d8b3"),
            ],
            shares: [
                "04ef3bd051bf78a2234ec0df197f7828060fe9856503579bb1733009042c15c0c1de127727f418b5966afadfdd95a6e4591d171056b333dab97a79c7193e341727",
                "04c0f65da0d11927bdf5d560c69e1d7d939a05b0e88291887d679fcadea75810fb5cc1ca7494db39e82ff2f50665255d76173e09986ab46742c798a9a68437b048",
            ],
            confirmations: [
                "926cc713504b9b4d76c9162ded04b5493e89109f6d89462cd33adc46fda27527",
                "9747bcc4f8fe9f63defee53ac9b07876d907d55047e6ff2def2e7529089d3e68",
            ],
            shared: "0c5f8ccd1413423a54f6c1fb26ff01534a87f893779c6e68666d772bfd91f3e7",
        });
    }

    /// Code 7Z3K-9QXM-20AB-R on pack-0001, x = 32 bytes 31, y = 32 bytes 32, computed from the RFC's text in Python.
    #[test]
    fn a_run_under_our_context() {
        let (app, pack) = (Cid::of("app-0001").0, Cid::of("pack-0001").0);
        assert_eq!(Code::parse("7z3k9qxm2oabr").unwrap().characters(), b"7Z3K9QXM20AB");
        let record = reproduce(&Known {
            context: Context { context: b"modbatt1 pake", prover_id: &app, verifier_id: &pack },
            w: [
                bytes("19945a2f255fb283c64c9eb445e3a41369ed510f82f3d6bb70604b495379d99a83a09aa4c4af3d9c"),
                bytes("8ea07a8a5657dfbc6d541c3b30c2a232d41fcacc1804ecf46fe6d107f0055186fd2691a4f7f7b4c6"),
            ],
            l: "04f254a0ac2b29b954149a0d380ee52404fa60c8fd3ed983684a1ae6a5a11c17fc1a45f4d859e7084d7cb3e9f2c01f22ff9714c490a24671f9afca8a92c99a4704",
            scalars: [[0x31; 32], [0x32; 32]],
            shares: [
                "04cab9943d8295d5298b6287c67d24cc7512d07bc6cd5096860e50bc640038fb3d04aed3070d43319e4dc60c3733abb81002ee406bbd50ad6f36da95c86c03f8fc",
                "0492ff3820183b92a818779a805863521db4647afc0070803bb9988db7c54d8ce8e4ffc3d956a86c0dc72fc9f1fd99214b01055924781c16353b332561d8c47ac4",
            ],
            confirmations: [
                "35730cec9dcccf695d0812d1e3926a758a55cd19efeb4db36a135282dd19d48f",
                "a7a681b6ae46cbf2fc309a7fbe636c78535a2f0209dbe24a942945314afe01d3",
            ],
            shared: "e942701d89d305f86ff9381218b7316f8caab798a356d0143423970cd7ac550f",
        });
        assert_eq!(
            hex::encode(record.commitment(&Cid(pack))),
            "315b2da166ce3d3f530bed5a26a04d2c0cbd2f7cdb992f2043a70eba0fd6640f"
        );
    }
}
