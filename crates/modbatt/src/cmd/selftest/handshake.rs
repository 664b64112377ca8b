//! Groups `handshake_pair`, `handshake_dev` and `handshake_dev_sas`.
//!
//! Each run is computed twice: by the library, whose two roles exchange the messages, and by the formulas of
//! `spec/channel.md` (H12, H21 to H23) written out here, which also yield the values in between.

use lct::{
    Digest, SUITE,
    exchange::{Side, open_half, seal_half},
    handshake::{
        self, COMMITTED, Context, Ephemeral, Established, Initiator, Kind, Message, Psk, Responder, SIGNED,
    },
    hash::sha256,
    schedule::{ChannelId, MasterSecret, derive, extract, mac16},
    sign::{Signature, SigningKey},
};

use super::hpke;
use super::keys::{Pairing, Parties};
use super::sheet::{Sheet, Stop};

/// A channel in one epoch.
#[derive(Clone)]
pub struct Channel {
    /// Master secret of the epoch.
    pub master: MasterSecret,
    /// Identifier of the channel.
    pub id: ChannelId,
    /// Names the session; survives rekeying.
    pub th4: Digest,
}

/// What both sides draw for a run, and how often they have started; the same in all runs.
struct Drawn {
    ephemeral_a: [u8; 32],
    ephemeral_b: [u8; 32],
    nonce_a: [u8; 16],
    nonce_b: [u8; 16],
    boot_a: u32,
    boot_b: u32,
}

fn drawn(sheet: &mut Sheet<'_>) -> Result<Drawn, Stop> {
    Ok(Drawn {
        ephemeral_a: sheet.fixed("inputs.ephemeral_A")?,
        ephemeral_b: sheet.fixed("inputs.ephemeral_B")?,
        nonce_a: sheet.fixed("inputs.N_A")?,
        nonce_b: sheet.fixed("inputs.N_B")?,
        boot_a: sheet.number("inputs.boot_ctr_A")?,
        boot_b: sheet.number("inputs.boot_ctr_B")?,
    })
}

/// Group `handshake_pair`.
pub fn pair(sheet: &mut Sheet<'_>, parties: &Parties, pairing: &Pairing) -> Result<Channel, Stop> {
    let policy_hash = sha256(&[&sheet.bytes("inputs.policy")?]);
    let salt = sheet.fixed("inputs.salt")?;
    let drawn = drawn(sheet)?;
    sheet.same("handshake_pair.policy_hash", &policy_hash);
    sheet.same("handshake_pair.salt", &salt);
    sheet.same("handshake_pair.eA", &drawn.ephemeral_a);
    sheet.same("handshake_pair.eB", &drawn.ephemeral_b);
    let mut exchange = |side, path: &str, half| {
        let message = seal_half(side, half, &pairing.xk, &pairing.cm_hash, &pairing.id)
            .map_err(|e| sheet.refuse(path, e))?;
        sheet.same(path, &message);
        match open_half(side, &message, &pairing.xk, &pairing.cm_hash, &pairing.id) {
            Ok(opened) if &opened == half => Ok(message),
            _ => Err(sheet.refuse(path, "the other side does not open it")),
        }
    };
    let hx_a = exchange(Side::A, "handshake_pair.HXA", &pairing.half_a)?;
    let hx_b = exchange(Side::B, "handshake_pair.HXB", &pairing.half_b)?;
    let context = Context {
        kind: Kind::Pair,
        flags: SIGNED,
        cid_a: parties.cid_a,
        cid_b: parties.cid_b,
        spk_a: Some(parties.a.public()),
        spk_b: Some(parties.b.public()),
        cert_hash: Some(pairing.cert_hash),
        policy_hash,
        salt,
    };
    let run = Run {
        group: "handshake_pair",
        context,
        drawn,
        psk: [pairing.half_a.expose().as_slice(), pairing.half_b.expose(), &salt].concat(),
        halves: Some((hx_a, hx_b)),
        keys: Some((parties.a.signing_key(), parties.b.signing_key())),
    };
    run.compute(sheet)
}

/// Groups `handshake_dev` and, with the flag [`COMMITTED`], `handshake_dev_sas`.
pub fn dev(
    sheet: &mut Sheet<'_>,
    parties: &Parties,
    group: &'static str,
    flags: u8,
) -> Result<Channel, Stop> {
    let policy_hash = sha256(&[&sheet.bytes("inputs.policy")?]);
    let salt = sheet.fixed::<32>("inputs.salt")?;
    let half_a: [u8; 64] = sheet.fixed("inputs.device_key_half_A")?;
    let half_b: [u8; 64] = sheet.fixed("inputs.device_key_half_B")?;
    if flags & COMMITTED == 0 {
        sheet.same(&format!("{group}.device_key_half_A"), &half_a);
        sheet.same(&format!("{group}.device_key_half_B"), &half_b);
    }
    let context = Context {
        kind: Kind::Dev,
        flags,
        cid_a: parties.cid_a,
        cid_b: parties.cid_b,
        spk_a: None,
        spk_b: None,
        cert_hash: None,
        policy_hash,
        salt,
    };
    let psk = [&half_a[..], &half_b, &salt].concat();
    let run = Run { group, context, drawn: drawn(sheet)?, psk, halves: None, keys: None };
    run.compute(sheet)
}

/// One handshake with everything that goes into it.
struct Run<'a> {
    group: &'static str,
    context: Context,
    drawn: Drawn,
    psk: Vec<u8>,
    halves: Option<([u8; 60], [u8; 60])>,
    keys: Option<(&'a SigningKey, &'a SigningKey)>,
}

/// What went over the bus.
struct Messages {
    m0: Option<Message>,
    m1: Message,
    m2: Message,
    m3: Message,
}

impl Run<'_> {
    fn entry(&self, field: &str) -> String {
        format!("{}.{field}", self.group)
    }

    fn compute(&self, sheet: &mut Sheet<'_>) -> Result<Channel, Stop> {
        for (side, scalar) in [("A", &self.drawn.ephemeral_a), ("B", &self.drawn.ephemeral_b)] {
            if hpke::public_of(scalar).is_none() {
                return Err(sheet.refuse(&format!("inputs.ephemeral_{side}"), "no scalar of P-256"));
            }
        }
        let (messages, established) = self.exchange().map_err(|e| sheet.refuse(self.group, e))?;
        if let Some(m0) = &messages.m0 {
            sheet.same(&self.entry("M0"), m0);
        }
        sheet.same(&self.entry("M1"), &messages.m1);
        sheet.same(&self.entry("M2"), &messages.m2);
        sheet.same(&self.entry("M3"), &messages.m3);
        sheet.same(&self.entry("TH4"), &established.th4);
        sheet.same(&self.entry("MS0"), established.master.0.expose());
        sheet.same(&self.entry("chan_id"), &established.channel_id());
        self.beside(sheet, &messages)?;
        Ok(Channel { id: established.channel_id(), th4: established.th4, master: established.master })
    }

    /// Both roles of the library. Fails when one of them does not accept the other's message.
    fn exchange(&self) -> Result<(Messages, Established), lct::Error> {
        let context = &self.context;
        let ephemeral_a = Ephemeral::from_parts(&self.drawn.ephemeral_a, self.drawn.nonce_a)?;
        let ephemeral_b = Ephemeral::from_parts(&self.drawn.ephemeral_b, self.drawn.nonce_b)?;
        let parts = [self.psk.as_slice()];
        let psk = Psk(&parts);
        let signer = |key: Option<&SigningKey>| {
            key.cloned().map(|key| move |d: &Digest| -> Signature { key.sign_rfc6979(d) })
        };
        let m0 =
            (context.flags & COMMITTED != 0).then(|| handshake::commit(context, &ephemeral_b)).transpose()?;
        let (initiator, m1) = Initiator::start(
            context,
            ephemeral_a,
            self.drawn.boot_a,
            self.halves.as_ref().map(|h| &h.0),
            m0.as_deref(),
        )?;
        let (responder, m2) = Responder::answer_signing(
            context,
            ephemeral_b,
            self.drawn.boot_b,
            m0.as_deref(),
            &m1,
            self.halves.as_ref().map(|h| &h.1),
            &psk,
            signer(self.keys.map(|k| k.1)),
        )?;
        let (m3, of_a) = initiator.finish_signing(context, &m2, &psk, signer(self.keys.map(|k| k.0)))?;
        let of_b = responder.finish(context, &m3)?;
        if of_a.th4 != of_b.th4 || of_a.master != of_b.master {
            return Err(lct::Error::NotAuthentic);
        }
        Ok((Messages { m0, m1, m2, m3 }, of_a))
    }

    /// The formulas of `spec/channel.md` (H12, H21 to H23) over the messages.
    fn beside(&self, sheet: &mut Sheet<'_>, messages: &Messages) -> Result<(), Stop> {
        let Messages { m0, m1, m2, m3 } = messages;
        let context = &self.context;
        let signed = context.flags & SIGNED != 0;
        let hash_of = |spk: &Option<lct::spk::Spk>| match spk {
            Some(spk) if signed => sha256(&[&spk.0]),
            _ => [0; 32],
        };
        let th0 = sha256(&[
            b"modbatt1 hs",
            &[context.kind as u8, SUITE, context.flags],
            &context.cid_a.0,
            &context.cid_b.0,
            &hash_of(&context.spk_a),
            &hash_of(&context.spk_b),
            &context.cert_hash.unwrap_or([0; 32]),
            &context.policy_hash,
        ]);
        let th1 = sha256(&[&th0, m0.as_deref().unwrap_or(&[]), m1]);
        let core = m2.len() - if signed { 80 } else { 16 };
        let th2 = sha256(&[&th1, &m2[..core]]);
        let th3 = sha256(&[&th2, &m2[core..]]);
        let th4 = sha256(&[&th3, &m3[4..]]);
        let public_b = hpke::public_of(&self.drawn.ephemeral_b);
        let Some(dh1) = public_b.and_then(|b| hpke::agree(&self.drawn.ephemeral_a, &b)) else {
            return Err(Stop("the ephemeral keys do not agree".to_owned()));
        };
        let too_long = |e: lct::Error| Stop(e.to_string());
        let s0 = extract(&context.salt, &[&self.psk]);
        let hs_salt = derive::<32>(&s0, "hs salt", &[&th0]).map_err(too_long)?;
        let s1 = extract(hs_salt.expose(), &[&dh1]);
        let ms0 = derive::<32>(&s1, "ms", &[&th4]).map_err(too_long)?;
        for (field, value) in [
            ("TH0", &th0),
            ("TH1", &th1),
            ("TH2", &th2),
            ("TH3", &th3),
            ("TH4", &th4),
            ("DH1", &dh1),
            ("S0", s0.expose()),
            ("S1", s1.expose()),
            ("MS0", ms0.expose()),
        ] {
            sheet.same(&self.entry(field), value);
        }
        if context.flags & COMMITTED != 0 {
            let digits = derive::<4>(&s1, "sas", &[&th4]).map_err(too_long)?;
            let digits = u32::from_be_bytes(*digits.expose()) % 1_000_000;
            sheet.same_text(&self.entry("SAS"), &format!("{digits:06}"));
        }
        for (field, label, th, mac) in
            [("M2", "fin b", &th2, &m2[core..core + 16]), ("M3", "fin a", &th3, &m3[4..20])]
        {
            let key = derive::<32>(&s1, label, &[th]).map_err(too_long)?;
            if mac16(key.expose(), &[th]) != mac {
                return Err(sheet.refuse(&self.entry(field), "its MAC is not the one of the formulas"));
            }
        }
        Ok(())
    }
}
