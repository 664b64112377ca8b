//! The command `modbatt`: one line per subcommand, the work is in [`cmd`], private keys are kept by [`custody`].

mod cmd;
mod custody;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Secure CAN and ledger for modular batteries.
#[derive(Parser)]
#[command(name = "modbatt", version, after_help = cmd::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a pack with its modules, app, bridge and ledger on this machine
    Demo(Box<cmd::demo::Args>),
    /// Serve the ledger of a data directory to others: TLS, users, limits, logs; without a pack
    Serve(cmd::serve::Args),
    /// Say who may use the bridge of a data directory
    User(cmd::user::Args),
    /// Check keys, every channel, the ledger's registrations and the audit logs of an installation
    Check(cmd::check::Args),
    /// Show every component of a running installation: binding, pairing, keys, channel; --verify holds them against the ledger
    Status(cmd::status::Args),
    /// Have two components of a running installation paired anew, with fresh keys
    Pair(cmd::pair::Args),
    /// End the pairing of two components of a running installation; they stay bound
    Unpair(cmd::pair::Unpair),
    /// Renew the keys of two paired components of a running installation
    Rotate(cmd::pair::Rotate),
    /// Bind two components of a running installation, or bind them anew, and pair them
    Bind(cmd::bind::Args),
    /// Give a component that lost its keys new ones: bind and pair it anew with all that it is bound with
    Recover(cmd::recover::Args),
    /// Take a module into a running pack in the place of one that was taken out, which is revoked
    Replace(cmd::replace::Args),
    /// As the owner of a component, agree that another binding takes the place of one that it has
    Consent(cmd::consent::Args),
    /// Revoke a component or a binding of a running installation; this cannot be undone
    Revoke(cmd::revoke::Args),
    /// Let a laptop act in the authority's place without network, bring what it did, say what became of it
    Delegate(cmd::delegate::Args),
    /// Say where the keys that issue are kept; encrypt them, put them into a token, back them up in shares
    Keys(cmd::keys::Args),
    /// Sign that another key follows that of the authority, tell devices, and go on under it
    Succession(cmd::succession::Args),
    /// Show or change the policy of a running installation: periods of keys, and what each class of message needs
    Policy(cmd::policy::Args),
    /// Say for whom the bridge of an installation signs, because they cannot
    Creator(cmd::creator::Args),
    /// Check and read the logs of devices
    Audit(cmd::audit::Args),
    /// Recompute test vectors of the secure link and name every entry that differs
    Selftest(cmd::selftest::Args),
    /// Attack the simulated pack, and each attack's control
    Redteam(cmd::redteam::Args),
    /// Check a receipt and say what it proves; needs no network and no database
    Verify(cmd::verify::Args),
    /// Write the receipt of a transaction or of a telemetry record
    Receipt(cmd::receipt::Args),
    /// Make a manufacturer's keys, certify devices, print their codes
    Factory(cmd::factory::Args),
    /// Have a part of a running installation say on the ledger where it is found
    Announce(cmd::validate::Announce),
    /// Have a part, or two, of a running installation prove themselves at a level, with the ledger's receipt
    Validate(cmd::validate::Args),
    /// Say where a part of a running installation is found, and whether it answers there
    Discover(cmd::discover::Args),
    /// List what a part stated on the ledger, and how many others saw it
    Witness(cmd::witness::Args),
    /// Show what became of a component, put it into another state, say with whom it may be paired
    Component(cmd::component::Args),
    /// Show, ask for, try or take back what waits on the ledger for a device that is not there
    Queue(cmd::queue::Args),
    /// Record components and authorisations without saying what they are, open or withdraw them
    Commitment(cmd::commitment::Args),
    /// Show what governs the chain, give accounts, change roots, parameters, validators and rules
    Govern(cmd::govern::Args),
    /// Show or set the parameters of a pack on the ledger, or check the settings of the service
    Config(cmd::config::Args),
    /// Hand a component from its manufacturer or its owner to somebody
    Owner(cmd::owner::Args),
    /// Show the energy account of a pack, offer, transfer and settle its energy, or compute what that comes to
    Energy(cmd::energy::Args),
    /// Compute trust as the ledger does; say how far a component is to be relied on
    Trust(cmd::trust::Args),
    /// Sign, check and compare checkpoints of a chain
    Checkpoint(cmd::checkpoint::Args),
    /// List or follow what happened on the ledger
    Events(cmd::events::Args),
    /// Have receivers told by HTTP of what happens on the ledger
    Webhook(cmd::webhook::Args),
    /// Look into the ledger of a data directory
    Ledger(cmd::ledger::Args),
    /// Print the contract of the API as OpenAPI 3.1
    Openapi,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => cmd::demo::run(&args),
        Command::Check(args) => cmd::check::run(&args),
        Command::Serve(args) => cmd::serve::run(&args),
        Command::User(args) => cmd::user::run(&args),
        Command::Status(args) => cmd::status::run(&args),
        Command::Pair(args) => cmd::pair::run(&args),
        Command::Unpair(args) => cmd::pair::unpair(&args),
        Command::Rotate(args) => cmd::pair::rotate(&args),
        Command::Bind(args) => cmd::bind::run(&args),
        Command::Recover(args) => cmd::recover::run(&args),
        Command::Replace(args) => cmd::replace::run(&args),
        Command::Consent(args) => cmd::consent::run(&args),
        Command::Revoke(args) => cmd::revoke::run(&args),
        Command::Delegate(args) => cmd::delegate::run(&args),
        Command::Keys(args) => cmd::keys::run(&args),
        Command::Succession(args) => cmd::succession::run(&args),
        Command::Policy(args) => cmd::policy::run(&args),
        Command::Creator(args) => cmd::creator::run(&args),
        Command::Audit(args) => cmd::audit::run(&args),
        Command::Selftest(args) => cmd::selftest::run(&args),
        Command::Redteam(args) => cmd::redteam::run(&args),
        Command::Verify(args) => cmd::verify::run(&args),
        Command::Receipt(args) => cmd::receipt::run(&args),
        Command::Factory(args) => cmd::factory::run(&args),
        Command::Announce(args) => cmd::validate::announce(&args),
        Command::Validate(args) => cmd::validate::run(&args),
        Command::Discover(args) => cmd::discover::run(&args),
        Command::Witness(args) => cmd::witness::run(&args),
        Command::Component(args) => cmd::component::run(&args),
        Command::Queue(args) => cmd::queue::run(&args),
        Command::Commitment(args) => cmd::commitment::run(&args),
        Command::Govern(args) => cmd::govern::run(&args),
        Command::Config(args) => cmd::config::run(&args),
        Command::Owner(args) => cmd::owner::run(&args),
        Command::Energy(args) => cmd::energy::run(&args),
        Command::Trust(args) => cmd::trust::run(&args),
        Command::Checkpoint(args) => cmd::checkpoint::run(&args),
        Command::Events(args) => cmd::events::run(&args),
        Command::Webhook(args) => cmd::webhook::run(&args),
        Command::Ledger(args) => cmd::ledger::run(&args),
        Command::Openapi => cmd::openapi::run(),
    };
    cmd::finish(done)
}
