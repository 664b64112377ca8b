//! How app and pack get to know each other in the demo: `--bootstrap`, the code that is printed on the simulated
//! pack, the comparison of digits, and what to say when it fails.

use std::fs;

use gateway::{Plan, stretch};
use lct::binding::Assurance;
use lct::id::Cid;
use lct::pake::Code;
use lct::sign::SigningKey;
use node::Chain;
use pack::bootstrap::Failure as NoChannel;
use pack::identity::{Record, key};
use rand_core::CryptoRng;
use sim::flash::{self, CONTROLLER_PAGES, Nor};
use zeroize::Zeroizing;

use super::super::data_dir::DataDir;
use super::super::factory::code_in;
use super::super::{Failure, reason};

/// Reads `--bootstrap`.
pub fn parse_bootstrap(text: &str) -> Result<Assurance, String> {
    Assurance::from_name(text).map_err(|_| "it is `b0`, `b1`, `b2` or `b1+b2`".into())
}

/// Reads `--code`.
pub fn parse_code(text: &str) -> Result<Code, String> {
    // A scanner gives the whole content of the label.
    Code::parse(code_in(text)).map_err(|e| match e {
        lct::Error::NotAuthentic => "the check character does not fit: a character is mistyped".into(),
        _ => "it is 12 letters and digits and a check character, for example 7Z3K-9QXM-20AB-R".into(),
    })
}

/// File beside the keys that stands for the label on the pack.
fn label(pack: &str) -> String {
    format!("label-{pack}")
}

/// Prints a code on the pack in the factory: the label, and what the pack keeps instead of the code. Returns what its
/// certificate promises.
pub fn print_code(
    dir: &DataDir,
    pack: &str,
    code: &Code,
    identity: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<lct::Digest, Failure> {
    let cid = Cid::of(pack);
    let record =
        stretch(code, &cid).map_err(|e| Failure::Failed(format!("the code of the pack: {e}")))?.record();
    let kept = Record::new(key::CODE, &[&[1], record.expose().as_slice()])
        .map_err(|e| Failure::Failed(format!("the code of the pack: {e}")))?;
    // What an interrupted manufacture left belongs to another identity.
    let path = dir.flash().join(format!("{pack}.flash"));
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::Failed(format!("{}: {}", path.display(), reason(&e))));
        }
        _ => {}
    }
    let stored = Nor::open(&path, CONTROLLER_PAGES)
        .and_then(|nor| flash::mount(nor, identity, rng))
        .and_then(|mut vault| flash::keep(&mut vault, &kept, rng));
    stored.map_err(|e| Failure::Failed(format!("flash of the pack: {e}")))?;
    dir.write_key(&label(pack), format!("{}\n", code.printed()).as_bytes())?;
    Ok(record.commitment(&cid))
}

/// Refuses a code that no mode asks for, before anything is made.
pub fn check(assurance: Assurance, typed: Option<&Code>) -> Result<(), Failure> {
    match typed {
        Some(_) if !assurance.has_code() => {
            Err(Failure::Input("--code is for --bootstrap b2 and b1+b2".into()))
        }
        _ => Ok(()),
    }
}

/// What the app is to do, by `--bootstrap` and `--code`; without `--code` it reads the label.
pub fn plan(dir: &DataDir, pack: &str, assurance: Assurance, typed: Option<&Code>) -> Result<Plan, Failure> {
    let code = match (assurance.has_code(), typed) {
        (false, _) => None,
        (true, Some(code)) => Some(code.clone()),
        (true, None) => Some(read_label(dir, pack)?),
    };
    Plan::new(assurance, code).map_err(|e| Failure::Failed(e.to_string()))
}

fn read_label(dir: &DataDir, pack: &str) -> Result<Code, Failure> {
    let path = dir.keys().join(label(pack));
    let text = fs::read_to_string(&path).map(Zeroizing::new);
    let text = text.map_err(|e| {
        Failure::Input(format!("{}: {}; this pack has no printed code", path.display(), reason(&e)))
    })?;
    Code::parse(text.trim()).map_err(|_| {
        Failure::Input(format!("{} does not hold a code; restore it from a copy", path.display()))
    })
}

/// Six digits as they are shown.
pub fn shown(digits: u32) -> String {
    format!("{:03} {:03}", digits / 1_000, digits % 1_000)
}

/// Why there is no device channel, and what to do.
pub fn sentence(failure: NoChannel) -> String {
    match failure {
        NoChannel::WrongCode => {
            "the code does not fit this pack; compare it with the label (the pack counts wrong \
                                 codes and waits after five)"
                .into()
        }
        NoChannel::Locked(u16::MAX) => {
            "the pack takes no code after twenty wrong ones; switch it off and on and \
                                        press its button within ten seconds"
                .into()
        }
        NoChannel::Locked(seconds) => {
            format!("the pack takes no code for another {seconds} seconds, after too many wrong ones")
        }
        NoChannel::Silent => {
            "the pack did not take part; its commissioning window may be closed, or it has no code".into()
        }
        NoChannel::Different => {
            "the digits differ: somebody sits between app and pack; nothing was kept".into()
        }
        NoChannel::Closed => "the commissioning window closed before the digits were compared".into(),
    }
}

/// Assurance of the binding of app and pack that is in force, as the ledger has it.
pub fn recorded(chain: &Chain, pack: Cid) -> Result<Option<Assurance>, node::Error> {
    let bindings = chain.read()?.bindings_of(&pack)?;
    // Of the pack and what is below it the pack is A.
    let between = bindings.iter().map(|(_, b)| b).filter(|b| b.b == pack);
    let last = between.max_by_key(|b| b.height);
    Ok(last.and_then(|b| Assurance::from_code(b.assurance).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_explained() {
        for (text, assurance) in [
            ("b0", Assurance::Plain),
            ("B1", Assurance::Attested),
            ("b2", Assurance::Code),
            ("b1+b2", Assurance::AttestedAndCode),
        ] {
            assert_eq!(parse_bootstrap(text), Ok(assurance));
        }
        assert!(parse_bootstrap("b3").is_err());
        assert!(parse_code("7z3k 9qxm 20ab r").is_ok());
        assert!(parse_code("modbatt:pack-0001?code=7Z3K9QXM20ABR").is_ok());
        assert!(parse_code("7z3k 9qxm 20ab s").unwrap_err().contains("mistyped"));
        assert!(parse_code("7z3k").unwrap_err().contains("for example"));
        assert_eq!(shown(1_002), "001 002");
    }
}
