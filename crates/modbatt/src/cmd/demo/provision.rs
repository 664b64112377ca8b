//! Manufacture: keys and certificates of a new installation, and reading them back.
//!
//! ```text
//! keys/root          manufacturer root                32-byte scalar
//! keys/batch         batch authority: scalar 32 | its certificate 167
//! keys/authority     the authority's relationship key (see `bridge`)
//! keys/account       the gateway's account            32-byte scalar
//! keys/validator     the ledger's validator           32-byte Ed25519 seed
//! keys/label-PACK    the code printed on the pack, as text
//! keys/device-NAME   a device: scalar 32 | certificate 167 | unique id u32
//! ```
//!
//! What the app is, is kept like that of a device, followed by the host id (a random UUID, 16 bytes), in the place that
//! `--app-key` chose when the directory was made.

use std::fs;
use std::path::Path;

use bridge::AuthorityKey;
use lct::attest::{CERTIFICATE_LEN, DeviceCertificate};
use lct::codec::Fields;
use lct::context::Content;
use lct::id::{Cid, Role};
use lct::pake::Code;
use lct::request::CertificateRequest;
use lct::sign::SigningKey;
use lct::spk::SpkSecret;
use ledger::{
    execute::RULES,
    genesis::{Genesis, Params, Validator},
};
use pack::identity::Identity;
use rand_core::CryptoRng;
use sim::world::RATING;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::data_dir::DataDir;
use super::super::factory::context;
use super::super::factory::line::{Issuer, Validity};
use super::super::keys::AUTHORITY;
use super::super::{Failure, reason};
use super::app_key::AppKey;
use super::parts::Parts;
use crate::custody::Unlock;
use crate::custody::authority::{Keys, Openings};

/// Name of the first pack, of the first app, and of module `n` from 1.
pub const PACK: &str = "pack-0001";
/// Name of the commissioning app.
pub const APP: &str = "app-0001";

/// Name of module `n`, from 1.
pub fn module_name(n: usize) -> String {
    format!("module-{n:04}")
}

/// Groups of cells in each module.
pub const GROUPS: u8 = 2;
/// Name of the batch.
const BATCH: &str = "batch-0001";
/// Of a group of cells: nominal voltage and resistance; and within which temperatures a module serves, 0.001 degC.
const NOMINAL_MV: u32 = 3_650;
const RESISTANCE_UOHM: u32 = 4_000;
const TEMPERATURE_MC: [i32; 2] = [-20_000, 60_000];
/// Years for which everything here is certified.
const YEARS: u32 = 10;
const HARDWARE: u32 = 1;
const FIRMWARE: u32 = 1;

/// Everything that a running installation needs to know of its keys.
pub struct Installation {
    /// The app's identity.
    pub app: Identity,
    /// The app whose host was lost, where this one has not taken the pack over yet.
    pub lost: Option<String>,
    /// Names the computer that the app's key was made on.
    pub host: Uuid,
    /// The pack controller's identity.
    pub pack: Identity,
    /// The modules' identities.
    pub modules: Vec<Identity>,
    /// The gateway's account.
    pub account: SigningKey,
    /// The authority.
    pub authority: AuthorityKey,
    /// Opens the first keys of the devices' logs, so far as it is at hand without being asked for.
    pub opening: Openings,
    /// The validator of the embedded ledger.
    pub validator: ed25519_dalek::SigningKey,
}

/// The keys of a new chain, before anything is written.
pub struct Founders {
    root: Issuer,
    batch: Issuer,
    validity: Validity,
    account: SigningKey,
    authority: SpkSecret,
    validator: Zeroizing<[u8; 32]>,
}

impl Founders {
    /// Draws them at `now_s`, Unix seconds.
    pub fn draw(now_s: u32, rng: &mut impl CryptoRng) -> Result<Self, Failure> {
        let mut validator = Zeroizing::new([0; 32]);
        rng.fill_bytes(validator.as_mut_slice());
        let validity = Validity::years(now_s, YEARS);
        let root = Issuer::root("manufacturer", validity, SigningKey::generate(rng).into(), rng)?;
        Ok(Founders {
            batch: root.batch(BATCH, validity, SigningKey::generate(rng).into(), rng)?,
            root,
            validity,
            account: SigningKey::generate(rng),
            authority: SpkSecret::generate(rng).map_err(|e| Failure::Failed(e.to_string()))?,
            validator,
        })
    }

    /// The first state of their chain.
    pub fn genesis(&self, time_ms: u64) -> Genesis {
        let validator = ed25519_dalek::SigningKey::from_bytes(&self.validator);
        Genesis {
            name: "modbatt".into(),
            time_ms,
            validators: vec![Validator { key: validator.verifying_key().to_bytes(), power: 1 }],
            roots: vec![self.root.public()],
            authorities: vec![self.authority.public().sign_pub()],
            operators: vec![self.account.public()],
            params: Params::default(),
            accounts: vec![],
            rules: RULES,
        }
    }

    /// Writes them.
    pub fn write_keys(&self, dir: &DataDir) -> Result<(), Failure> {
        dir.write_key("root", self.root.scalar()?.expose())?;
        let batch = [self.batch.scalar()?.expose().as_slice(), &self.batch.certificate.0].concat();
        dir.write_key("batch", &Zeroizing::new(batch))?;
        dir.write_key("account", self.account.to_bytes().expose())?;
        dir.write_key(AUTHORITY, &AuthorityKey::file_of(&self.authority))?;
        Ok(dir.write_key("validator", self.validator.as_slice())?)
    }

    /// Writes them, and manufactures the app, the pack and `modules` modules.
    pub fn write(
        &self,
        dir: &DataDir,
        app_key: &AppKey,
        modules: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Failure> {
        self.write_keys(dir)?;
        let mut devices = vec![(APP.to_owned(), Role::App), (PACK.to_owned(), Role::Pack)];
        devices.extend((1..=modules).map(|n| (module_name(n), Role::Module)));
        for (name, role) in devices {
            let bytes = make(dir, &self.batch, self.validity, (&name, role), rng)?;
            match role {
                Role::App => app_key.store(dir, &name, &bytes)?,
                _ => dir.write_key(&device_file(&name), &bytes)?,
            }
        }
        Ok(())
    }
}

/// Makes a device: what is kept of it.
fn make(
    dir: &DataDir,
    batch: &Issuer,
    validity: Validity,
    (name, role): (&str, Role),
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = SigningKey::generate(rng);
    let request =
        CertificateRequest { role, flags: 0, cid: Cid::of(name), hw: *b"MB-2S2P\0", key: key.public() };
    let commitment = match role {
        Role::Pack => super::bootstrap::print_code(dir, name, &Code::generate(rng), &key, rng)?,
        _ => [0; 32],
    };
    let cert = batch.certify(&request, validity, commitment, rng)?;
    let made = validity.not_before;
    let stated = contents(role, made)?;
    context::make(&dir.contexts(), dir.chain_id(), (name, &key), stated, (&batch.key, made), rng)?;
    let mut unique_id = [0; 4];
    rng.fill_bytes(&mut unique_id);
    let mut bytes = Zeroizing::new([key.to_bytes().expose().as_slice(), &cert.0, &unique_id].concat());
    if role == Role::App {
        bytes.extend_from_slice(Uuid::new_v4().as_bytes());
    }
    Ok(bytes)
}

/// Whether the keys of a pack or module of this name were made.
pub fn is_made(dir: &DataDir, name: &str) -> bool {
    dir.keys().join(device_file(name)).exists()
}

/// Makes another module, or another pack controller.
pub fn manufacture(dir: &DataDir, name: &str, role: Role, rng: &mut impl CryptoRng) -> Result<(), Failure> {
    let (batch, validity) = batch(dir)?;
    let bytes = make(dir, &batch, validity, (name, role), rng)?;
    Ok(dir.write_key(&device_file(name), &bytes)?)
}

/// Makes what another app is.
pub fn manufacture_app(
    dir: &DataDir,
    name: &str,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (batch, validity) = batch(dir)?;
    make(dir, &batch, validity, (name, Role::App), rng)
}

/// The batch authority of the installation, and from when until when it certifies.
fn batch(dir: &DataDir) -> Result<(Issuer, Validity), Failure> {
    let fail = |_| damaged(&dir.keys().join("batch"), "it does not hold a key and a certificate");
    let bytes = read(dir, "batch")?;
    let mut f = Fields::new(&bytes);
    let key = SigningKey::from_bytes(&f.array().map_err(fail)?).map_err(fail)?;
    let certificate = DeviceCertificate::from_slice(f.rest()).map_err(fail)?;
    let validity = Validity::of(&certificate.subject().map_err(fail)?);
    Ok((Issuer { key: key.into(), certificate }, validity))
}

/// What the manufacturer states about a device: how it was made, and what a module is rated for.
fn contents(role: Role, made: u32) -> Result<Vec<Content>, Failure> {
    let too_long = |_| Failure::Failed("the name of the batch is too long".into());
    let batch = BATCH.try_into().map_err(too_long)?;
    let mut stated = vec![Content::Manufacturing { made, batch, quality: Default::default() }];
    if role == Role::Module {
        stated.push(Content::Profile {
            nominal_mv: NOMINAL_MV * u32::from(GROUPS),
            charge_ma: RATING.charge_ma.unsigned_abs(),
            discharge_ma: RATING.discharge_ma.unsigned_abs(),
            resistance_uohm: RESISTANCE_UOHM * u32::from(GROUPS),
            temperature_mc: TEMPERATURE_MC,
        });
    }
    Ok(stated)
}

fn device_file(name: &str) -> String {
    format!("device-{name}")
}

/// Reads the keys of an installation.
pub fn load(dir: &DataDir, app_key: &AppKey, unlock: &Unlock) -> Result<Installation, Failure> {
    let root = scalar(dir, "root")?.public();
    let keys = Keys::at(&dir.keys().join(AUTHORITY))?;
    let authority = keys.open(unlock)?;
    // Devices are made for the first one; whoever followed it they are told.
    let first_authority = keys.lineage().map_or(authority.public(), |lineage| *lineage.first());
    let batch = batch(dir)?.0.certificate;
    let Parts { app, pack, modules, lost, .. } = Parts::read(dir)?;
    let rated = sim::battery::rated_mwh(u32::from(GROUPS));
    let identity = |name: &str, role, capacity_mwh, bytes: &[u8]| -> Result<(Identity, Uuid), Failure> {
        let file = device_file(name);
        let fail =
            |_| damaged(&dir.keys().join(&file), "it does not hold a key, a certificate and a unique id");
        let mut f = Fields::new(bytes);
        let key = SigningKey::from_bytes(&f.array().map_err(fail)?).map_err(fail)?;
        let cert = f.slice(CERTIFICATE_LEN).and_then(DeviceCertificate::from_slice).map_err(fail)?;
        let unique_id = f.u32().map_err(fail)?;
        let host = if role == Role::App { f.array().map_err(fail)? } else { [0; 16] };
        f.end().map_err(fail)?;
        let text = |_| damaged(&dir.keys().join(&file), "its name is too long");
        let identity = Identity {
            component_id: name.try_into().map_err(text)?,
            serial: format!("SN-{name}").as_str().try_into().map_err(text)?,
            role,
            key,
            device: cert,
            batch,
            root,
            authority: first_authority,
            hardware: HARDWARE,
            firmware: FIRMWARE,
            capacity_mwh,
            unique_id,
        };
        Ok((identity, Uuid::from_bytes(host)))
    };
    let device = |name: &str, role, capacity_mwh| -> Result<Identity, Failure> {
        let bytes = read(dir, &device_file(name))?;
        identity(name, role, capacity_mwh, &bytes).map(|(identity, _)| identity)
    };
    let (app, host) = identity(&app, Role::App, 0, &app_key.load(dir, &app)?)?;
    let count = modules.len() as u64;
    Ok(Installation {
        app,
        host,
        pack: device(&pack, Role::Pack, rated * count)?,
        lost,
        modules: modules.iter().map(|name| device(name, Role::Module, rated)).collect::<Result<_, _>>()?,
        account: account(dir)?,
        validator: validator(dir)?,
        opening: keys.openings(unlock, false)?,
        authority,
    })
}

/// The key of the installation's operator account.
pub fn account(dir: &DataDir) -> Result<SigningKey, Failure> {
    scalar(dir, "account")
}

/// The key of the ledger's validator.
pub fn validator(dir: &DataDir) -> Result<ed25519_dalek::SigningKey, Failure> {
    Ok(ed25519_dalek::SigningKey::from_bytes(&*exactly(dir, "validator")?))
}

fn scalar(dir: &DataDir, name: &str) -> Result<SigningKey, Failure> {
    SigningKey::from_bytes(&*exactly(dir, name)?)
        .map_err(|_| damaged(&dir.keys().join(name), "it is not a P-256 key"))
}

fn exactly(dir: &DataDir, name: &str) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let bytes = read(dir, name)?;
    let array = <[u8; 32]>::try_from(bytes.as_slice());
    array.map(Zeroizing::new).map_err(|_| damaged(&dir.keys().join(name), "it is not 32 bytes long"))
}

fn read(dir: &DataDir, name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let path = dir.keys().join(name);
    fs::read(&path)
        .map(Zeroizing::new)
        .map_err(|e| Failure::Input(format!("{}: {}; restore it from a copy", path.display(), reason(&e))))
}

fn damaged(path: &Path, what: &str) -> Failure {
    Failure::Input(format!("{} is damaged: {what}; restore it from a copy", path.display()))
}
