//! How a passphrase is given: in a file, in the environment, or at the terminal.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};

use super::{Error, private};

/// Holds a passphrase when no file is named.
const PASSPHRASE_VARIABLE: &str = "MODBATT_PASSPHRASE";
/// Holds a PIN when no file is named.
const PIN_VARIABLE: &str = "MODBATT_PIN";
/// Longest passphrase, in bytes.
const LENGTH_MAX: usize = 1_024;
/// Shortest new passphrase, in characters.
const LENGTH_MIN: usize = 8;

/// Part of the arguments of every command that opens encrypted keys.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PassphraseArgs {
    /// Read the passphrase from the first line of a private file [default: MODBATT_PASSPHRASE, or the terminal]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// As if this file had been named.
    pub fn of_file(path: &Path) -> Self {
        PassphraseArgs { passphrase_file: Some(path.to_owned()) }
    }

    /// The passphrase of what is already encrypted.
    pub fn existing(&self) -> Result<SecretString, Error> {
        match self.given(std::env::var_os(PASSPHRASE_VARIABLE))? {
            Some(passphrase) => Ok(passphrase),
            None => ask("Passphrase: "),
        }
    }

    /// A passphrase for what will be encrypted; asked for twice at a terminal.
    pub fn new_one(&self) -> Result<SecretString, Error> {
        let passphrase = match self.given(std::env::var_os(PASSPHRASE_VARIABLE))? {
            Some(passphrase) => passphrase,
            None => {
                let first = ask("New passphrase: ")?;
                let second = ask("The same again: ")?;
                if first.expose_secret() != second.expose_secret() {
                    return Err(Error::BadPassphrase("the two passphrases differ; nothing was written"));
                }
                first
            }
        };
        long_enough(passphrase)
    }

    fn given(&self, variable: Option<OsString>) -> Result<Option<SecretString>, Error> {
        given(self.passphrase_file.as_deref(), variable, PASSPHRASE_VARIABLE)
    }
}

/// Part of the arguments of every command that uses a key in a token.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PinArgs {
    /// Read the PIN of the token from the first line of a private file [default: MODBATT_PIN, or the terminal]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

impl PinArgs {
    /// The PIN.
    pub fn get(&self) -> Result<SecretString, Error> {
        match given(self.pin_file.as_deref(), std::env::var_os(PIN_VARIABLE), PIN_VARIABLE)? {
            Some(pin) => Ok(pin),
            None => ask("PIN of the token: ").map_err(|_| Error::NoPin),
        }
    }
}

/// Part of the arguments of every command that uses a key wherever it is kept.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Unlock {
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    #[command(flatten)]
    pub pin: PinArgs,
}

/// What the file or the environment gives.
fn given(
    file: Option<&Path>,
    variable: Option<OsString>,
    name: &'static str,
) -> Result<Option<SecretString>, Error> {
    if let Some(path) = file {
        let path = path.to_owned();
        let missing = || Error::File { path: path.clone(), what: "there is no such file".into() };
        let bytes = private::read(&path, LENGTH_MAX)?.ok_or_else(missing)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::Damaged { path: path.clone(), what: "it is not UTF-8 text".into() })?;
        return Ok(Some(SecretString::from(text.lines().next().unwrap_or_default().to_owned())));
    }
    match variable.filter(|v| !v.is_empty()) {
        None => Ok(None),
        Some(v) => match v.into_string() {
            Ok(text) => Ok(Some(SecretString::from(text))),
            Err(_) => Err(Error::NotText(name)),
        },
    }
}

fn long_enough(passphrase: SecretString) -> Result<SecretString, Error> {
    if passphrase.expose_secret().chars().count() < LENGTH_MIN {
        return Err(Error::BadPassphrase("the passphrase is too short; at least 8 characters"));
    }
    Ok(passphrase)
}

fn ask(prompt: &str) -> Result<SecretString, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoPassphrase);
    }
    rpassword::prompt_password(prompt).map(SecretString::from).map_err(|_| Error::NoPassphrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_file_comes_before_the_environment() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("p");
        private::write(&path, b"from the file\nsecond line").unwrap();
        let file = PassphraseArgs { passphrase_file: Some(path.clone()) };
        let none = PassphraseArgs::default();
        let text = |p: Option<SecretString>| p.map(|p| p.expose_secret().to_owned());
        assert_eq!(text(file.given(Some("variable".into())).unwrap()).unwrap(), "from the file");
        assert_eq!(text(none.given(Some("variable".into())).unwrap()).unwrap(), "variable");
        assert_eq!(text(none.given(Some("".into())).unwrap()), None);
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.given(None), Err(Error::File { .. })));
        private::write(&path, &[0xFF; 4]).unwrap();
        assert!(matches!(file.given(None), Err(Error::Damaged { .. })));
        assert!(long_enough(SecretString::from("1234567".to_owned())).is_err());
        assert!(long_enough(SecretString::from("12345678".to_owned())).is_ok());
    }
}
