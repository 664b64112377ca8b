//! `modbatt factory`: the tool of a manufacturer. It makes the root, batch authorities, device certificates and the
//! printed codes, without which nothing can be attested.

pub mod context;
pub(super) mod files;
mod label;
pub mod line;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use lct::attest::{DeviceCertificate, Subject, verify_chain};
use lct::id::{Cid, Role, valid_component_id};
use lct::pake::Code;
use lct::request::{CertificateRequest, REQUEST_LEN};
use lct::sign::SigningKey;
use rand_core::Rng;
use serde_json::{Value, json};

use super::data_dir::{replace_file, replace_private};
use super::{Failure, Outcome, print};
use crate::custody::Unlock;
use crate::custody::token::{Whether, Which};
use files::{Factory, read_bounded, read_certificate};
use label::Label;
pub use label::code_in;
use line::{Issuer, Validity};

/// Arguments of `modbatt factory`.
#[derive(ClapArgs)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make a factory directory with a manufacturer's root key
    Init(Init),
    /// Make a batch authority, which certifies devices
    Batch(Batch),
    /// Put the key of the root or of a batch authority into a PKCS#11 token; it leaves this computer's disk
    Import(Import),
    /// Ask for a certificate where the device's key is: draws the key and writes the request
    Request(Request),
    /// Certify a device, with its printed code if it is a pack that shall have one
    Device(Device),
    /// List batches and devices
    List(List),
    /// Check a device's certificate against a root, and say what it states
    Verify(Verify),
    /// Sign how a device was made, for a ledger that takes it later
    Manufacturing(context::Manufacturing),
    /// Sign what a module is rated for, for a ledger that takes it later
    Profile(context::Profile),
    /// Bring signed statements to the ledger of a running installation
    Record(context::Record),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.task {
        Task::Init(args) => init(args),
        Task::Batch(args) => batch(args),
        Task::Import(args) => import(args),
        Task::Request(args) => request(args),
        Task::Device(args) => device(args),
        Task::List(args) => list(args),
        Task::Verify(args) => verify(args),
        Task::Manufacturing(args) => context::manufacturing(args),
        Task::Profile(args) => context::profile(args),
        Task::Record(args) => context::record(args),
    }
}

#[derive(ClapArgs)]
struct Init {
    /// The directory to make
    directory: PathBuf,
    /// Name of the manufacturer, 3 to 64 characters of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = component_id)]
    name: String,
    /// Validity of the root, years
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=60))]
    years: u32,
    /// Keep the keys in private files without a passphrase: for tests, or below an encrypted disk
    #[arg(long)]
    unencrypted: bool,
    #[command(flatten)]
    whether: Whether,
    #[command(flatten)]
    unlock: Unlock,
}

fn init(args: &Init) -> Result<Outcome, Failure> {
    let now = now_s()?;
    let factory = Factory::new(&args.directory, !args.unencrypted, &args.unlock)?;
    let mut rng = super::os_rng()?;
    let (key, held) = factory.draw(None, args.whether.place()?, &mut rng)?;
    let root = Issuer::root(&args.name, Validity::years(now, args.years), key, &mut rng)?;
    factory.create()?;
    factory.keep_issuer(None, &root, held.as_ref())?;
    factory.finish()?;
    let advice = match &held {
        None => "Make a copy of the directory now and keep it apart: nothing replaces the root.".to_owned(),
        Some(held) => format!(
            "It lies in the token `{}`, which does not give it out: no backup of it can be made, and nothing replaces the root.",
            held.place.token
        ),
    };
    print(&format!(
        "factory of {} in {}\nroot key {}\nDevices and ledgers pin this key. {advice}\nNext: modbatt factory batch {} --name BATCH\n",
        args.name,
        args.directory.display(),
        root.public(),
        args.directory.display(),
    ))?;
    Ok(Outcome::Good)
}

#[derive(ClapArgs)]
struct Batch {
    /// The factory directory
    directory: PathBuf,
    /// Name of the batch, 3 to 64 characters of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = component_id)]
    name: String,
    /// Validity, years
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=60))]
    years: u32,
    #[command(flatten)]
    whether: Whether,
    #[command(flatten)]
    unlock: Unlock,
}

fn batch(args: &Batch) -> Result<Outcome, Failure> {
    let now = now_s()?;
    let factory = Factory::open(&args.directory, &args.unlock)?;
    if factory.has_batch(&args.name) {
        return Err(Failure::Input(format!("there is a batch `{}` already; name another", args.name)));
    }
    let root = factory.issuer(None)?;
    let validity = Validity::years(now, args.years);
    inside(&validity, &root.certificate, "the root")?;
    let mut rng = super::os_rng()?;
    let (key, held) = factory.draw(Some(&args.name), args.whether.place()?, &mut rng)?;
    let batch = root.batch(&args.name, validity, key, &mut rng)?;
    factory.keep_issuer(Some(&args.name), &batch, held.as_ref())?;
    print(&format!("batch {}\nkey {}\n", args.name, batch.public()))?;
    Ok(Outcome::Good)
}

#[derive(ClapArgs)]
struct Import {
    /// The factory directory
    directory: PathBuf,
    /// The batch authority whose key it is [default: the root's]
    #[arg(long, value_parser = component_id)]
    batch: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    unlock: Unlock,
}

fn import(args: &Import) -> Result<Outcome, Failure> {
    let factory = Factory::open(&args.directory, &args.unlock)?;
    let batch = args.batch.as_deref();
    let held = factory.import(batch, &args.which.place()?)?;
    print(&format!(
        "the key of {} lies in the token `{}`, which does not give it out. Its file was erased: without a backup made before, \
         nothing brings the key back when the token is lost\n",
        batch.map_or_else(|| "the root".to_owned(), |name| format!("batch {name}")),
        held.place.token,
    ))?;
    Ok(Outcome::Good)
}

/// What a request and a device have in common.
#[derive(ClapArgs)]
struct Description {
    /// Component id, 3 to 64 characters of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = component_id)]
    id: String,
    /// What it is
    #[arg(long, value_parser = role)]
    role: Role,
    /// Hardware designation, at most 8 ASCII characters
    #[arg(long, default_value = "MB", value_parser = hardware)]
    hardware: [u8; 8],
    /// The key is kept in secure storage
    #[arg(long)]
    secure_storage: bool,
    /// Debug access is locked
    #[arg(long)]
    debug_locked: bool,
}

impl Description {
    fn request(&self, key: &SigningKey) -> CertificateRequest {
        CertificateRequest {
            role: self.role,
            flags: u8::from(self.secure_storage) | u8::from(self.debug_locked) << 1,
            cid: Cid::of(&self.id),
            hw: self.hardware,
            key: key.public(),
        }
    }
}

#[derive(ClapArgs)]
struct Request {
    #[command(flatten)]
    what: Description,
    /// Where the private key is written: 32 bytes, readable by the owner only
    #[arg(long, value_name = "FILE")]
    key_out: PathBuf,
    /// Where the request is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn request(args: &Request) -> Result<Outcome, Failure> {
    if args.key_out.exists() {
        return Err(Failure::Input(format!(
            "{} exists and may hold a key; name another file",
            args.key_out.display()
        )));
    }
    let mut rng = super::os_rng()?;
    let key = SigningKey::generate(&mut rng);
    let request = args.what.request(&key).sign(&key, &mut rng);
    replace_private(&args.key_out, key.to_bytes().expose())?;
    replace_file(&args.output, &request)?;
    print(&format!("request for {} in {}\n", args.what.id, args.output.display()))?;
    Ok(Outcome::Good)
}

#[derive(ClapArgs)]
struct Device {
    /// The factory directory
    directory: PathBuf,
    /// The batch authority that certifies it
    #[arg(long, value_parser = component_id)]
    batch: String,
    /// Component id, 3 to 64 characters of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = component_id)]
    id: String,
    /// Serial number, at most 32 characters
    #[arg(long, value_parser = serial)]
    serial: String,
    /// The request that the device made; its key never leaves it
    #[arg(long, value_name = "FILE", conflicts_with = "draw_key", required_unless_present = "draw_key")]
    request: Option<PathBuf>,
    /// Draw the key here, for a device that cannot draw its own; needs --role
    #[arg(long, requires = "role")]
    draw_key: bool,
    /// What it is, with --draw-key
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// Hardware designation, at most 8 ASCII characters, with --draw-key
    #[arg(long, default_value = "MB", value_parser = hardware)]
    hardware: [u8; 8],
    /// Validity, years
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    years: u32,
    /// Give the pack a printed code and write its label as SVG to this file
    #[arg(long, value_name = "FILE")]
    label: Option<PathBuf>,
    #[command(flatten)]
    unlock: Unlock,
}

fn device(args: &Device) -> Result<Outcome, Failure> {
    let now = now_s()?;
    let mut rng = super::os_rng()?;
    // Read first: a wrong request must not cost a passphrase.
    let born_elsewhere = args.request.as_deref().map(read_request).transpose()?;
    if let Some(request) = &born_elsewhere
        && request.cid != Cid::of(&args.id)
    {
        return Err(Failure::Input(format!("the request is not for `{}`; check --id", args.id)));
    }
    let factory = Factory::open(&args.directory, &args.unlock)?;
    let path = factory.device_path(&args.id);
    if path.exists() {
        return Err(Failure::Input(format!(
            "`{}` has a certificate already ({}); a component id is issued once",
            args.id,
            path.display()
        )));
    }
    let batch = factory.issuer(Some(&args.batch))?;
    let validity = Validity::years(now, args.years);
    inside(&validity, &batch.certificate, "its batch authority")?;
    let (request, drawn) = match (born_elsewhere, args.role) {
        (Some(request), _) => (request, None),
        (None, Some(role)) => {
            let key = SigningKey::generate(&mut rng);
            let cid = Cid::of(&args.id);
            let request = CertificateRequest { role, flags: 0, cid, hw: args.hardware, key: key.public() };
            (request, Some(key))
        }
        (None, None) => return Err(Failure::Input("--draw-key needs --role".into())),
    };
    if args.label.is_some() && request.role != Role::Pack {
        return Err(Failure::Input(format!(
            "a {} has no printed code; leave --label out",
            request.role.name()
        )));
    }
    let code = args.label.as_ref().map(|_| Code::generate(&mut rng));
    let (commitment, record) = match &code {
        None => ([0; 32], None),
        Some(code) => {
            let secret = gateway::stretch(code, &request.cid)
                .map_err(|e| Failure::Failed(format!("the code cannot be stretched: {e}")))?;
            let record = secret.record();
            (record.commitment(&request.cid), Some(record))
        }
    };
    let certificate = batch.certify(&request, validity, commitment, &mut rng)?;
    let unique_id = rng.next_u32();
    // Secrets first: a certificate without what it certifies would block its component id.
    if let Some(key) = &drawn {
        factory.keep(&format!("device-{}", args.id), key.to_bytes().expose())?;
    }
    if let Some(record) = &record {
        factory.keep(&format!("code-{}", args.id), record.expose())?;
    }
    let mut text = String::new();
    if let (Some(code), Some(path)) = (&code, &args.label) {
        let printed = code.printed();
        let label = Label { id: &args.id, serial: &args.serial, code: &printed };
        replace_private(path, label.svg()?.as_bytes())?;
        if std::io::stdout().is_terminal() {
            text += &format!("{}\ncode {printed}\n", label.text()?);
        }
        text +=
            &format!("label in {}; print it, stick it on the pack, then delete the file\n", path.display());
    }
    let about = json!({
        "format": 1,
        "component_id": args.id,
        "role": request.role.name(),
        "serial": args.serial,
        "hardware": hardware_text(&request.hw),
        "batch": args.batch,
        "unique_id": unique_id,
        "printed_code": code.is_some(),
        "key_drawn_here": drawn.is_some(),
        "issued_s": now,
    });
    factory.keep_device(&args.id, &certificate, &about)?;
    text += &format!(
        "{} {} certified by {}: {}\n",
        request.role.name(),
        args.id,
        args.batch,
        factory.device_path(&args.id).display()
    );
    print(&text)?;
    Ok(Outcome::Good)
}

fn read_request(path: &Path) -> Result<CertificateRequest, Failure> {
    let bytes = read_bounded(path, "request")?;
    let refuse = |why: String| Failure::Input(format!("the request {} is refused: {why}", path.display()));
    if bytes.len() != REQUEST_LEN {
        return Err(refuse(format!("it is {} bytes long, a request has {REQUEST_LEN}", bytes.len())));
    }
    CertificateRequest::open(&bytes).map_err(|e| refuse(e.to_string()))
}

#[derive(ClapArgs)]
struct List {
    /// The factory directory
    directory: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn list(args: &List) -> Result<Outcome, Failure> {
    let factory = Factory::open(&args.directory, &Unlock::default())?;
    let root = subject_of(&factory.certificate(None)?)?;
    let (batches, devices) = (factory.batches()?, factory.devices()?);
    if args.json {
        let object = json!({ "root": root.key.to_string(), "batches": batches, "devices": devices });
        print(&format!("{object}\n"))?;
        return Ok(Outcome::Good);
    }
    let mut text = format!("root {}\n", root.key);
    for name in &batches {
        let of_batch = |d: &&Value| d["batch"] == name.as_str();
        text += &format!("batch {name}: {} devices\n", devices.iter().filter(of_batch).count());
        for device in devices.iter().filter(of_batch) {
            let word = |key: &str| device[key].as_str().unwrap_or("?").to_owned();
            let code = if device["printed_code"] == true { ", printed code" } else { "" };
            text +=
                &format!("  {} {}, serial {}{code}\n", word("role"), word("component_id"), word("serial"));
        }
    }
    print(&text)?;
    Ok(Outcome::Good)
}

#[derive(ClapArgs)]
struct Verify {
    /// The device's certificate
    certificate: PathBuf,
    /// The certificate of its batch authority
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,
    /// The manufacturer's root certificate
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
}

fn verify(args: &Verify) -> Result<Outcome, Failure> {
    let device = read_certificate(&args.certificate)?;
    let batch = read_certificate(&args.batch)?;
    let root = subject_of(&read_certificate(&args.root)?)?;
    match verify_chain(&device, &batch, &[root.key], Some(now_s()?)) {
        Ok(subject) => {
            let code = if subject.code_commit == [0; 32] { "no printed code" } else { "a printed code" };
            print(&format!(
                "holds: {} with cid {}, hardware {}, {code}, key {}; certified by batch key {}, root key {}\n",
                subject.role.name(),
                subject.cid,
                hardware_text(&subject.hw),
                subject.key,
                subject_of(&batch)?.key,
                root.key,
            ))?;
            Ok(Outcome::Good)
        }
        Err(e) => Err(Failure::Failed(format!("{} does not hold: {e}", args.certificate.display()))),
    }
}

fn subject_of(certificate: &DeviceCertificate) -> Result<Subject, Failure> {
    certificate.subject().map_err(|e| Failure::Input(format!("a certificate is damaged: {e}")))
}

fn inside(validity: &Validity, issuer: &DeviceCertificate, name: &str) -> Result<(), Failure> {
    let outer = Validity::of(&subject_of(issuer)?);
    if validity.not_after > outer.not_after {
        let years = outer.not_after.saturating_sub(validity.not_before) / line::YEAR;
        return Err(Failure::Input(format!("it would outlive {name}; give --years {years} or less")));
    }
    Ok(())
}

fn component_id(text: &str) -> Result<String, String> {
    if valid_component_id(text) {
        Ok(text.to_owned())
    } else {
        Err("it has 3 to 64 characters of A-Z a-z 0-9 _ -".into())
    }
}

fn serial(text: &str) -> Result<String, String> {
    if (1..=lct::registration::SERIAL_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("it has 1 to {} characters", lct::registration::SERIAL_MAX))
    }
}

fn role(text: &str) -> Result<Role, String> {
    let roles = [Role::App, Role::Pack, Role::Module, Role::Sensor, Role::Actuator];
    let found = roles.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| "it is app, pack, module, sensor or actuator".into())
}

fn hardware(text: &str) -> Result<[u8; 8], String> {
    let mut hw = [0; 8];
    if text.is_empty() || text.len() > hw.len() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it has 1 to 8 printable ASCII characters".into());
    }
    hw[..text.len()].copy_from_slice(text.as_bytes());
    Ok(hw)
}

fn hardware_text(hw: &[u8; 8]) -> String {
    hw.iter().take_while(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect()
}

/// Unix seconds.
pub fn now_s() -> Result<u32, Failure> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Failure::Failed("the system clock stands before 1970; set it".into()))?;
    u32::try_from(since.as_secs())
        .map_err(|_| Failure::Failed("the system clock stands after 2105; set it".into()))
}
