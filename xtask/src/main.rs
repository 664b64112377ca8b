//! Chores that `cargo` cannot express, run as `cargo xtask COMMAND`.
//!
//! `xtask` depends on no product crate, so that it compiles in seconds and can
//! judge a tree that does not compile.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

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
    /// What may follow it, and what that means.
    words: &'static [(&'static str, &'static str)],
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: [Subcommand; 6] = [
    Subcommand {
        name: "bench",
        usage: "bench NAME [--json] [--quick] [--only PART]",
        about: "speed beside peers in the same run",
        words: &bench::WORDS,
        run: bench::run,
    },
    Subcommand {
        name: "demo",
        usage: "demo [ARGS...]",
        about: "build modbatt in release and run `modbatt demo ARGS...`",
        words: &[("ARGS...", "what `modbatt demo --help` lists")],
        run: demo::run,
    },
    Subcommand {
        name: "soak",
        usage: "soak NAME [OPTIONS]",
        about: "runs that take long, outside CI",
        words: &soak::WORDS,
        run: soak::run,
    },
    Subcommand {
        name: "test",
        usage: "test [--long] [--only PART]",
        about: "everything that CI checks, in order; stops at the first failure",
        words: &suite::WORDS,
        run: suite::run,
    },
    Subcommand {
        name: "tidy",
        usage: "tidy",
        about: "rules about the tree: arrows between crates, file headers, links",
        words: &[],
        run: tidy::run,
    },
    Subcommand {
        name: "help",
        usage: "help [COMMAND]",
        about: "this table, or what may follow a command",
        words: &[],
        run: help,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Usage(name)) => {
            eprintln!("xtask: there is no command `{name}`; `cargo xtask help` lists them");
            ExitCode::from(2)
        }
        Err(Failed::Run(error)) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing came of a command.
#[derive(Debug)]
enum Failed {
    /// There is none of this name.
    Usage(String),
    Run(anyhow::Error),
}

fn run(args: &[String]) -> Result<(), Failed> {
    let (name, rest) = args.split_first().map_or(("help", &[][..]), |(name, rest)| (name, rest));
    if is_help(name) {
        return help(rest).map_err(Failed::Run);
    }
    let command = find(name).ok_or_else(|| Failed::Usage(name.to_owned()))?;
    if rest.iter().any(|arg| is_help(arg)) {
        print!("{}", help_of(command));
        return Ok(());
    }
    (command.run)(rest).map_err(Failed::Run)
}

fn find(name: &str) -> Option<&'static Subcommand> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn is_help(arg: &str) -> bool {
    matches!(arg, "-h" | "--help")
}

fn help(args: &[String]) -> Result<()> {
    if let Some(name) = args.first().filter(|arg| !is_help(arg)) {
        let command = find(name).with_context(|| format!("there is no command `{name}`"))?;
        print!("{}", help_of(command));
        return Ok(());
    }
    println!("cargo xtask COMMAND\n");
    let width = COMMANDS.iter().map(|command| command.usage.len()).max().unwrap_or(0);
    for command in &COMMANDS {
        println!("  {:width$}  {}", command.usage, command.about);
    }
    println!("\n`cargo xtask COMMAND --help` says what may follow it.");
    Ok(())
}

/// What a command does, and what may follow it.
fn help_of(command: &Subcommand) -> String {
    let mut text = format!("cargo xtask {}\n\n{}\n", command.usage, command.about);
    let mut words = command.words.to_vec();
    if command.name == "test" {
        words.extend(suite::PARTS.iter().map(|part| (part.name, part.about)));
    }
    if !words.is_empty() {
        text.push('\n');
    }
    let width = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    for (word, about) in words {
        text += &format!("  {word:width$}  {about}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Result<(), Failed> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        run(&args)
    }

    /// Asking what a command takes neither runs it nor is refused, wherever the question stands.
    #[test]
    fn each_command_says_what_may_follow_it() {
        for command in &COMMANDS {
            for help in ["-h", "--help"] {
                for args in
                    [&[command.name, help][..], &[command.name, "--no-such", help], &["help", command.name]]
                {
                    assert!(asked(args).is_ok(), "{args:?}");
                }
            }
            let text = help_of(command);
            assert!(text.contains(command.usage) && text.contains(command.about), "{text}");
        }
        let text = help_of(find("test").unwrap());
        assert!(text.contains("--only PART") && text.contains("protocol-models-long"), "{text}");
        assert!(matches!(asked(&["tset", "--help"]), Err(Failed::Usage(name)) if name == "tset"));
        assert!(asked(&["help", "tset"]).is_err());
    }
}
