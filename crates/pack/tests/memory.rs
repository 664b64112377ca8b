//! What the roles take of a device's memory; the figures of this host, printed.
use pack::{
    app::App, controller::Controller, link::Link, module::Module, relation::Relation, session::Session,
};
use std::mem::size_of;

/// A session that grows by kilobytes no longer fits a pack controller's memory 32 times over. That its keys rest as 36
/// bytes on a device is tested where they lie, in `lct::seal`.
#[test]
fn a_session_stays_small() {
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
