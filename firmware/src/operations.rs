//! The operations that are counted, with inputs that are prepared before.

use core::hint::black_box;

use lct::{
    curve::device::AgreementKey,
    handshake::Kind,
    schedule::{Direction, ExchangeTag, MasterSecret, Tier},
    seal::{Binding, Opener, Sealer},
    secret::Secret,
    sign::{PublicKey, Signature, SigningKey},
};
use pack::{
    can::{Bus, Frame},
    link::{Buffer, Inbound, Link},
    sealed_id::{Level, SealedId},
    session::{Session, limits::Limits},
    time::Instant,
};

/// What a message is bound to.
const BINDING: Binding = Binding { level: 1, canonical_id: 0x8423_0001, epoch: 0 };
const BASE: u16 = 0x508;

fn master() -> MasterSecret {
    MasterSecret(Secret::new([7; 32]))
}

/// A sealer and an opener of one key.
pub fn keys() -> Option<(Sealer, Opener)> {
    let secret = master().traffic(Tier::Pair, Direction::Ab, 0, &[1; 8], None).ok()?;
    Some((Sealer::new(&secret, 0, 1 << 20).ok()?, Opener::new(&secret).ok()?))
}

/// The keys of one tier and direction.
pub fn derive() -> bool {
    black_box(keys()).is_some()
}

/// Both tiers of a pairing in both directions, as after a RESUME.
pub fn session(sends: Direction) -> Option<Session> {
    let exchange = ExchangeTag::of(&Secret::new([9; 32]));
    Session::at_epoch(Kind::Pair, [3; 32], 0, master(), Some(exchange), sends).ok()
}

/// Seals `n` bytes; the length of the message.
pub fn seal(sealer: &mut Sealer, n: usize, out: &mut [u8; 128]) -> usize {
    let text = black_box([0xA5; 64]);
    sealer.seal(&BINDING, &[&text[..n]], out).unwrap_or(0)
}

/// Opens a message in place.
pub fn open(opener: &Opener, sealed: &mut [u8]) -> bool {
    opener.attempt(&BINDING, black_box(sealed)).is_ok()
}

/// A module's end of its bus, as it is on a device.
pub type ModuleLink = Link<6, 2, 1024>;

/// From a text to frames; how many there are.
pub fn send(
    session: &mut Session,
    link: &mut ModuleLink,
    n: usize,
    frames: &mut [Option<Frame>; 16],
) -> usize {
    let Ok(id) = SealedId::new(BASE, Level::Exch, Direction::Ba, 1) else {
        return 0;
    };
    if let Some(due) = session.due(Tier::Exch, 0) {
        session.reserved(&due);
    }
    let text = black_box([0xA5; 64]);
    if link.seal(Instant::START, id, n, |out| session.seal(id, BASE, 0, &[&text[..n]], out)).is_err() {
        return 0;
    }
    let mut count = 0;
    while let (Some(frame), Some(place)) = (link.poll(Instant::START), frames.get_mut(count)) {
        *place = Some(frame);
        count += 1;
    }
    count
}

/// From frames to a text; whether it came out.
pub fn receive(
    session: &mut Session,
    link: &mut ModuleLink,
    frames: &[Option<Frame>],
    buffer: &mut Buffer,
) -> bool {
    for frame in frames.iter().flatten() {
        let inbound = link.receive(Instant::START, frame, |device| device == 1, buffer);
        if let Some(Inbound::Sealed(id, len)) = inbound {
            return session.open(Instant::START, &Limits::DEFAULT, id, &mut buffer[..len]).is_ok();
        }
    }
    false
}

/// The end of a bus that hears what is sent in this direction.
pub fn link(hears: Direction) -> ModuleLink {
    ModuleLink::new(Bus::Can2, hears)
}

/// The key of the device.
pub fn signing_key() -> Option<SigningKey> {
    SigningKey::from_bytes(&[0x11; 32]).ok()
}

/// A signature as a device makes it in a test of itself.
pub fn sign(key: &SigningKey) -> Signature {
    key.sign_rfc6979(black_box(&[5; 32]))
}

/// Checks a signature of [`sign`].
pub fn verify(key: &PublicKey, signature: &Signature) -> bool {
    key.verify(black_box(&[5; 32]), signature).is_ok()
}

/// The public key of a private one, as a handshake draws it.
pub fn public(key: &AgreementKey) -> bool {
    black_box(black_box(key).public())[0] != 0
}

/// The agreement of a handshake.
pub fn agree(key: &AgreementKey, peer: &[u8; 33]) -> bool {
    black_box(key.agree(black_box(peer))).is_some()
}
