//! The printed code on a host: stretched with scrypt, and what commissioning does with it (`spec/channel.md`, H80, H81).

use lct::{
    Error,
    binding::Assurance,
    id::Cid,
    pake::{Code, ProverSecret, SCRYPT, STRETCHED_LEN},
    secret::Secret,
};
use zeroize::Zeroizing;

/// How app and pack establish each other's identity before they are bound.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) assurance: Assurance,
    pub(crate) code: Option<Code>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { assurance: Assurance::Attested, code: None }
    }
}

impl Plan {
    /// A plan for `assurance`; B2 and B1+B2 need the code that is printed on the pack.
    ///
    /// [`Error::WrongParty`] when a code is missing, or given where it is of no use.
    pub fn new(assurance: Assurance, code: Option<Code>) -> Result<Self, Error> {
        if assurance.has_code() == code.is_some() {
            Ok(Plan { assurance, code })
        } else {
            Err(Error::WrongParty)
        }
    }

    pub(crate) fn needs_channel(&self) -> bool {
        self.assurance != Assurance::Attested
    }
}

/// Computes what a prover needs from a code; takes about a tenth of a second and 32 MiB, on purpose.
pub fn stretch(code: &Code, pack: &Cid) -> Result<ProverSecret, Error> {
    let (log_n, r, p) = SCRYPT;
    let parameters = scrypt::Params::new(log_n, r, p).map_err(|_| Error::Malformed)?;
    let mut stretched = Zeroizing::new([0; STRETCHED_LEN]);
    scrypt::scrypt(code.characters(), &pack.0, &parameters, stretched.as_mut_slice())
        .map_err(|_| Error::BufferTooSmall)?;
    ProverSecret::from_stretched(&Secret::new(*stretched))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hashlib.scrypt and integers from H81.
    #[test]
    fn a_code_becomes_the_published_record() {
        let code = Code::parse("7Z3K-9QXM-20AB-R").unwrap();
        let pack = Cid::of("pack-0001");
        let record = stretch(&code, &pack).unwrap().record();
        assert_eq!(
            hex(&record.expose()[..32]),
            "ebac513706ef976170a1a4aecf34e26fac4ffb806c1bbb0e2ed195d472cb7f4a"
        );
        assert_eq!(
            hex(&record.commitment(&pack)),
            "315b2da166ce3d3f530bed5a26a04d2c0cbd2f7cdb992f2043a70eba0fd6640f"
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_plan_has_a_code_exactly_when_it_needs_one() {
        let code = || Some(Code::parse("7Z3K-9QXM-20AB-R").unwrap());
        for (assurance, with, without) in [
            (Assurance::Plain, false, true),
            (Assurance::Attested, false, true),
            (Assurance::Code, true, false),
            (Assurance::AttestedAndCode, true, false),
        ] {
            assert_eq!(Plan::new(assurance, code()).is_ok(), with, "{}", assurance.name());
            assert_eq!(Plan::new(assurance, None).is_ok(), without, "{}", assurance.name());
        }
    }
}
