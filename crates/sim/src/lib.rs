//! A seeded world for the code that runs in packs: what the cells do, what the CAN buses do to frames, what a device
//! finds again after its power was cut. No clock and no thread: time is an argument, and the same seed gives the same
//! run to the last bit.
//!
//! | module | what it is |
//! |---|---|
//! | [`replay`] | the files of the battery tester, row by row |
//! | [`battery`] | a pack of cells under a load, figures fitted to measurements |
//! | [`cell`] | one cell group: open-circuit voltage, resistance, one RC pair, temperature |
//! | [`load`] | the currents asked of the pack |
//! | [`reading`] | what the sensors show, whichever of the two stands behind them |
//! | [`wire`] | one CAN bus: arbitration, timing, broadcast |
//! | [`fault`] | frames that are dropped, bits that flip |
//! | [`flash`] | the flash of a device, with power cuts |
//! | [`world`] | a controller and its modules on two buses, with flash and sensors |
//! | [`legacy`] | what nodes of the older generation take a frame for |
//! | [`seed`] | the only source of chance |
//! | [`attack`] | attackers on the link, each with a control |

pub mod attack;
pub mod battery;
pub mod cell;
pub mod fault;
pub mod flash;
pub mod legacy;
pub mod load;
pub mod reading;
pub mod replay;
pub mod seed;
pub mod wire;
pub mod world;
