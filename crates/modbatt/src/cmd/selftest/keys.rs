//! Groups `label`, `spk` and `cert`: derivation, semi-public keys, the pairing certificate.

use lct::{
    Digest, SUITE,
    certificate::{Certificate, VALIDATION_BUFFER},
    exchange::{Side, pairing_key},
    hash::sha256,
    id::{Cid, PairingId},
    schedule::{derive, extract, mac},
    secret::Secret,
    sign::{PublicKey, Signature, SigningKey},
    spk::SpkSecret,
};

use super::hpke;
use super::sheet::{Sheet, Stop};

/// HKDF-Expand (RFC 5869) of any length up to 255 blocks.
pub fn expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut okm = Vec::with_capacity(len + 32);
    let mut block: Vec<u8> = Vec::new();
    for counter in 1..=len.div_ceil(32).min(255) {
        block = mac(prk, &[&block, info, &[counter as u8]]).to_vec();
        okm.extend_from_slice(&block);
    }
    okm.truncate(len);
    okm
}

/// `Derive` of the key schedule (`spec/channel.md`, H20), computed beside the library's own.
fn derive_beside(secret: &[u8], label: &str, ctx: &[u8], len: u16) -> Vec<u8> {
    let label = [b"modbatt1 ", label.as_bytes()].concat();
    let info = [&len.to_be_bytes()[..], &[label.len() as u8], &label, &[ctx.len() as u8], ctx].concat();
    expand(secret, &info, usize::from(len))
}

/// Group `label`.
pub fn label(sheet: &mut Sheet<'_>) -> Result<(), Stop> {
    let secret = sheet.bytes("label.secret")?;
    let label = sheet.text("label.label")?;
    let ctx = sheet.bytes("label.ctx")?;
    let len: u16 = sheet.number("label.L")?;
    if label.len() > 246 || ctx.len() > 255 {
        return Err(sheet.refuse("label.label", "label or context is longer than one length byte can say"));
    }
    if len > 255 * 32 {
        return Err(sheet.refuse("label.L", "HKDF-SHA256 yields at most 8160 bytes"));
    }
    sheet.same("label.okm", &derive_beside(&secret, label, &ctx, len));
    if let (Ok(secret), 32) = (Secret::from_slice(&secret), len)
        && let Ok(okm) = derive::<32>(&secret, label, &[&ctx])
    {
        sheet.same("label.okm", okm.expose());
    }
    Ok(())
}

/// Who takes part: side A, side B and the authority C.
pub struct Parties {
    /// Relationship key of A.
    pub a: SpkSecret,
    /// Relationship key of B.
    pub b: SpkSecret,
    /// Relationship key of the authority.
    pub c: SpkSecret,
    /// Identifier of A.
    pub cid_a: Cid,
    /// Identifier of B.
    pub cid_b: Cid,
}

/// Group `spk`.
pub fn spk(sheet: &mut Sheet<'_>) -> Result<Parties, Stop> {
    let mut secret = |side: &str| {
        let path = format!("inputs.spk_seed_{side}");
        let seed = sheet.fixed(&path)?;
        SpkSecret::from_seed(Secret::new(seed)).map_err(|e| sheet.refuse(&path, e))
    };
    let (a, b, c) = (secret("A")?, secret("B")?, secret("C")?);
    let cid_a = Cid::of(sheet.text("inputs.component_id_A")?);
    let cid_b = Cid::of(sheet.text("inputs.component_id_B")?);
    for (side, key, cid) in [("A", &a, cid_a), ("B", &b, cid_b)] {
        sheet.same(&format!("spk.cid{side}"), &cid.0);
        sheet.same(&format!("spk.seed{side}"), key.seed().expose());
        sheet.same(&format!("spk.SPK{side}"), &key.public().0);
        sheet.same(&format!("spk.id{side}"), &key.public().id().0);
    }
    Ok(Parties { a, b, c, cid_a, cid_b })
}

/// What a pairing is made of.
pub struct Pairing {
    /// Its identifier.
    pub id: PairingId,
    /// Half of the pairing key for A.
    pub half_a: Secret<32>,
    /// Half of the pairing key for B.
    pub half_b: Secret<32>,
    /// Exchange key.
    pub xk: Secret<32>,
    /// Hash of the clear metadata.
    pub cm_hash: Digest,
    /// Hash of the certificate.
    pub cert_hash: Digest,
    /// Nonce that section V reveals.
    pub nonce: [u8; 32],
}

/// Compares a signature, or bytes that end with one, with the RFC 6979 signature over `digest`.
///
/// `digest` is asked for the digest that the signature in the file would have to cover.
pub fn same_signature(
    sheet: &mut Sheet<'_>,
    path: &str,
    computed: &[u8],
    key: &PublicKey,
    digest: impl Fn(&[u8]) -> Digest,
) {
    sheet.same_or(path, computed, |file| {
        let verifies = file
            .split_last_chunk::<64>()
            .map(|(before, sig)| key.verify(&digest(before), &Signature(*sig)).is_ok());
        match verifies {
            Some(true) => "its signature verifies, but is not the one of RFC 6979 over this computation",
            Some(false) => "its signature does not verify",
            None => "it is too short for a signature",
        }
        .to_owned()
    });
}

/// Signs with RFC 6979 and verifies the result.
pub fn sign(sheet: &mut Sheet<'_>, path: &str, key: &SigningKey, digest: &Digest) -> Result<Signature, Stop> {
    let signature = key.sign_rfc6979(digest);
    key.public().verify(digest, &signature).map_err(|e| sheet.refuse(path, e))?;
    Ok(signature)
}

/// A certificate and the values that lead to it.
struct Made {
    info_a: [u8; 90],
    sections: [Vec<u8>; 2],
    pk_commit: Secret<32>,
    key_v: Secret<32>,
    section_v: Vec<u8>,
    certificate: Vec<u8>,
}

/// Group `cert`.
pub fn cert(sheet: &mut Sheet<'_>, parties: &Parties) -> Result<Pairing, Stop> {
    let id = PairingId(sheet.fixed("inputs.pairing_id")?);
    let pk64: [u8; 64] = sheet.fixed("inputs.pk64")?;
    let xk = Secret::new(sheet.fixed("inputs.xk")?);
    let clear_metadata = sheet.bytes("inputs.clear_metadata")?;
    sheet.same("cert.pk64", &pk64);
    sheet.same("cert.xk", xk.expose());
    sheet.same("cert.clear_metadata", &clear_metadata);
    sheet.same("cert.SPKC", &parties.c.public().0);
    let cm_hash = sha256(&[&clear_metadata]);
    sheet.same("cert.cm_hash", &cm_hash);
    let half = |half: &[u8]| Secret::<32>::from_slice(half).map_err(|e| Stop(e.to_string()));
    let (half_a, half_b) = (half(&pk64[..32])?, half(&pk64[32..])?);
    let nonce = sheet.fixed("inputs.validation_nonce")?;
    let mut pairing = Pairing { id, half_a, half_b, xk, cm_hash, cert_hash: [0; 32], nonce };

    let made = make(sheet, parties, &pairing, &clear_metadata)?;
    sheet.same("cert.info_A", &made.info_a);
    sheet.same("cert.secA", &made.sections[0]);
    sheet.same("cert.secB", &made.sections[1]);
    sheet.same("cert.pk_commit", made.pk_commit.expose());
    sheet.same("cert.K_V", made.key_v.expose());
    sheet.same("cert.secV", &made.section_v);
    sheet.same_number("cert.cert_len", made.certificate.len() as u64);
    let authority = parties.c.public().sign_pub();
    same_signature(sheet, "cert.cert", &made.certificate, &authority, |before| {
        sha256(&[b"modbatt1 paircert", before])
    });
    pairing.cert_hash = sha256(&[&made.certificate]);
    sheet.same("cert.cert_hash", &pairing.cert_hash);
    receive(sheet, parties, &pairing, &made.certificate)?;
    Ok(pairing)
}

/// Builds the certificate from the given ephemerals and IV (`spec/channel.md`, H51).
fn make(sheet: &mut Sheet<'_>, parties: &Parties, pairing: &Pairing, metadata: &[u8]) -> Result<Made, Stop> {
    const EPHEMERAL_IS: &str = "scalar skE";
    if sheet.text("inputs.hpke_ephemeral_is")? != EPHEMERAL_IS {
        return Err(sheet.refuse("inputs.hpke_ephemeral_is", format!("only `{EPHEMERAL_IS}` is known")));
    }
    let Ok(metadata_len) = u16::try_from(metadata.len()) else {
        return Err(sheet.refuse("inputs.clear_metadata", "longer than 65535 bytes"));
    };
    let spks = [&parties.a, &parties.b, &parties.c].map(SpkSecret::public);
    let info = |tag: u8| {
        let mut info = [0; 90];
        info[..17].copy_from_slice(b"modbatt1 cert-sec");
        info[17] = tag;
        info[18..34].copy_from_slice(&pairing.id.0);
        info[34..66].copy_from_slice(&pairing.cm_hash);
        for (slot, spk) in info[66..].chunks_exact_mut(8).zip(&spks) {
            slot.copy_from_slice(&spk.id().0);
        }
        info
    };
    let mut section = |side: &str, tag: u8, spk: &lct::spk::Spk, half: &Secret<32>| {
        let path = format!("inputs.hpke_ephemeral_{side}");
        let ephemeral = sheet.fixed(&path)?;
        let plain = [half.expose().as_slice(), &pairing.cm_hash, pairing.xk.expose()].concat();
        let sealed = hpke::seal(&ephemeral, &spk.kem_pub(), &info(tag), &plain)
            .ok_or_else(|| sheet.refuse(&path, "no scalar of P-256"))?;
        Ok([&[tag][..], &spk.id().0, &sealed].concat())
    };
    let sections =
        [section("A", 0x0A, &spks[0], &pairing.half_a)?, section("B", 0x0B, &spks[1], &pairing.half_b)?];

    let pk = pairing_key(&pairing.half_a, &pairing.half_b).map_err(|e| sheet.refuse("inputs.pk64", e))?;
    let prk = extract(&pairing.cm_hash, &[pk.expose()]);
    let derived = |label| derive::<32>(&prk, label, &[&pairing.id.0]).map_err(|e| Stop(e.to_string()));
    let (key_v, pk_commit) = (derived("cert v")?, derived("pk commit")?);
    let token_digest = sha256(&[b"modbatt1 vtoken", &pairing.id.0, &pairing.nonce]);
    let token = sign(sheet, "cert.secV", parties.c.signing_key(), &token_digest)?;
    let endpoint = sheet.text("inputs.endpoint")?;
    let Ok(endpoint_len) = u8::try_from(endpoint.len()) else {
        return Err(sheet.refuse("inputs.endpoint", "longer than 255 bytes"));
    };
    let timeout: u16 = sheet.number("inputs.timeout_s")?;
    let flags: u8 = sheet.number("inputs.v_flags")?;
    let plain = [
        &pairing.nonce[..],
        &[endpoint_len],
        endpoint.as_bytes(),
        &token.0,
        &timeout.to_be_bytes(),
        &[flags],
    ]
    .concat();
    let iv = sheet.fixed("inputs.section_v_iv")?;
    let aad = [b"modbatt1 cert-v", &pairing.id.0[..], &pairing.cm_hash].concat();
    let sealed = hpke::gcm_seal(key_v.expose(), &iv, &aad, &plain)
        .ok_or_else(|| Stop("section V is too long".to_owned()))?;
    let section_v =
        [&[0x0C][..], pk_commit.expose(), &iv, &(plain.len() as u16).to_be_bytes(), &sealed].concat();

    let head = [&[1, SUITE][..], &pairing.id.0, &metadata_len.to_be_bytes(), metadata].concat();
    let signed = [head.as_slice(), &sections[0], &sections[1], &section_v].concat();
    let digest = sha256(&[b"modbatt1 paircert", &signed]);
    let signature = sign(sheet, "cert.cert", parties.c.signing_key(), &digest)?;
    let certificate = [signed.as_slice(), &signature.0].concat();
    Ok(Made { info_a: info(0x0A), sections, pk_commit, key_v, section_v, certificate })
}

/// Reads the certificate as both entities do, with the library: what was built above must be accepted there.
fn receive(sheet: &mut Sheet<'_>, parties: &Parties, pairing: &Pairing, bytes: &[u8]) -> Result<(), Stop> {
    let authority = parties.c.public();
    let checked = || -> Result<(), lct::Error> {
        let certificate = Certificate::parse(bytes)?;
        certificate.verify(&authority.sign_pub())?;
        for (side, key, half) in
            [(Side::A, &parties.a, &pairing.half_a), (Side::B, &parties.b, &pairing.half_b)]
        {
            let section = certificate.open_section(side, key, &authority)?;
            if &section.half != half || section.exchange_key != pairing.xk {
                return Err(lct::Error::NotAuthentic);
            }
        }
        let pk = pairing_key(&pairing.half_a, &pairing.half_b)?;
        let mut buffer = [0; VALIDATION_BUFFER];
        let validation = certificate.validation()?.open(&pk, &authority.sign_pub(), &mut buffer)?;
        if validation.nonce != pairing.nonce {
            return Err(lct::Error::NotAuthentic);
        }
        Ok(())
    };
    // A certificate is public, what follows from its hash can be computed although no entity would accept it.
    if let Err(e) = checked() {
        sheet.refuse("cert.cert", format!("the entities do not accept it: {e}"));
    }
    Ok(())
}
