//! Signing keys in a PKCS#11 token (`spec/api.md`, A211). The key is made in the token or imported into it, and never comes out;
//! beside the other keys lies only where it is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use bridge::{Token, TokenFailure};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use lct::Digest;
use lct::hash::sha256;
use lct::sign::{PublicKey, Signature, SigningKey};
use lct::spk::SPK_LEN;
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::{Error, file_error};
use crate::cmd::Failure;
use crate::cmd::data_dir::replace_file;

const HEAD: &str = "modbatt token 1";
/// Longest file of a place.
const PLACE_MAX: u64 = 4_096;
/// DER of the object identifier of P-256.
const P256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// An uncompressed point as PKCS#11 gives it: a DER octet string of 65 bytes.
const POINT_HEAD: [u8; 2] = [0x04, 0x41];
/// Length of the identifier of a key in its token.
const ID_LEN: usize = 16;

/// Which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The library that speaks to it.
    pub module: PathBuf,
    /// Its label.
    pub token: String,
}

/// Part of the arguments of every command that puts a key into a token.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// The PKCS#11 library of the token, for example /usr/lib/softhsm/libsofthsm2.so
    #[arg(long, value_name = "LIBRARY")]
    module: PathBuf,
    /// The token's label
    #[arg(long, value_name = "LABEL", value_parser = label)]
    token: String,
}

impl Which {
    /// The token.
    pub fn place(&self) -> Result<Place, Failure> {
        let module = std::path::absolute(&self.module).ok().filter(|path| path.is_file());
        let shown = self.module.display();
        let module = module.ok_or_else(|| Failure::Input(format!("there is no PKCS#11 library {shown}")))?;
        match module.to_str() {
            Some(path) if !path.contains('\n') => Ok(Place { module, token: self.token.clone() }),
            _ => Err(Failure::Input(format!("{shown} cannot be written down; use a path of plain text"))),
        }
    }
}

/// Part of the arguments of every command that makes a key, in a token or in a file.
#[derive(Debug, Clone, clap::Args)]
pub struct Whether {
    /// The PKCS#11 library of the token in which the key is drawn and stays [default: it is in a file]
    #[arg(long, value_name = "LIBRARY", requires = "token")]
    module: Option<PathBuf>,
    /// The token's label
    #[arg(long, value_name = "LABEL", requires = "module", value_parser = label)]
    token: Option<String>,
}

impl Whether {
    /// The token, if one is named.
    pub fn place(&self) -> Result<Option<Place>, Failure> {
        let named = self.module.clone().zip(self.token.clone());
        named.map(|(module, token)| Which { module, token }.place()).transpose()
    }
}

fn label(text: &str) -> Result<String, String> {
    match (1..=32).contains(&text.len()) && !text.contains(char::is_control) && text.trim() == text {
        true => Ok(text.to_owned()),
        false => Err("it has 1 to 32 bytes, without control characters or blanks at its ends".into()),
    }
}

/// Where a key lies, as it stands in `NAME.token`: text, nothing in it is secret.
///
/// ```text
/// modbatt token 1
/// module PATH of the PKCS#11 library
/// token  LABEL of the token
/// id     CKA_ID of the key, 32 hexadecimal digits
/// public what it is known as: SPK 68 or public key 33, hexadecimal
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The token.
    pub place: Place,
    /// The key in it.
    pub id: [u8; ID_LEN],
    /// What it is known as.
    pub public: Vec<u8>,
}

impl Held {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        let (module, id) = (self.place.module.display(), hex::encode(self.id));
        let _ = write!(text, "module {module}\ntoken {}\nid {id}\n", self.place.token);
        let _ = writeln!(text, "public {}", hex::encode(&self.public));
        text
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err("its first line is not `modbatt token 1`");
        }
        let mut field = |name: &str, wrong: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.filter(|value| !value.is_empty()).ok_or(wrong)
        };
        let module = PathBuf::from(field("module", "its second line is not `module PATH`")?);
        let token = field("token", "its third line is not `token LABEL`")?.to_owned();
        let id = hex::decode(field("id", "its fourth line is not `id HEX`")?).ok();
        let id = id.and_then(|id| id.try_into().ok()).ok_or("`id` has 32 hexadecimal digits")?;
        let public = hex::decode(field("public", "its fifth line is not `public HEX`")?).ok();
        // An authority is known as its SPK, other keys as their public key.
        let public = public.filter(|public| matches!(public.len(), 33 | SPK_LEN));
        let public = public.ok_or("`public` has 66 or 136 hexadecimal digits")?;
        if lines.next().is_some() {
            return Err("it has more than five lines");
        }
        Ok(Held { place: Place { module, token }, id, public })
    }

    /// Reads the file at `path`; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let damaged = |what: &str| Error::Damaged { path: path.to_owned(), what: what.to_owned() };
        match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(file_error(path, &e)),
            Ok(found) if found.len() > PLACE_MAX => return Err(damaged("it is too long")),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(|e| file_error(path, &e))?;
        Held::parse(&text).map(Some).map_err(damaged)
    }

    /// Writes the file at `path`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(replace_file(path, self.to_text().as_bytes())?)
    }

    /// Whether it is the signing key of an authority, which has an opening key besides.
    pub fn is_of_authority(&self) -> bool {
        self.public.len() == SPK_LEN
    }

    /// Opens the key.
    pub fn open(&self, pin: &SecretString) -> Result<TokenKey, Error> {
        let session = self.place.session(pin)?;
        let key = find(&session, ObjectClass::PRIVATE_KEY, &self.id)?;
        let key = key.ok_or_else(|| self.place.error("it holds no such key"))?;
        let from = if self.is_of_authority() { 2 } else { 0 };
        let public = self.public.get(from..from + 33).and_then(|point| PublicKey::from_slice(point).ok());
        let public = public.ok_or_else(|| self.place.error("`public` is no key"))?;
        TokenKey { session, key, public }.checked(&self.place)
    }
}

impl Place {
    fn error(&self, what: impl ToString) -> Error {
        Error::Token { token: self.token.clone(), what: what.to_string() }
    }

    /// Logs in.
    fn session(&self, pin: &SecretString) -> Result<Session, Error> {
        let library = Pkcs11::new(&self.module)
            .map_err(|e| self.error(format!("{} cannot be used: {}", self.module.display(), words(&e))))?;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Once for a process and a library, however many keys are opened.
            Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(e) => return Err(self.error(words(&e))),
        }
        let slots = library.get_slots_with_initialized_token().map_err(|e| self.error(words(&e)))?;
        let mut labelled = slots
            .into_iter()
            .filter(|slot| library.get_token_info(*slot).is_ok_and(|info| info.label() == self.token));
        let slot = labelled.next().ok_or_else(|| self.error("there is no token of this label"))?;
        if labelled.next().is_some() {
            return Err(self.error("there are several tokens of this label; take out the others"));
        }
        let session = library.open_rw_session(slot).map_err(|e| self.error(words(&e)))?;
        match session.login(UserType::User, Some(pin)) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(e) => Err(self.error(words(&e))),
        }
    }

    /// Has the token draw a key.
    pub fn generate(
        &self,
        name: &str,
        pin: &SecretString,
        rng: &mut impl CryptoRng,
    ) -> Result<(Held, TokenKey), Error> {
        let session = self.session(pin)?;
        let mut id = [0; ID_LEN];
        rng.fill_bytes(&mut id);
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(P256.to_vec()),
            Attribute::Label(name.into()),
            Attribute::Id(id.to_vec()),
        ];
        let private = [guards(name, id).as_slice(), &[Attribute::Derive(false)]].concat();
        let (point, key) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .map_err(|e| self.error(words(&e)))?;
        let attributes = session.get_attributes(point, &[AttributeType::EcPoint]);
        let attributes = attributes.map_err(|e| self.error(words(&e)))?;
        let public = attributes.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(der) => compressed(der.strip_prefix(&POINT_HEAD)?),
            _ => None,
        });
        let public = public.ok_or_else(|| self.error("it gives no point of P-256 for the key it drew"))?;
        let held = Held { place: self.clone(), id, public: public.0.to_vec() };
        Ok((held, TokenKey { session, key, public }.checked(self)?))
    }

    /// Puts a key into the token. Done again after an interruption, it finds what it did.
    pub fn import(
        &self,
        name: &str,
        secret: &SigningKey,
        pin: &SecretString,
    ) -> Result<(Held, TokenKey), Error> {
        let session = self.session(pin)?;
        let public = secret.public();
        let id = id_of(&public);
        let held = Held { place: self.clone(), id, public: public.0.to_vec() };
        let key = match find(&session, ObjectClass::PRIVATE_KEY, &id)? {
            Some(key) => key,
            None => {
                let mut template = guards(name, id);
                template.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
                template.push(Attribute::KeyType(KeyType::EC));
                template.push(Attribute::EcParams(P256.to_vec()));
                template.push(Attribute::Value(secret.to_bytes().expose().to_vec()));
                let made = session.create_object(&template);
                for attribute in &mut template {
                    if let Attribute::Value(value) = attribute {
                        value.zeroize();
                    }
                }
                made.map_err(|e| self.error(words(&e)))?
            }
        };
        Ok((held, TokenKey { session, key, public }.checked(self)?))
    }
}

/// Identifier of a key in its token.
pub fn id_of(public: &PublicKey) -> [u8; ID_LEN] {
    let hash = sha256(&[b"modbatt1 token key", &public.0]);
    core::array::from_fn(|i| hash[i])
}

/// What holds of every private key that is put into a token or made in it.
fn guards(name: &str, id: [u8; ID_LEN]) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(name.into()),
        Attribute::Id(id.to_vec()),
    ]
}

fn find(session: &Session, class: ObjectClass, id: &[u8]) -> Result<Option<ObjectHandle>, Error> {
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Id(id.to_vec())]);
    let found = found.map_err(|e| Error::Token { token: "of the session".into(), what: words(&e) })?;
    Ok(found.first().copied())
}

fn compressed(point: &[u8]) -> Option<PublicKey> {
    let point = p256::PublicKey::from_sec1_bytes(point).ok()?;
    PublicKey::from_slice(point.to_sec1_point(true).as_bytes()).ok()
}

/// A key in a token, with the session that uses it.
pub struct TokenKey {
    session: Session,
    key: ObjectHandle,
    public: PublicKey,
}

impl TokenKey {
    /// The key cannot come out, and is the one that is meant: it signs what no one else chose.
    fn checked(self, place: &Place) -> Result<Self, Error> {
        let attributes =
            self.session.get_attributes(self.key, &[AttributeType::Sensitive, AttributeType::Extractable]);
        let attributes = attributes.map_err(|e| place.error(words(&e)))?;
        let kept = [Attribute::Sensitive(true), Attribute::Extractable(false)];
        if !kept.iter().all(|wanted| attributes.contains(wanted)) {
            return Err(place.error("it would hand the key out; make or import it with this program"));
        }
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge)
            .map_err(|e| place.error(format!("the system gives no random numbers: {e}")))?;
        self.sign(&sha256(&[b"modbatt1 token check", &challenge])).map_err(|e| place.error(e.0))?;
        Ok(self)
    }
}

impl Token for TokenKey {
    fn public(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, digest: &Digest) -> Result<Signature, TokenFailure> {
        let signature = self.session.sign(&Mechanism::Ecdsa, self.key, digest);
        let signature = signature.map_err(|e| TokenFailure(words(&e)))?;
        let low = p256::ecdsa::Signature::from_slice(&signature).map(|signature| signature.normalize_s());
        let low = low.map_err(|_| TokenFailure("it answers with something else than a signature".into()))?;
        let signature = Signature(low.to_bytes().into());
        let other = |_| TokenFailure("it holds another key under this identifier".into());
        self.public.verify(digest, &signature).map_err(other)?;
        Ok(signature)
    }
}

/// What a token's refusal means to people.
fn words(error: &TokenError) -> String {
    let TokenError::Pkcs11(code, _) = error else { return error.to_string() };
    match code {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            "the PIN is wrong; after a few wrong ones it locks".into()
        }
        RvError::PinLocked => "its PIN is locked; its security officer unlocks it".into(),
        RvError::PinExpired => "its PIN ran out; set another one".into(),
        RvError::UserNotLoggedIn => "it wants the PIN again; start anew".into(),
        RvError::TokenNotPresent | RvError::DeviceRemoved => "it was taken out".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_place_is_read_as_written_and_nothing_else_is() {
        let held = Held {
            place: Place { module: "/usr/lib/softhsm/libsofthsm2.so".into(), token: "plant 1".into() },
            id: [7; 16],
            public: vec![3; 68],
        };
        let text = held.to_text();
        assert_eq!(Held::parse(&text), Ok(held));
        for (from, to) in [
            ("token 1\n", "token 2\n"),
            ("module ", "modul "),
            ("token plant 1", "token "),
            ("id 07", "id "),
            ("public 03", "public "),
            ("public 0303", "public 03"),
            ("\npublic", "\n\npublic"),
        ] {
            assert!(Held::parse(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
        assert!(Held::parse(&format!("{text}more\n")).is_err());
        assert!(Held::parse("").is_err());
    }
}
