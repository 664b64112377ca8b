//! Groups `rekey`, `resume`, `level5`, `completion`, `audit` and `nvrec`: what happens on and beside a channel.

use lct::{
    audit::{self, AuditChain},
    command::SignedCommand,
    counter::Reservation,
    hash::sha256,
    pairing::Completion,
    resume::Session,
    schedule::{Direction, Tier},
    secret::Secret,
};

use super::handshake::Channel;
use super::keys::{Pairing, Parties, same_signature, sign};
use super::messages::{Channels, traffic};
use super::sheet::{Problem, Sheet, Stop};

/// Group `rekey`: epoch 1 of a channel after a rotation.
pub fn rekey(sheet: &mut Sheet<'_>, channels: &Channels) -> Result<Channel, Stop> {
    let channel = channels.of(sheet, "rekey", Some("handshake_pair"))?;
    let (nonce_a, nonce_b) = (sheet.fixed("rekey.nA")?, sheet.fixed("rekey.nB")?);
    let salt = sheet.fixed("rekey.salt")?;
    let master = channel.master.rekey(1, &nonce_a, &nonce_b, &salt).map_err(|e| sheet.refuse("rekey", e))?;
    sheet.same("rekey.MS1", master.0.expose());
    let channel = Channel { master, ..channel.clone() };
    let ts = traffic(sheet, "rekey", &channel, (Tier::Pair, Direction::Ab, 1))?;
    let key = ts.key().map_err(|e| sheet.refuse("rekey", e))?;
    sheet.same("rekey.key_pair_ab_e1", key.expose());
    Ok(channel)
}

/// Group `resume`: the next epoch of a channel after a start.
pub fn resume(sheet: &mut Sheet<'_>, channels: &Channels) -> Result<Channel, Stop> {
    let channel = channels.of(sheet, "resume", None)?;
    let (nonce_a, nonce_b) = (sheet.fixed("inputs.N_A")?, sheet.fixed("inputs.N_B")?);
    let boot_a = sheet.number("resume.boot_ctr_A")?;
    let boot_b = sheet.number("resume.boot_ctr_B")?;
    let epoch = sheet.number("resume.epoch")?;
    let session = Session { master: &channel.master, epoch, channel: channel.id };
    let run = || {
        let m1 = session.request(boot_a, &nonce_a);
        let m2 = session.respond(&m1, boot_b, &nonce_b)?;
        let (m3, of_a) = session.confirm(&m1, &m2)?;
        let of_b = session.finish(&m1, &m2, &m3)?;
        if of_a == of_b { Ok((m1, m2, m3, of_a)) } else { Err(lct::Error::NotAuthentic) }
    };
    let (m1, m2, m3, master) = run().map_err(|e: lct::Error| sheet.refuse("resume", e))?;
    sheet.same("resume.M1", &m1);
    sheet.same("resume.M2", &m2);
    sheet.same("resume.M3", &m3);
    sheet.same("resume.MS1", master.0.expose());
    Ok(Channel { master, ..channel.clone() })
}

/// Group `level5`: a signed command.
pub fn level5(sheet: &mut Sheet<'_>, parties: &Parties, channels: &Channels) -> Result<(), Stop> {
    let channel = channels.of(sheet, "level5", Some("handshake_pair"))?;
    let epoch = if sheet.has("level5.epoch") { sheet.number("level5.epoch")? } else { 0 };
    let command = sheet.bytes("inputs.level5.cmd")?;
    sheet.same("level5.cmd", &command);
    let command = SignedCommand {
        base: sheet.number("inputs.level5.type")?,
        seq: sheet.number("inputs.level5.seq")?,
        challenge: u32::from_be_bytes(sheet.fixed("inputs.level5.challenge")?),
        ttl_ms: sheet.number("inputs.level5.ttl_ms")?,
        command: &command,
    };
    let digest = command.digest(&channel.th4, epoch);
    sheet.same("level5.digest", &digest);
    let signature = sign(sheet, "level5.sigA", parties.a.signing_key(), &digest)?;
    let key = parties.a.public().sign_pub();
    same_signature(sheet, "level5.sigA", &signature.0, &key, |_| digest);
    Ok(())
}

/// Group `completion`: what both entities sign once a pairing stands.
pub fn completion(
    sheet: &mut Sheet<'_>,
    parties: &Parties,
    pairing: &Pairing,
    channels: &Channels,
) -> Result<(), Stop> {
    let channel = channels.of(sheet, "completion", Some("handshake_pair"))?;
    let done = Completion {
        pairing_id: pairing.id,
        nonce: pairing.nonce,
        cert_hash: pairing.cert_hash,
        th4: channel.th4,
    };
    let digest = done.digest();
    sheet.same("completion.digest", &digest);
    for (entry, key) in [("completion.sigA", &parties.a), ("completion.sigB", &parties.b)] {
        let signature = sign(sheet, entry, key.signing_key(), &digest)?;
        same_signature(sheet, entry, &signature.0, &key.public().sign_pub(), |_| digest);
    }
    Ok(())
}

/// Group `audit`.
pub fn audit(sheet: &mut Sheet<'_>) -> Result<(), Stop> {
    let genesis = sha256(&[b"modbatt1 log", &[0; 32], &0u64.to_be_bytes(), &0u16.to_be_bytes()]);
    sheet.same("audit.h_0", &genesis);
    sheet.same("audit.h_0", &audit::genesis());
    let mut chain = AuditChain::new(Secret::new(sheet.fixed("audit.k_1")?));
    for i in 0..sheet.len("audit.chain") {
        let at = |field: &str| format!("audit.chain[{i}].{field}");
        let entry = sheet.bytes(&at("entry"))?;
        let link = chain.append(&entry).map_err(|e| sheet.refuse(&at("entry"), e))?;
        sheet.same_number(&at("n"), link.number);
        sheet.same(&at("hash"), &link.hash);
        sheet.same(&at("tag"), &link.tag);
    }
    Ok(())
}

/// Group `nvrec`: a counter reservation in flash.
pub fn nvrec(sheet: &mut Sheet<'_>) -> Result<(), Stop> {
    let tier: u8 = sheet.number("nvrec.tier")?;
    let tiers = [Tier::Dev, Tier::Exch, Tier::Pair, Tier::Bind, Tier::Group];
    let Some(tier) = tiers.into_iter().find(|t| *t as u8 == tier) else {
        sheet.fail("nvrec.tier", Problem::Malformed(format!("{tier} is no tier, 0 to 4 are")));
        return Err(Stop("nvrec.tier is malformed".to_owned()));
    };
    let direction = match sheet.number::<u8>("nvrec.dir")? {
        0 => Direction::Ab,
        1 => Direction::Ba,
        other => {
            sheet.fail("nvrec.dir", Problem::Malformed(format!("{other} is no direction, 0 and 1 are")));
            return Err(Stop("nvrec.dir is malformed".to_owned()));
        }
    };
    let reservation = Reservation {
        slot: sheet.number("nvrec.slot")?,
        tier,
        direction,
        epoch: sheet.number("nvrec.epoch")?,
        sequence: sheet.number("nvrec.rec_seq")?,
        limit: sheet.number("nvrec.ctr_limit")?,
    };
    let key = Secret::new(sheet.fixed("nvrec.knv")?);
    let record = reservation.encode(&key);
    sheet.same("nvrec.record", &record);
    match Reservation::decode(&record, &key) {
        Ok(read) if read == reservation => Ok(()),
        _ => Err(sheet.refuse("nvrec.record", "it does not read back")),
    }
}
