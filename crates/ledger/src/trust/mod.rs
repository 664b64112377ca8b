//! The arithmetic of trust (`spec/ledger.md`, L190 to L196): how far a component or a relation is to be relied on, in
//! integers, so that every replica and every reader computes the same.
//!
//! * [`ppm`]: shares in parts per million; [`weights`]: every constant, a parameter of the chain.
//! * [`tensor`]: T3 (talent, training, temperament) and V3 (valuation, veracity, validity), and their composites.
//! * [`update`]: quality, observations and their rate; [`outcome`]: success and failure, and repetition.
//! * [`decay`]: what idleness does, and distance; [`health`]: trust, value and energy together.
//!
//! Trust tightens limits and never loosens them beyond the rated value; nothing that protects a battery depends on it
//! alone.

pub mod decay;
pub mod health;
pub mod outcome;
pub mod ppm;
pub mod tensor;
pub mod update;
pub mod weights;

pub use outcome::Outcome;
pub use ppm::Ppm;
pub use tensor::{T3, V3};
pub use weights::Weights;
