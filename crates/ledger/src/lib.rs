//! The replicated state machine: (state, block, transaction) -> state, and nothing else.
//!
//! Everything here is a pure function of its arguments: no clock but the block header's, no float, no hash
//! order, no entropy, no I/O. Two replicas that apply the same blocks hold the same bytes.
//!
//! * [`codec`]: the one canonical encoding; [`genesis`], [`tx`], [`block`], [`outcome`]: what it encodes.
//! * [`records`]: keys and objects of the state; [`state`]: how it is read and written.
//! * [`rules`]: what each transaction may do; [`reject`]: why it may not, one code per check.
//! * [`config`]: the parameters of packs.
//! * [`energy`]: the arithmetic of energy accounts.
//! * [`trust`]: the arithmetic of trust; [`standing`]: what it comes to for a subject, with its evidence.
//! * [`authorization`], [`anonymous`]: who may be paired with whom; [`mrh`]: who is near whom.
//! * [`execute`]: a block's execution; [`proof`], [`receipt`], [`excerpt`], [`anchor`], [`history`] and
//!   [`checkpoint`]: how an outsider checks what happened.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::disallowed_types, clippy::disallowed_methods))]

extern crate alloc;

pub mod anchor;
pub mod anonymous;
pub mod authorization;
pub mod block;
pub mod checkpoint;
pub mod codec;
pub mod config;
pub mod energy;
pub mod excerpt;
pub mod execute;
pub mod genesis;
pub mod history;
pub mod mrh;
pub mod outcome;
pub mod proof;
pub mod receipt;
pub mod records;
pub mod reject;
pub mod rules;
pub mod standing;
pub mod state;
pub mod trust;
pub mod tx;
pub mod verdict;
