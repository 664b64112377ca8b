//! What a manufacturer states about a device: how it was made, and what a module is rated for (`spec/ledger.md`, L144, L220).
//! Signed by the device's batch authority, without network; brought to a ledger later.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use lct::Digest;
use lct::attest::DeviceCertificate;
use lct::context::{Content, FIGURES_MAX, Signed, Statement, entity_lct};
use lct::id::{Cid, Role};
use lct::sign::SigningKey;
use ledger::tx::TxId;
use rand_core::CryptoRng;

use super::super::data_dir::{DataDir, replace_file};
use super::super::send::{Sender, Signatory};
use super::super::{Failure, Outcome, os_rng, print, reason};
use super::files::{Factory, read_bounded};
use super::{component_id, now_s, subject_of};
use crate::custody::Unlock;

/// Ending of the files.
const ENDING: &str = "mbcontext";

/// About which device of a factory something is stated, and where it goes.
#[derive(ClapArgs)]
struct About {
    /// The factory directory
    directory: PathBuf,
    /// Component id of a device that was certified here
    #[arg(long, value_parser = component_id)]
    id: String,
    /// Genesis of the ledger that it is for
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Number among the statements of this kind about the device; a later one takes the place of the one before
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Where the signed statement is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

/// Arguments of `modbatt factory manufacturing`.
#[derive(ClapArgs)]
pub struct Manufacturing {
    #[command(flatten)]
    about: About,
    /// A figure of quality: a name of at most 24 characters that ends with its unit, and a whole number; may be repeated, 16
    /// times at most
    #[arg(long, value_name = "NAME=VALUE", value_parser = figure, allow_hyphen_values = true)]
    figure: Vec<(String, i32)>,
}

/// Arguments of `modbatt factory profile`.
#[derive(ClapArgs)]
pub struct Profile {
    #[command(flatten)]
    about: About,
    /// Nominal voltage, mV
    #[arg(long)]
    nominal_mv: u32,
    /// Highest charge current, mA
    #[arg(long)]
    charge_ma: u32,
    /// Highest discharge current, mA
    #[arg(long)]
    discharge_ma: u32,
    /// Resistance, micro-ohm
    #[arg(long)]
    resistance_uohm: u32,
    /// Lowest temperature, thousandths of a degree Celsius
    #[arg(long, allow_negative_numbers = true)]
    lowest_mc: i32,
    /// Highest temperature, thousandths of a degree Celsius
    #[arg(long, allow_negative_numbers = true)]
    highest_mc: i32,
}

/// Arguments of `modbatt factory record`.
#[derive(ClapArgs)]
pub struct Record {
    /// Files with signed statements
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The data directory of an installation of that ledger, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
}

fn figure(text: &str) -> Result<(String, i32), String> {
    let wrong = || "it is NAME=VALUE, for example capacity_mah=2912".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if !(1..=24).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its name has 1 to 24 printable ASCII characters".into());
    }
    Ok((name.to_owned(), value.parse().map_err(|_| wrong())?))
}

/// Runs `modbatt factory manufacturing`.
pub fn manufacturing(args: &Manufacturing) -> Result<Outcome, Failure> {
    let about = &args.about;
    let factory = Factory::open(&about.directory, &about.unlock)?;
    let device = Device::of(&factory, &about.id)?;
    if args.figure.len() > FIGURES_MAX {
        return Err(Failure::Input(format!("there are at most {FIGURES_MAX} figures")));
    }
    let too_long = |_| Failure::Input("a name of a figure has at most 24 characters".into());
    let figures = args
        .figure
        .iter()
        .map(|(name, value)| Ok::<_, Failure>((name.as_str().try_into().map_err(too_long)?, *value)));
    let quality = figures.collect::<Result<_, _>>()?;
    let batch = device.batch.as_str().try_into();
    let batch = batch.map_err(|_| Failure::Input("a batch named here has at most 32 characters".into()))?;
    write(about, &factory, &device, Content::Manufacturing { made: device.made, batch, quality })
}

/// Runs `modbatt factory profile`.
pub fn profile(args: &Profile) -> Result<Outcome, Failure> {
    let about = &args.about;
    let factory = Factory::open(&about.directory, &about.unlock)?;
    let device = Device::of(&factory, &about.id)?;
    if subject_of(&device.certificate)?.role != Role::Module {
        return Err(Failure::Input(format!("{} is no module; only modules have a profile", about.id)));
    }
    let Profile { nominal_mv, charge_ma, discharge_ma, resistance_uohm, lowest_mc, highest_mc, .. } = *args;
    let temperature_mc = [lowest_mc, highest_mc];
    let content = Content::Profile { nominal_mv, charge_ma, discharge_ma, resistance_uohm, temperature_mc };
    write(about, &factory, &device, content)
}

/// A device as the factory knows it.
struct Device {
    certificate: DeviceCertificate,
    batch: String,
    /// Unix seconds.
    made: u32,
}

impl Device {
    fn of(factory: &Factory, id: &str) -> Result<Self, Failure> {
        let about = factory.devices()?.into_iter().find(|d| d["component_id"] == id);
        let about =
            about.ok_or_else(|| Failure::Input(format!("no `{id}` was certified here; check --id")))?;
        let made = about["issued_s"].as_u64().and_then(|s| u32::try_from(s).ok());
        let damaged =
            || Failure::Input(format!("what is known of `{id}` is damaged; restore it from a copy"));
        Ok(Device {
            certificate: super::files::read_certificate(&factory.device_path(id))?,
            batch: about["batch"].as_str().ok_or_else(damaged)?.to_owned(),
            made: made.ok_or_else(damaged)?,
        })
    }
}

fn write(about: &About, factory: &Factory, device: &Device, content: Content) -> Result<Outcome, Failure> {
    let text = read_bounded(&about.genesis, "genesis")?;
    let genesis = std::str::from_utf8(&text).map_err(|e| e.to_string());
    let genesis = genesis.and_then(|text| api::genesis::from_json(text).map_err(|e| e.to_string()));
    let genesis = genesis
        .map_err(|why| Failure::Input(format!("{} is no usable genesis: {why}", about.genesis.display())))?;
    let kind = content.name();
    let subject = subject_of(&device.certificate)?;
    let statement = Statement {
        chain_id: genesis.chain_id(),
        lct: entity_lct(&genesis.chain_id(), &subject.cid, &subject.key),
        number: about.number,
        content,
        time_ms: u64::from(now_s()?) * 1000,
    };
    let (signer, mut rng) = (factory.issuer(Some(&device.batch))?.key, os_rng()?);
    let signed = signer
        .with(|hand| Signed::by(&statement, hand, &mut rng))?
        .map_err(|_| Failure::Input("a value is out of its range; see spec/ledger.md, L144".into()))?;
    replace_file(&about.output, &signed.to_file())?;
    let (id, path) = (&about.id, about.output.display());
    print(&format!("{kind} of {id}, number {}, signed by batch {}: {path}\n", about.number, device.batch))?;
    Ok(Outcome::Good)
}

/// Reads a file with a signed statement.
fn read(path: &Path) -> Result<Signed, Failure> {
    let bytes = read_bounded(path, "statement")?;
    Signed::from_file(&bytes)
        .map_err(|e| Failure::Input(format!("{} holds no signed statement: {e}", path.display())))
}

/// Runs `modbatt factory record`.
pub fn record(args: &Record) -> Result<Outcome, Failure> {
    let statements = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let (dir, run) = DataDir::open_running(&args.data_dir, "its ledger can take them")?;
    let sender = Sender::new(&run.url, *dir.chain_id(), super::super::demo::operator(&dir)?)?;
    let mut text = String::new();
    for (path, signed) in args.files.iter().zip(&statements) {
        let body = api::sign::context(signed).map_err(|e| Failure::Failed(e.to_string()))?;
        let tx: TxId = sender.send(body)?;
        text += &format!("{}: recorded in transaction {}\n", path.display(), hex::encode(tx));
    }
    print(&text)?;
    Ok(Outcome::Good)
}

/// What a simulated factory states about a device that it just made, as files in `folder`.
pub fn make(
    folder: &Path,
    chain_id: &Digest,
    (name, device): (&str, &SigningKey),
    contents: Vec<Content>,
    (batch, time_s): (&Signatory, u32),
    rng: &mut impl CryptoRng,
) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|e| unusable(folder, &e))?;
    for content in contents {
        let path = folder.join(format!("{name}-{}.{ENDING}", content.name()));
        let lct = entity_lct(chain_id, &Cid::of(name), &device.public());
        let time_ms = u64::from(time_s) * 1000;
        let statement = Statement { chain_id: *chain_id, lct, number: 1, content, time_ms };
        let signed = batch.with(|hand| Signed::by(&statement, hand, rng))?;
        let signed = signed.map_err(|e| Failure::Failed(e.to_string()))?;
        replace_file(&path, &signed.to_file())?;
    }
    Ok(())
}

/// The statements in `folder`, by file name; none when there is no such folder.
pub fn in_folder(folder: &Path) -> Result<Vec<(String, Signed)>, Failure> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| unusable(folder, &e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| unusable(folder, &e))?.path();
        if path.extension().is_some_and(|ending| ending == ENDING)
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            found.push((name.to_owned(), read(&path)?));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn unusable(path: &Path, e: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {}", path.display(), reason(e)))
}
