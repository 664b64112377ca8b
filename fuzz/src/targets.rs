//! The targets: for each parser what feeds it, which functions it watches, and inputs to begin with.

mod bus;
mod chain;
mod clear;
mod handshakes;
mod lists;
mod roles;
mod sessions;
mod statements;

/// One target.
pub struct Target {
    /// The value of `FUZZ_TARGET`.
    pub name: &'static str,
    /// Beginnings of the paths of the functions that it means to reach.
    pub watches: &'static [&'static str],
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes one input.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($module:ident::$name:ident watches [$($watched:literal),* $(,)?];)*) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            watches: &[$($watched),*],
            seeds: $module::$name::seeds,
            run: $module::$name::run,
        }),*];
    };
}

targets! {
    bus::identifier watches ["pack::sealed_id"];
    bus::chunk watches ["pack::chunk"];
    bus::isotp watches ["pack::isotp"];
    bus::link watches ["pack::link"];
    bus::messages watches ["pack::message", "pack::aggregate"];
    chain::receipts watches ["ledger::receipt", "ledger::proof", "ledger::anchor"];
    chain::checkpoints watches ["ledger::checkpoint", "ledger::history", "ledger::anchor"];
    clear::health watches ["pack::health", "pack::fault"];
    clear::digest watches ["pack::digest"];
    sessions::sealed watches ["pack::session", "lct::seal"];
    handshakes::handshake watches ["lct::handshake"];
    handshakes::resume watches ["lct::resume"];
    handshakes::pake watches ["lct::pake"];
    handshakes::bootstrap watches ["pack::bootstrap"];
    handshakes::points watches ["lct::curve"];
    statements::certificate watches ["lct::certificate"];
    statements::metadata watches ["lct::metadata::ClearMetadata"];
    statements::binding watches ["lct::binding", "lct::attest", "pack::introduction::Introduced", "pack::answers"];
    statements::key_package watches ["lct::key_package"];
    statements::command watches ["lct::command", "pack::command"];
    statements::records watches ["lct::record", "lct::energy", "lct::registration", "lct::ownership", "lct::lifecycle", "lct::context", "lct::trust", "lct::trade", "lct::pairing::Terms", "lct::merkle::verify_path"];
    statements::validation watches ["lct::validation", "pack::testimony::Told", "pack::testimony::Signed"];
    lists::lifecycle watches ["lct::clock", "lct::rebind", "lct::revocation", "lct::policy", "pack::revocations"];
    lists::delegation watches ["lct::delegation", "lct::succession"];
    lists::escalation watches ["pack::escalation"];
    lists::audit watches ["lct::journal", "lct::audit::AuditChain"];
    lists::flash watches ["pack::relation::Relation::restore", "pack::relation::bond", "pack::identity", "pack::clock", "pack::lease", "lct::counter"];
    lists::vault watches ["pack::vault", "lct::storage"];
    lists::backup watches ["lct::backup"];
    roles::module watches ["pack::module", "pack::relation"];
    roles::controller watches ["pack::controller", "pack::relation", "pack::policies", "pack::device"];
    roles::app watches ["pack::app", "pack::relation"];
}
