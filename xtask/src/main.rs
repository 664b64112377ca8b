//! Chores that `cargo` cannot express, run as `cargo xtask COMMAND`.
//!
//! `xtask` depends on no product crate, so that it compiles in seconds and can
//! judge a tree that does not compile.

use std::process::ExitCode;

use anyhow::Result;

mod bare_metal;
mod bench;
mod demo;
mod deny;
#[cfg(test)]
mod determinism;
mod fuzz;
mod load;
mod model;
mod protocol_models;
mod python;
mod shell;
mod soak;
mod suite;
mod tidy;
mod token;

/// One row of the help table and of the dispatch: what is typed, what it does, the code.
struct Subcommand {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: [Subcommand; 6] = [
    Subcommand {
        name: "bench",
        usage: "bench NAME [--json] [--quick] [--only PART]",
        about: "speed beside peers in the same run; benches: link, tiers, receipt, ledger, bridge, firmware",
        run: bench::run,
    },
    Subcommand {
        name: "demo",
        usage: "demo [ARGS...]",
        about: "build modbatt in release and run `modbatt demo ARGS...`",
        run: demo::run,
    },
    Subcommand {
        name: "soak",
        usage: "soak NAME [--minutes N] [--components N] [--records N]",
        about: "runs that take long, outside CI; soaks: bridge, gateways (--minutes), ledger (sizes)",
        run: soak::run,
    },
    Subcommand {
        name: "test",
        usage: "test [--long] [--only PART]",
        about: "everything that CI checks, in order; stops at the first failure",
        run: suite::run,
    },
    Subcommand {
        name: "tidy",
        usage: "tidy",
        about: "rules about the tree: arrows between crates, file headers, links",
        run: tidy::run,
    },
    Subcommand { name: "help", usage: "help", about: "this table", run: help },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = match args.first().map(String::as_str) {
        None | Some("-h" | "--help") => "help",
        Some(name) => name,
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("xtask: there is no command `{name}`; `cargo xtask help` lists them");
        return ExitCode::from(2);
    };
    match (command.run)(args.get(1..).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help(_: &[String]) -> Result<()> {
    println!("cargo xtask COMMAND\n");
    let width = COMMANDS.iter().map(|command| command.usage.len()).max().unwrap_or(0);
    for command in &COMMANDS {
        println!("  {:width$}  {}", command.usage, command.about);
    }
    println!("\nparts of `test`, in order:\n");
    for part in suite::PARTS {
        println!("  {:width$}  {}", part.name, part.about);
    }
    Ok(())
}
