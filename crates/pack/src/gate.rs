//! The one place that decides whether a message may be acted upon (`spec/can.md`, C100 to C104).
//!
//! A role asks twice: [`outer`] for a sealed frame before it is collected and opened, [`judge`] for every whole
//! message with its exact base, clear or opened. Security PDUs share one base per bus and direction, so [`pdu`]
//! judges them by their type.

use crate::{
    can::{Bus, Frame},
    level::{Operation, reached},
    pdu as kinds,
    policy::{self, DeviceState, Effect, Entry, MinLevel, Protection},
    sealed_id::{Class, Direction, Level, SealedId, classify},
};
use kept::{Defence, kept};
use lct::schedule::Tier;

/// A message as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Bus.
    pub bus: Bus,
    /// Exact 11-bit base, without the offset of pack 1.
    pub base: u16,
    /// Side of the sender; of a clear frame the side that the receiver listens to.
    pub direction: Direction,
    /// How it was protected.
    pub protection: Protection,
    /// What acting on it would change.
    pub effect: Effect,
}

/// Where the receiver stands towards the sender.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The class table in force.
    pub table: &'a [Entry],
    /// State of the relationship that the message belongs to.
    pub state: DeviceState,
    /// Bases that the pairing certificate lets stay clear.
    pub stay_clear: &'a [u16],
    /// Whether somebody opened the commissioning window at the device.
    pub window_open: bool,
    /// Whether the values of the message lie in the factory envelope.
    pub in_envelope: bool,
}

impl Standing<'static> {
    /// A device in `state` with the table of this version, without exceptions: nothing stays clear, no window.
    pub const fn of(state: DeviceState) -> Self {
        Standing { table: &policy::TABLE, state, stay_clear: &[], window_open: false, in_envelope: true }
    }
}

impl<'a> Standing<'a> {
    /// The same with the bases of a pairing certificate that may stay clear.
    #[must_use]
    pub const fn with_clear(self, stay_clear: &'a [u16]) -> Self {
        Standing { stay_clear, ..self }
    }
}

/// Why a message is not acted upon. Kept in local counters, never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The base is in no row of the table, or on the other bus.
    Unlisted,
    /// That side never sends this base.
    WrongDirection,
    /// Possible in factory state inside the commissioning window only.
    WindowClosed,
    /// A clear frame of a class that must be sealed: somebody tries to go round the channel.
    Unprotected,
    /// Sealed, but with less than the class asks for.
    TooWeak,
    /// A group frame may only reduce authority.
    GroupRaises,
    /// Values outside the factory envelope.
    OutsideEnvelope,
}

/// Whether `arrival` may be acted upon (C101). The order of the refusals is that of [`Denied`].
///
/// # Errors
/// [`Denied`].
pub fn judge(arrival: &Arrival, standing: &Standing<'_>) -> Result<(), Denied> {
    let Arrival { bus, base, direction, protection, effect } = *arrival;
    let entry = policy::entry_in(standing.table, bus, base).ok_or(Denied::Unlisted)?;
    if sender(bus, base, entry).is_some_and(|side| side != direction) {
        return Err(Denied::WrongDirection);
    }
    let factory = standing.state == DeviceState::Factory;
    if factory && entry.flags & policy::COMMISSIONING_WINDOW != 0 && !standing.window_open {
        return Err(Denied::WindowClosed);
    }
    if protection == Protection::Group && effect == Effect::Raise {
        return Err(Denied::GroupRaises);
    }
    let min = policy::minimum(entry, bus, base, standing.state, effect);
    let listed = entry.flags & policy::MAY_STAY_CLEAR != 0 && standing.stay_clear.contains(&base);
    let enough = min.admits(protection) || (listed && protection == Protection::Clear);
    if kept(Defence::LeastProtection) && !enough {
        // What is never accepted, however it is protected, is no way round a channel.
        let round = protection == Protection::Clear && min != MinLevel::Never;
        return Err(if round { Denied::Unprotected } else { Denied::TooWeak });
    }
    // No table of a policy lowers what decision 15 asks of a paired device (H150).
    let operation = Operation::of(bus, base, effect).filter(|_| standing.state == DeviceState::Paired);
    if operation.is_some_and(|operation| reached(protection) < Some(operation.minimum())) {
        return Err(Denied::TooWeak);
    }
    if entry.flags & policy::NEEDS_ENVELOPE != 0 && !standing.in_envelope {
        return Err(Denied::OutsideEnvelope);
    }
    Ok(())
}

/// Whether some message of a sealed frame's family could be acted upon at its level (C102): asked before the frame
/// is collected, so that hopeless ones cost no buffer and no decryption.
pub fn outer(bus: Bus, id: SealedId, standing: &Standing<'_>) -> bool {
    policy::outer_admits_in(standing.table, bus, id.family(), id.level(), standing.state)
}

/// What a frame is before anybody collects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screened {
    /// To be received.
    Pass,
    /// It carries an identifier that only this end sends: somebody else uses it.
    Own,
    /// Sealed for this end, but nothing of its family could be acted upon at its level.
    Hopeless,
}

/// Screens a frame heard on `bus` by the end that sends in direction `own` (C102, C103): `mine` tells the device ids
/// that it sends with, `standing` where it stands towards the sender of one, `None` when that is not its concern.
pub fn screen<'a>(
    bus: Bus,
    own: Direction,
    frame: &Frame,
    mine: impl Fn(u8) -> bool,
    standing: impl Fn(u8) -> Option<Standing<'a>>,
) -> Screened {
    let is_own = match classify(bus, frame) {
        Ok(Class::Sealed(id, _)) if id.direction() != own => {
            let hopeless = standing(id.device()).is_some_and(|s| !outer(bus, id, &s));
            return if hopeless { Screened::Hopeless } else { Screened::Pass };
        }
        Ok(Class::Sealed(id, _)) => mine(id.device()),
        Ok(Class::Security(id, _)) => id.direction() == own && mine(id.device()),
        // On CAN 1 older control units share the clear identifiers of the app.
        Ok(Class::Clear(_)) if (bus, own) == (Bus::Can1, Direction::Ab) => false,
        Ok(Class::Clear(id)) => mine(id.node) && is_sent_by(bus, id.base, own),
        Err(_) => false,
    };
    if is_own { Screened::Own } else { Screened::Pass }
}

/// How an opened message was protected.
pub const fn protection(tier: Tier, signed: bool) -> Protection {
    match (tier, signed) {
        (Tier::Dev, _) => Protection::Dev,
        (Tier::Exch, _) => Protection::Exch,
        (Tier::Pair, false) => Protection::Pair,
        (Tier::Pair, true) => Protection::PairSigned,
        (Tier::Bind, _) => Protection::Bind,
        (Tier::Group, _) => Protection::Group,
    }
}

/// The side that sends `base`: the table says "A to B only", the range says what only B sends (C103).
pub const fn sender(bus: Bus, base: u16, entry: &Entry) -> Option<Direction> {
    if entry.flags & policy::A_TO_B_ONLY != 0 {
        return Some(Direction::Ab);
    }
    match (bus, base) {
        (Bus::Can1, 0x410..=0x4FF) | (Bus::Can2, 0x500..=0x50F) => Some(Direction::Ba),
        _ => None,
    }
}

/// Whether a clear frame of `base` is one that only the side `own` sends: heard from the bus, somebody else sent it.
pub fn is_sent_by(bus: Bus, base: u16, own: Direction) -> bool {
    policy::entry(bus, base).is_some_and(|entry| sender(bus, base, entry) == Some(own))
}

/// The least protection of a security PDU by its type (C104), and the side that sends it, `None` for both.
const PDUS: [(u8, MinLevel, Option<Direction>); 28] = {
    use MinLevel::{Clear, Dev, Exch, Pair};
    const DOWN: Option<Direction> = Some(Direction::Ab);
    const UP: Option<Direction> = Some(Direction::Ba);
    [
        (kinds::HANDSHAKE, Clear, None),
        (kinds::CERTIFICATE, Clear, None),
        (0x03, Clear, None), // key package, authenticates itself
        (kinds::BINDING, Clear, None),
        (0x05, Clear, None),              // PAKE
        (0x06, Clear, None),              // revocation list, signed by the authority
        (kinds::VALIDATION, Clear, None), // grants nothing
        (kinds::ESCALATION, Clear, None), // from a clear frame a hint only
        (kinds::TIME, Pair, DOWN),
        (kinds::ALERT, Pair, None),
        (kinds::IDENTIFY, Clear, None),
        (kinds::CONFIRM, Dev, UP), // under the tier that the run opened
        (0x0D, Pair, None),        // rotation
        (kinds::GROUP_KEY, Pair, DOWN),
        (kinds::DIGEST, Exch, None),
        (kinds::BATCH, Exch, UP),
        (kinds::COMMAND_ACK, Pair, UP),
        (kinds::RELAY, Clear, None),
        (kinds::RECEIVED, Exch, DOWN),
        (kinds::ENERGY, Exch, UP),
        (kinds::LEAF, Exch, None),
        (kinds::FORWARD, Exch, UP),
        (0x18, Exch, None),  // audit checkpoints
        (0x19, Clear, None), // policy update, signed by both entities and the authority
        (kinds::HEALTH, Exch, UP),
        (0x1B, Exch, None),  // echo
        (0x1C, Clear, None), // delegation and what its holder revokes, signed
        (kinds::METRICS, Exch, UP),
    ]
};

/// Whether a security PDU of this type may be acted upon.
///
/// # Errors
/// [`Denied::Unlisted`], [`Denied::WrongDirection`], [`Denied::Unprotected`], [`Denied::TooWeak`].
pub fn pdu(kind: u8, direction: Direction, arrived: Protection) -> Result<(), Denied> {
    let row = PDUS.iter().find(|(k, ..)| *k == kind).ok_or(Denied::Unlisted)?;
    if row.2.is_some_and(|side| side != direction) {
        return Err(Denied::WrongDirection);
    }
    match (row.1.admits(arrived), arrived) {
        (true, _) => Ok(()),
        (false, Protection::Clear) => Err(Denied::Unprotected),
        (false, _) => Err(Denied::TooWeak),
    }
}

/// The level that seals for a tier of a channel; the group tier travels at pair level (C11).
pub const fn level_of(tier: Tier) -> Level {
    match tier {
        Tier::Dev => Level::Dev,
        Tier::Exch => Level::Exch,
        Tier::Pair | Tier::Group => Level::Pair,
        Tier::Bind => Level::Bind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::can::Id;
    use crate::sealed_id::{ClearId, SecurityId, Transport};

    fn standing(state: DeviceState, in_envelope: bool) -> Standing<'static> {
        Standing { window_open: true, in_envelope, ..Standing::of(state) }
    }

    /// C101: values beyond the envelope are refused where the class asks for it, and only there.
    #[test]
    fn the_envelope_binds_the_classes_that_name_it() {
        for (base, in_envelope, outcome) in [
            (0x403, true, Ok(())),
            (0x403, false, Err(Denied::OutsideEnvelope)),
            (0x402, true, Ok(())),
            (0x402, false, Ok(())),
        ] {
            let arrival = Arrival {
                bus: Bus::Can1,
                base,
                direction: Direction::Ab,
                protection: Protection::Dev,
                effect: Effect::Hold,
            };
            assert_eq!(judge(&arrival, &standing(DeviceState::Bootstrap, in_envelope)), outcome, "{base:#x}");
        }
    }

    /// C102, C103: what an end hears before it collects anything; 7 is a device id of its own, 9 is not.
    #[test]
    fn a_frame_is_screened_by_who_could_have_sent_it() {
        use Direction::{Ab, Ba};
        use Screened::{Hopeless, Own, Pass};
        let sealed = |base, level, direction, device| {
            let id = SealedId::new(base, level, direction, device).unwrap();
            Frame::new_classic(id.encode(Transport::Chunk { cur: 1, total: 5 }), &[0; 8]).unwrap()
        };
        let security = |bus, direction, device| {
            let id = SecurityId::new(bus, direction, device).encode(Transport::Single);
            Frame::new_classic(id, &[0; 8]).unwrap()
        };
        let clear = |bus, base, node| {
            Frame::new_classic(ClearId::new(base, node).encode(bus).unwrap(), &[0; 8]).unwrap()
        };
        let (one, two) = (Bus::Can1, Bus::Can2);
        let table = [
            (two, Ab, sealed(0x508, Level::Exch, Ba, 7), Pass),
            (two, Ab, sealed(0x508, Level::Dev, Ba, 7), Hopeless),
            // Nobody here stands in a relation to that device: receiving it is for the link to decline.
            (two, Ab, sealed(0x508, Level::Dev, Ba, 9), Pass),
            (two, Ab, sealed(0x511, Level::Exch, Ab, 7), Own),
            (two, Ab, sealed(0x511, Level::Exch, Ab, 9), Pass),
            (two, Ab, security(two, Ab, 7), Own),
            (two, Ab, security(two, Ab, 9), Pass),
            (two, Ab, security(two, Ba, 7), Pass),
            (two, Ab, clear(two, 0x514, 7), Own),
            (two, Ab, clear(two, 0x514, 9), Pass),
            (two, Ab, clear(two, 0x502, 7), Pass),
            (two, Ba, clear(two, 0x502, 7), Own),
            (two, Ba, clear(two, 0x514, 7), Pass),
            // Of 0x52C to 0x5FF no row says who sends it.
            (two, Ab, clear(two, 0x5FF, 7), Pass),
            (one, Ba, clear(one, 0x410, 1), Own),
            (one, Ba, clear(one, 0x400, 1), Pass),
            (one, Ab, clear(one, 0x400, 1), Pass),
            (two, Ab, Frame::new_classic(Id::Standard(0x514), &[]).unwrap(), Pass),
        ];
        for (bus, own, frame, expected) in table {
            let mine = |device| device == 7 || device == 1;
            let towards = |device| (device == 7).then(|| Standing::of(DeviceState::Paired));
            assert_eq!(screen(bus, own, &frame, mine, towards), expected, "{bus} {own:?} {frame:?}");
        }
    }

    #[test]
    fn a_base_is_sent_by_the_side_of_its_range_and_by_no_other() {
        use Direction::{Ab, Ba};
        for (bus, base, sides) in [
            (Bus::Can2, 0x514, [true, false]),
            (Bus::Can2, 0x502, [false, true]),
            (Bus::Can1, 0x410, [false, true]),
            (Bus::Can1, 0x407, [false, false]), // either side
            (Bus::Can2, 0x5FF, [false, false]), // no row
        ] {
            assert_eq!([Ab, Ba].map(|own| is_sent_by(bus, base, own)), sides, "{base:#x}");
        }
    }
}
