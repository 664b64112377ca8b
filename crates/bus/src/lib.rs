//! Moves CAN frames between this host and the world outside.
//!
//! | module | what it is |
//! |---|---|
//! | [`pcapng`] | recordings of a bus, as Wireshark reads them |
//! | [`udp`] | a bus over UDP multicast, as python-can speaks it |

pub mod pcapng;
pub mod udp;
