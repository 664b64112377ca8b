//! What the roles take of a device's memory; the figures of this host, printed.
#![allow(clippy::unwrap_used)]

use pack::{
    app::App, controller::Controller, link::Link, module::Module, relation::Relation, session::Session,
};
use std::mem::size_of;

/// Keys at rest are 36 bytes; if somebody caches round keys again, a session grows by kilobytes and 31 modules no
/// longer fit a pack controller's memory.
#[test]
fn sessions_hold_keys_and_no_round_keys() {
    let sizes = [
        ("session", size_of::<Session>()),
        ("relation", size_of::<Relation>()),
        ("link of 4", size_of::<Link<4>>()),
        ("app", size_of::<App>()),
        ("module", size_of::<Module>()),
        ("controller", size_of::<Controller>()),
    ];
    for (what, bytes) in sizes {
        println!("{what}: {bytes} bytes");
    }
    assert!(size_of::<Session>() < 1_536);
}
