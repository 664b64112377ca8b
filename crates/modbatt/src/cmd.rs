//! The subcommands, and how all of them end.

pub mod audit;
pub mod bind;
pub mod check;
pub mod checkpoint;
pub mod commitment;
pub mod component;
pub mod config;
pub mod consent;
pub mod creator;
pub mod data_dir;
pub mod delegate;
pub mod demo;
pub mod discover;
pub mod energy;
pub mod eval;
pub mod events;
pub mod factory;
pub mod govern;
pub mod keys;
pub mod ledger;
pub mod older;
pub mod openapi;
pub mod order;
pub mod owner;
pub mod pair;
pub mod policy;
pub mod queue;
pub mod receipt;
pub mod recover;
pub mod redteam;
pub mod replace;
pub mod revoke;
pub mod selftest;
pub mod send;
pub mod serve;
pub mod service;
pub mod status;
pub mod succession;
pub mod trust;
pub mod user;
pub mod validate;
pub mod verify;
pub mod webhook;
pub mod witness;

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Part of every `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; everything checked holds
  1  failed or refused
  2  wrong arguments, or a file or folder that cannot be read
  3  the receipt is consistent, but its signer is unknown (no trust file)";

/// How a command that ran to its end came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything holds.
    Good,
    /// Something checked does not hold.
    Bad,
    /// Everything agrees, but nothing is known about who signed.
    SignerUnknown,
}

/// Why a command could not do its work: one sentence that says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was tried and failed, or was refused.
    Failed(String),
    /// The arguments are wrong, or what they name cannot be read.
    Input(String),
}

impl From<bridge::Refusal> for Failure {
    fn from(refusal: bridge::Refusal) -> Self {
        Failure::Failed(refusal.0.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(sentence) | Failure::Input(sentence) => f.write_str(sentence),
        }
    }
}

/// Turns the end of a command into its exit code, and a failure into a line on standard error.
pub fn finish(done: Result<Outcome, Failure>) -> ExitCode {
    let code = match &done {
        Ok(Outcome::Good) => 0,
        Ok(Outcome::Bad) | Err(Failure::Failed(_)) => 1,
        Err(Failure::Input(_)) => 2,
        Ok(Outcome::SignerUnknown) => 3,
    };
    if let Err(failure) = done {
        // Nobody is left to be told when standard error is closed too.
        let _ = writeln!(io::stderr(), "modbatt: {}", without_numbers(&failure.to_string()));
    }
    ExitCode::from(code)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write the result to standard output: {}", reason(&e))))
        }
        _ => Ok(()),
    }
}

/// Prints what the bridge answered: as one JSON object, or in words.
pub fn print_answer<T: serde::Serialize>(
    answer: &T,
    json: bool,
    in_words: impl FnOnce(&T) -> String,
) -> Result<Outcome, Failure> {
    print(&if json {
        let text = serde_json::to_string(answer).map_err(|e| Failure::Failed(e.to_string()))?;
        format!("{text}\n")
    } else {
        in_words(answer)
    })?;
    Ok(Outcome::Good)
}

/// After which block the ledger is asked.
#[derive(clap::Args)]
pub struct When {
    /// Say how it was after the block of this height, one of the last 100 [default: the last block]
    #[arg(long, value_name = "HEIGHT")]
    height: Option<u64>,
}

impl When {
    /// A client that asks a running ledger about that time.
    pub fn client(&self, client: api::Client) -> api::Client {
        client.at(self.height)
    }

    /// A view of a ledger at rest, as it was then.
    pub fn read<'a>(&self, ledger: &'a node::ReadOnly) -> Result<node::Snapshot<'a>, Failure> {
        let snapshot = ledger.read().map_err(|e| ledger::failure(&e))?;
        match self.height {
            None => Ok(snapshot),
            Some(height) => snapshot.at(height).map_err(|e| match e {
                node::past::PastError::Store(e) => ledger::failure(&e),
                other => Failure::Failed(other.to_string()),
            }),
        }
    }
}

/// A running ledger that is asked, about when, and how the answer is told.
#[derive(clap::Args)]
pub struct Asked {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: std::path::PathBuf,
    #[command(flatten)]
    when: When,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// The way to the ledger.
    pub fn client(&self) -> Result<api::Client, Failure> {
        let (_, run) = data_dir::DataDir::open_running(&self.data_dir, "its ledger can be asked")?;
        let client = api::Client::new(&run.url).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(self.when.client(client))
    }

    /// Prints the answer.
    pub fn tell<T: serde::Serialize>(
        &self,
        answer: &T,
        in_words: impl FnOnce(&T) -> String,
    ) -> Result<Outcome, Failure> {
        print_answer(answer, self.json, in_words)
    }
}

/// The system's words for an error.
pub fn reason(error: &io::Error) -> String {
    without_numbers(&error.to_string()).to_lowercase()
}

/// Takes the numbers of system errors out of a sentence: ` (os error 2)` helps nobody.
fn without_numbers(sentence: &str) -> String {
    const MARK: &str = " (os error ";
    let mut parts = sentence.split(MARK);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    words
}

/// Waits for the answer of a bridge.
pub fn ask<T>(answer: impl Future<Output = Result<T, api::ClientError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::Failed(format!("cannot open a connection: {}", reason(&e))))?;
    runtime.block_on(answer).map_err(|e| {
        let advice = if e.is_transient() { "; try again in a moment" } else { "" };
        Failure::Failed(format!("{e}{advice}"))
    })
}

/// A generator seeded by the operating system.
pub fn os_rng() -> Result<ChaCha20Rng, Failure> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|e| Failure::Failed(format!("the system gives no random numbers: {e}")))?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_are_taken_out() {
        for (text, words) in [
            ("a: No such file (os error 2)", "a: No such file"),
            ("a (os error 2); b (os error 111) c", "a; b c"),
            ("nothing", "nothing"),
            ("cut (os error 2", "cut"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(text), words);
        }
    }
}
