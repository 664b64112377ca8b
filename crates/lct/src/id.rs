//! Who is who: component identifiers, roles, and the identifiers of relationships.

use crate::{Error, hash::sha256};
use core::fmt;

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $n]);

        impl $name {
            /// Copies a slice of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
                bytes.try_into().map($name).map_err(|_| Error::Malformed)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

bytes_id!(
    /// Component identifier on the wire: the first 16 bytes of `H("modbatt1 cid" || component id)`.
    Cid,
    16
);
bytes_id!(
    /// Identifies one binding of two entities; issued by the authority.
    BindingId,
    16
);
bytes_id!(
    /// Identifies one pairing of two bound entities; issued by the authority, single-use per device.
    PairingId,
    16
);
bytes_id!(
    /// `H("modbatt1 spk" || SPK)[0:8]`, see [`crate::spk::Spk::id`].
    SpkId,
    8
);

/// Longest accepted component id in bytes (64-byte CAN transfer, C structs of existing tools).
pub const COMPONENT_ID_MAX: usize = 64;

impl Cid {
    /// The identifier of the component named `component_id` (1 to 64 bytes).
    pub fn of(component_id: &str) -> Cid {
        let h = sha256(&[b"modbatt1 cid", component_id.as_bytes()]);
        let mut cid = [0; 16];
        cid.copy_from_slice(&h[..16]);
        Cid(cid)
    }
}

/// Checks that `id` is 3 to 64 characters of `[A-Za-z0-9_-]`.
pub fn valid_component_id(id: &str) -> bool {
    (3..=COMPONENT_ID_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What an entity is. The order is the order of sides: of two entities the smaller one is A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Authentication controller.
    Authority = 0,
    /// Commissioning app or vehicle control unit on CAN 1.
    App = 1,
    /// Pack controller.
    Pack = 2,
    /// Battery module on CAN 2.
    Module = 3,
    /// Sensor.
    Sensor = 4,
    /// Actuator: a contactor box, a fan, a pump.
    Actuator = 5,
}

impl Role {
    /// The role with wire code `code`.
    pub fn from_code(code: u8) -> Result<Role, Error> {
        Ok(match code {
            0 => Role::Authority,
            1 => Role::App,
            2 => Role::Pack,
            3 => Role::Module,
            4 => Role::Sensor,
            5 => Role::Actuator,
            _ => return Err(Error::Malformed),
        })
    }

    /// Lower-case English name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Authority => "authority",
            Role::App => "app",
            Role::Pack => "pack",
            Role::Module => "module",
            Role::Sensor => "sensor",
            Role::Actuator => "actuator",
        }
    }
}

/// True when the first of two entities is the A side: lower role, and of equal roles the smaller cid.
pub fn is_side_a(role: Role, cid: Cid, peer_role: Role, peer_cid: Cid) -> bool {
    (role, cid) < (peer_role, peer_cid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_a_is_nearer_the_app_then_the_smaller_cid() {
        let (x, y) = (Cid([1; 16]), Cid([2; 16]));
        assert!(is_side_a(Role::App, y, Role::Pack, x));
        assert!(!is_side_a(Role::Module, x, Role::Pack, y));
        assert!(is_side_a(Role::Module, x, Role::Module, y));
        assert!(!is_side_a(Role::Module, y, Role::Module, x));
    }

    #[test]
    fn component_ids_are_bounded_and_plain() {
        for (id, ok) in [("abc", true), ("ab", false), ("a b", false), ("pack-0001", true), ("é12", false)] {
            assert_eq!(valid_component_id(id), ok, "{id}");
        }
        assert!(!valid_component_id(core::str::from_utf8(&[b'a'; 65]).unwrap()));
    }
}
