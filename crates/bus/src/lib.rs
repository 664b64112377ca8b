//! Moves CAN frames between this host and the world outside.
//!
//! | module | what it is |
//! |---|---|
//! | [`pcapng`] | recordings of a bus, as Wireshark reads them |

pub mod pcapng;
