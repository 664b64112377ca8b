//! Groups `tier_*`, `seal_*`, `frames_*` and `compact_*`: traffic keys and what they protect.

use std::collections::BTreeMap;

use lct::{
    schedule::{Direction, ExchangeTag, Tier, TrafficSecret},
    seal::{Binding, Compact, MESSAGES_MAX, Opener, Sealer},
    secret::Secret,
};
use pack::can::Id;
use pack::sealed_id::{Level, SealedId, Transport};
use pack::time::Instant;
use pack::{chunk, isotp};

use super::handshake::Channel;
use super::hpke;
use super::sheet::{Problem, Sheet, Stop};

/// Channels by the group that establishes them; what a field `source` names.
#[derive(Default)]
pub struct Channels(BTreeMap<&'static str, Channel>);

/// Groups that establish a channel or a new epoch of one.
const SOURCES: [&str; 5] = ["handshake_pair", "handshake_dev", "handshake_dev_sas", "rekey", "resume"];

impl Channels {
    /// Adds the channel of a group, if it could be computed.
    pub fn add(&mut self, group: &'static str, channel: Option<Channel>) {
        self.0.extend(channel.map(|channel| (group, channel)));
    }

    /// The channel that `group` names in its field `source`, or `default` where it may have none.
    pub fn of(&self, sheet: &mut Sheet<'_>, group: &str, default: Option<&str>) -> Result<&Channel, Stop> {
        let path = format!("{group}.source");
        let name = match default {
            Some(default) if !sheet.has(&path) => default,
            _ => sheet.text(&path)?,
        };
        if !SOURCES.contains(&name) {
            let problem = format!("`{name}` names no group that establishes a channel before this one");
            sheet.fail(&path, Problem::Malformed(problem));
            return Err(Stop(format!("{path} is malformed")));
        }
        self.0.get(name).ok_or_else(|| Stop(format!("{name} could not be computed")))
    }
}

/// Traffic secret of a channel's tier and direction; the exchange key comes from the inputs where it is needed.
pub fn traffic(
    sheet: &mut Sheet<'_>,
    group: &str,
    channel: &Channel,
    (tier, direction, epoch): (Tier, Direction, u32),
) -> Result<TrafficSecret, Stop> {
    let tag = match tier {
        Tier::Exch => Some(ExchangeTag::of(&Secret::new(sheet.fixed("inputs.xk")?))),
        _ => None,
    };
    channel
        .master
        .traffic(tier, direction, epoch, &channel.id, tag.as_ref())
        .map_err(|e| sheet.refuse(group, e))
}

/// Reads `tier_<tier>_<direction>_e<epoch>`.
fn tier_name(group: &str) -> Option<(Tier, Direction, u32)> {
    let mut parts = group.strip_prefix("tier_")?.split('_');
    let tier = match parts.next()? {
        "dev" => Tier::Dev,
        "exch" => Tier::Exch,
        "pair" => Tier::Pair,
        "bind" => Tier::Bind,
        _ => return None,
    };
    let direction = match parts.next()? {
        "ab" => Direction::Ab,
        "ba" => Direction::Ba,
        _ => return None,
    };
    let epoch = parts.next()?.strip_prefix('e')?.parse().ok()?;
    parts.next().is_none().then_some((tier, direction, epoch))
}

/// Groups `tier_*`: those that every file has, and whatever more this one has.
pub fn tiers(sheet: &mut Sheet<'_>, channels: &Channels) {
    const ALWAYS: [&str; 5] =
        ["tier_exch_ab_e0", "tier_exch_ba_e0", "tier_pair_ab_e0", "tier_pair_ba_e0", "tier_dev_ab_e0"];
    let further = sheet.groups().filter(|g| g.starts_with("tier_") && !ALWAYS.contains(g));
    for group in ALWAYS.into_iter().chain(further.collect::<Vec<_>>()) {
        let Some(name @ (tier, ..)) = tier_name(group) else { continue };
        sheet.group(group, |sheet| {
            // Only the device channel has to say which handshake it comes from: two kinds of run lead to one.
            let default = (tier != Tier::Dev).then_some("handshake_pair");
            let channel = channels.of(sheet, group, default)?;
            let ts = traffic(sheet, group, channel, name)?;
            let refused = |e: lct::Error| Stop(e.to_string());
            sheet.same(&format!("{group}.TS"), ts.0.expose());
            sheet.same(&format!("{group}.key"), ts.key().map_err(refused)?.expose());
            sheet.same(&format!("{group}.mac"), ts.mac_key().map_err(refused)?.expose());
            sheet.same(&format!("{group}.iv"), ts.iv().map_err(refused)?.expose());
            sheet.same(&format!("{group}.ckey"), ts.compact_key().map_err(refused)?.expose());
            Ok(())
        });
    }
}

/// The message that is sealed: `inputs.base` to `inputs.device` from the A side, at the pairing tier.
struct Text {
    base: u16,
    id: SealedId,
    body: Vec<u8>,
}

fn text(sheet: &mut Sheet<'_>) -> Result<Text, Stop> {
    let base: u16 = sheet.number("inputs.base")?;
    let device = sheet.number("inputs.device")?;
    let body = sheet.bytes("inputs.body")?;
    let id = SealedId::new(base, Level::Pair, Direction::Ab, device)
        .map_err(|e| sheet.refuse("inputs.base", e))?;
    Ok(Text { base, id, body })
}

/// H0, body and, up to `size` bytes, padding (`spec/channel.md`, H32). `None` when it does not fit.
fn plaintext(base: u16, body: &[u8], size: Option<usize>) -> Option<Vec<u8>> {
    const PADDED: u8 = 1 << 2;
    let mut plain = vec![(base & 3) as u8];
    plain.extend_from_slice(body);
    if let Some(size) = size {
        let pad = size.checked_sub(plain.len())?;
        if pad > 0 {
            plain[0] |= PADDED;
            plain.resize(size, 0);
            plain[size - 1] = u8::try_from(pad).ok()?;
        }
    }
    Some(plain)
}

/// Seals as the formulas say, opens with the library, and compares with what the library seals.
fn seal(ts: &TrafficSecret, binding: &Binding, counter: u64, plain: &[u8]) -> Result<Vec<u8>, lct::Error> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&ts.iv()?.expose()[..4]);
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    let len = u16::try_from(plain.len()).map_err(|_| lct::Error::BufferTooSmall)?;
    let text = hpke::gcm_seal(ts.key()?.expose(), &nonce, &binding.aad(len), plain)
        .ok_or(lct::Error::BufferTooSmall)?;
    let sealed = [&nonce[..], &text].concat();
    let mut copy = sealed.clone();
    let opened = Opener::new(ts)?.open(binding, &mut copy)?;
    if opened != (counter, plain) {
        return Err(lct::Error::NotAuthentic);
    }
    if counter < MESSAGES_MAX {
        let mut out = vec![0; sealed.len()];
        Sealer::new(ts, counter, counter + 1)?.seal(binding, &[plain], &mut out)?;
        if out != sealed {
            return Err(lct::Error::NotAuthentic);
        }
    }
    Ok(sealed)
}

/// Groups `seal_pair_ab`, `seal_fd48`, `frames_chunk` and `frames_isotp`.
pub fn seals(sheet: &mut Sheet<'_>, channels: &Channels) {
    let sealed = sheet.group("seal_pair_ab", |sheet| {
        const GROUP: &str = "seal_pair_ab";
        let text = text(sheet)?;
        let canonical = text.id.canonical().to_u32();
        let plain = plaintext(text.base, &text.body, None).unwrap_or_default();
        sheet.same_number("seal_pair_ab.base11", text.base.into());
        sheet.same_number("seal_pair_ab.can_id", (canonical & Id::MAX_EXTENDED).into());
        sheet.same_number("seal_pair_ab.can_id_canonical", canonical.into());
        sheet.same("seal_pair_ab.plaintext", &plain);
        let epoch = sheet.number("seal_pair_ab.epoch")?;
        let counter = sheet.number("seal_pair_ab.counter")?;
        let channel = channels.of(sheet, GROUP, None)?;
        let ts = traffic(sheet, GROUP, channel, (Tier::Pair, Direction::Ab, epoch))?;
        let binding = Binding { level: Level::Pair as u8, canonical_id: canonical, epoch };
        let Ok(len) = u16::try_from(plain.len()) else {
            return Err(sheet.refuse("inputs.body", "longer than any message"));
        };
        sheet.same("seal_pair_ab.aad", &binding.aad(len));
        let sealed = seal(&ts, &binding, counter, &plain).map_err(|e| sheet.refuse(GROUP, e))?;
        sheet.same("seal_pair_ab.sealed", &sealed);
        Ok(sealed)
    });
    sheet.group("seal_fd48", |sheet| {
        const GROUP: &str = "seal_fd48";
        let text = text(sheet)?;
        // 48 bytes of frame less nonce and tag; a longer body takes the largest frame.
        let plain = [20, 36].into_iter().find_map(|size| plaintext(text.base, &text.body, Some(size)));
        let Some(plain) = plain else {
            return Err(sheet.refuse("inputs.body", "does not fit one CAN FD frame (35 bytes at most)"));
        };
        let canonical = text.id.canonical();
        sheet.same_number("seal_fd48.can_id", canonical.frame_id(Transport::Single).raw().into());
        sheet.same("seal_fd48.plaintext", &plain);
        let epoch = sheet.number("seal_fd48.epoch")?;
        let counter = sheet.number("seal_fd48.counter")?;
        let channel = channels.of(sheet, GROUP, Some("handshake_pair"))?;
        let ts = traffic(sheet, GROUP, channel, (Tier::Pair, Direction::Ab, epoch))?;
        let binding = Binding { level: Level::Pair as u8, canonical_id: canonical.to_u32(), epoch };
        let sealed = seal(&ts, &binding, counter, &plain).map_err(|e| sheet.refuse(GROUP, e))?;
        sheet.same("seal_fd48.sealed", &sealed);
        Ok(())
    });
    let sealed = |name: &str| {
        sealed
            .as_deref()
            .ok_or_else(|| Stop(format!("{name} carries seal_pair_ab, which could not be computed")))
    };
    sheet.group("frames_chunk", |sheet| {
        let (id, sealed) = (text(sheet)?.id.canonical(), sealed("frames_chunk")?);
        let frames: Vec<_> = chunk::split(id, sealed).map_err(|e| sheet.refuse("frames_chunk", e))?.collect();
        expect_count(sheet, "frames_chunk.frames", frames.len());
        for (i, frame) in frames.iter().enumerate() {
            sheet.same_number(&format!("frames_chunk.frames[{i}][0]"), frame.id().raw().into());
            sheet.same(&format!("frames_chunk.frames[{i}][1]"), frame.data());
        }
        Ok(())
    });
    sheet.group("frames_isotp", |sheet| {
        let (id, sealed) = (text(sheet)?.id.canonical(), sealed("frames_isotp")?);
        sheet.same_number("frames_isotp.can_id", id.frame_id(Transport::IsoTp).raw().into());
        let Some(frames) = isotp(sealed) else {
            return Err(sheet.refuse("frames_isotp", "longer than 4095 bytes"));
        };
        expect_count(sheet, "frames_isotp.frames", frames.len());
        for (i, frame) in frames.iter().enumerate() {
            sheet.same(&format!("frames_isotp.frames[{i}]"), frame);
        }
        Ok(())
    });
}

/// Names the entries of a list of frames that are too many; those that are missing are named when compared.
fn expect_count(sheet: &mut Sheet<'_>, path: &str, count: usize) {
    for i in count..sheet.len(path) {
        sheet.fail(
            &format!("{path}[{i}]"),
            Problem::Malformed(format!("one too many, {count} were computed")),
        );
    }
}

/// The data frames of the product's own sender, to a receiver that never asks it to wait. `None` when the message is
/// too long.
fn isotp(message: &[u8]) -> Option<Vec<isotp::Pdu>> {
    const CONTINUE: [u8; 3] = [0x30, 0, 0];
    let now = Instant::START;
    let mut sender = isotp::Sender::<{ isotp::MAX_LEN }>::new(isotp::SenderConfig::default());
    sender.start(now, message).ok()?;
    let mut frames = Vec::new();
    while let Some(isotp::SendEvent::Frame(frame)) = sender.poll(now) {
        frames.push(frame);
        sender.transmitted(now);
        sender.on_flow_control(now, &CONTINUE);
    }
    sender.is_idle().then_some(frames)
}

/// The identifier of `compact_c1`, which also protects `compact_c2` unless that names its own.
struct CompactId {
    binding: Binding,
    direction: Direction,
}

fn compact_id(sheet: &mut Sheet<'_>, path: &str, expected: Transport) -> Result<CompactId, Stop> {
    let raw: u32 = sheet.number(path)?;
    let parsed = Id::extended(raw).ok_or("more than 29 bits".to_owned()).and_then(|id| {
        let (id, transport) = SealedId::parse(id).map_err(|e| e.to_string())?;
        if id.level() != Level::Exch {
            return Err("compact messages are of level 01 only".to_owned());
        }
        if transport != expected {
            return Err(format!("its transport byte must be {:#04x}", expected.encode()));
        }
        Ok(id)
    });
    let id = parsed.map_err(|why| sheet.refuse(path, why))?;
    Ok(CompactId {
        binding: Binding { level: Level::Exch as u8, canonical_id: id.canonical().to_u32(), epoch: 0 },
        direction: id.direction(),
    })
}

fn compact(
    sheet: &mut Sheet<'_>,
    channels: &Channels,
    group: &str,
    mut id: CompactId,
) -> Result<(Compact, Binding, u64), Stop> {
    let epoch = format!("{group}.epoch");
    if sheet.has(&epoch) {
        id.binding.epoch = sheet.number(&epoch)?;
    }
    let channel = channels.of(sheet, group, Some("handshake_pair"))?;
    let ts = traffic(sheet, group, channel, (Tier::Exch, id.direction, id.binding.epoch))?;
    let counter = sheet.number(&format!("{group}.counter"))?;
    Ok((Compact::new(&ts).map_err(|e| sheet.refuse(group, e))?, id.binding, counter))
}

/// Groups `compact_c1` and `compact_c2`.
pub fn compacts(sheet: &mut Sheet<'_>, channels: &Channels) {
    sheet.group("compact_c1", |sheet| {
        let id = compact_id(sheet, "compact_c1.can_id", Transport::Single)?;
        let (keys, binding, counter) = compact(sheet, channels, "compact_c1", id)?;
        let plain = sheet.fixed("compact_c1.plaintext")?;
        let frame = keys.seal1(&binding, counter, plain);
        expect_count(sheet, "compact_c1.frames", 1);
        sheet.same("compact_c1.frames[0]", &frame);
        if keys.open1(&binding, counter.checked_sub(1), &frame) != Ok((counter, plain)) {
            return Err(sheet.refuse("compact_c1.counter", "a receiver one message behind does not open it"));
        }
        Ok(())
    });
    sheet.group("compact_c2", |sheet| {
        let own = "compact_c2.can_id";
        let id = if sheet.has(own) {
            compact_id(sheet, own, Transport::Chunk { cur: 1, total: 2 })?
        } else {
            compact_id(sheet, "compact_c1.can_id", Transport::Single)?
        };
        let (keys, binding, counter) = compact(sheet, channels, "compact_c2", id)?;
        let plain = sheet.fixed("compact_c2.plaintext")?;
        let frames = keys.seal2(&binding, counter, plain);
        expect_count(sheet, "compact_c2.frames", 2);
        for (i, frame) in frames.iter().enumerate() {
            sheet.same(&format!("compact_c2.frames[{i}]"), frame);
        }
        if keys.open2(&binding, counter.checked_sub(1), &frames) != Ok((counter, plain)) {
            return Err(sheet.refuse("compact_c2.counter", "a receiver one message behind does not open it"));
        }
        Ok(())
    });
}
