//! The datagrams of python-can's `udp_multicast` interface: one message each, a MessagePack map with string keys
//! (`spec/can.md`, C125).
//!
//! ```text
//! timestamp float64 seconds | arbitration_id uint | is_extended_id bool | is_remote_frame bool
//! is_error_frame bool | channel nil | dlc uint, bytes, not the code | data bin | is_fd bool
//! bitrate_switch bool | error_state_indicator bool
//! ```
//! Readers of python-can raise an exception on a key that they do not know, so none is added. Read are also maps
//! that leave out what has a default, name a channel, or give the data as a list of numbers.

use std::fmt;

use pack::can::{Frame, FrameError, Id};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest datagram that is read; a message takes 220 bytes.
pub const MAX_LEN: usize = 4_096;

/// What one datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// A data frame.
    Data {
        /// The frame.
        frame: Frame,
        /// BRS, FD only: the data phase has the higher bit rate.
        bit_rate_switch: bool,
        /// ESI, FD only: the sender is error passive.
        error_passive: bool,
    },
    /// A remote frame asking for `length` bytes, 0..=8.
    Remote {
        /// Its identifier.
        id: Id,
        /// Number of bytes asked for.
        length: u8,
    },
    /// An error frame: class and details as the sender's system codes them, up to 8 bytes.
    Error(Frame),
}

impl From<Frame> for Message {
    /// A data frame without switch of bit rate.
    fn from(frame: Frame) -> Self {
        Message::Data { frame, bit_rate_switch: false, error_passive: false }
    }
}

impl Message {
    /// The data frame, if it is one.
    pub fn frame(&self) -> Option<&Frame> {
        match self {
            Message::Data { frame, .. } => Some(frame),
            Message::Remote { .. } | Message::Error(_) => None,
        }
    }
}

/// Why a datagram is no message. The sender is to blame for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Longer than [`MAX_LEN`].
    #[error("longer than {MAX_LEN} bytes")]
    TooLong,
    /// Not one MessagePack map of the known keys with values of their types.
    #[error("not a map of the known keys")]
    NotAMessage,
    /// Bytes behind the map.
    #[error("bytes behind the map")]
    Trailing,
    /// No frame has this identifier or this number of bytes.
    #[error("{0}")]
    Frame(FrameError),
    /// `dlc` is not the number of data bytes.
    #[error("dlc and data disagree")]
    Length,
    /// Flags that exclude each other: remote and error, remote or error and FD, BRS or ESI without FD.
    #[error("flags that exclude each other")]
    Flags,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    #[serde(default)]
    timestamp: f64,
    arbitration_id: u32,
    #[serde(default = "yes")]
    is_extended_id: bool,
    #[serde(default)]
    is_remote_frame: bool,
    #[serde(default)]
    is_error_frame: bool,
    #[serde(default)]
    channel: Channel,
    #[serde(default)]
    dlc: Option<u32>,
    #[serde(default)]
    data: Bytes,
    #[serde(default)]
    is_fd: bool,
    #[serde(default)]
    bitrate_switch: bool,
    #[serde(default)]
    error_state_indicator: bool,
    /// Some writers tell the direction; it means nothing here.
    #[serde(default, skip_serializing)]
    #[allow(dead_code)]
    is_rx: bool,
}

fn yes() -> bool {
    true
}

/// Nil, or a name or number that means something to the sender only.
#[derive(Default)]
struct Channel;

#[derive(Default)]
struct Bytes(Vec<u8>);

/// One message as a datagram; `timestamp_us` is microseconds since 1970-01-01 UTC.
pub fn encode(message: &Message, timestamp_us: u64) -> Vec<u8> {
    let (id, dlc, data): (Id, usize, &[u8]) = match message {
        Message::Data { frame, .. } | Message::Error(frame) => (frame.id(), frame.len(), frame.data()),
        Message::Remote { id, length } => (*id, usize::from((*length).min(8)), &[]),
    };
    let is_fd = message.frame().is_some_and(Frame::is_fd);
    let flag = |set: &dyn Fn(bool, bool) -> bool| match message {
        Message::Data { bit_rate_switch, error_passive, .. } => {
            is_fd && set(*bit_rate_switch, *error_passive)
        }
        Message::Remote { .. } | Message::Error(_) => false,
    };
    let map = Map {
        timestamp: timestamp_us as f64 / 1e6,
        arbitration_id: id.raw(),
        is_extended_id: id.is_extended(),
        is_remote_frame: matches!(message, Message::Remote { .. }),
        is_error_frame: matches!(message, Message::Error(_)),
        channel: Channel,
        dlc: Some(dlc as u32),
        data: Bytes(data.to_vec()),
        is_fd,
        bitrate_switch: flag(&|brs, _| brs),
        error_state_indicator: flag(&|_, esi| esi),
        is_rx: false,
    };
    rmp_serde::to_vec_named(&map).expect("memory takes every byte, and MessagePack has every type of the map")
}

/// Reads one datagram.
///
/// # Errors
/// [`DatagramError`]
pub fn decode(datagram: &[u8]) -> Result<Message, DatagramError> {
    if datagram.len() > MAX_LEN {
        return Err(DatagramError::TooLong);
    }
    let mut rest = datagram;
    // A list would be read as the fields in order; readers of python-can refuse it.
    if !matches!(rest.first(), Some(0x80..=0x8F | 0xDE | 0xDF)) {
        return Err(DatagramError::NotAMessage);
    }
    let map = Map::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|_| DatagramError::NotAMessage)?;
    if !rest.is_empty() {
        return Err(DatagramError::Trailing);
    }
    let id = match u16::try_from(map.arbitration_id) {
        Ok(raw) if !map.is_extended_id => Id::standard(raw),
        Err(_) if !map.is_extended_id => None,
        _ => Id::extended(map.arbitration_id),
    };
    let id = id.ok_or(DatagramError::Frame(FrameError::IdTooWide))?;
    let special = map.is_remote_frame || map.is_error_frame;
    if map.is_remote_frame && map.is_error_frame
        || special && map.is_fd
        || !map.is_fd && (map.bitrate_switch || map.error_state_indicator)
    {
        return Err(DatagramError::Flags);
    }
    let data = map.data.0;
    if map.is_remote_frame {
        // What python-can itself drops: data of a remote frame.
        return match map.dlc.unwrap_or(0) {
            length @ 0..=8 => Ok(Message::Remote { id, length: length as u8 }),
            _ => Err(DatagramError::Length),
        };
    }
    if map.dlc.is_some_and(|dlc| usize::try_from(dlc) != Ok(data.len())) {
        return Err(DatagramError::Length);
    }
    let frame = if map.is_fd { Frame::new_fd(id, &data) } else { Frame::new_classic(id, &data) };
    let frame = frame.map_err(DatagramError::Frame)?;
    if map.is_error_frame {
        return Ok(Message::Error(frame));
    }
    Ok(Message::Data { frame, bit_rate_switch: map.bitrate_switch, error_passive: map.error_state_indicator })
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Channel;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nil, a name or a number")
            }
            fn visit_unit<E>(self) -> Result<Channel, E> {
                Ok(Channel)
            }
            fn visit_str<E>(self, _: &str) -> Result<Channel, E> {
                Ok(Channel)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Channel, E> {
                Ok(Channel)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Channel, E> {
                Ok(Channel)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_unit<E>(self) -> Result<Bytes, E> {
                Ok(Bytes::default())
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    // The datagram is shorter than `MAX_LEN`, and so is the list.
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests;
