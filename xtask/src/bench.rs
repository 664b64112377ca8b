//! `cargo xtask bench NAME`: figures beside those of peers, in one run on this machine.
//!
//! `benches/` is a workspace of its own, so that the peers are no dependency of the product. It is built twice: for any
//! CPU of the architecture, as the product ships, and for the CPU of this machine. What each prints is put together
//! here: rows of both with `build`, figures at the top from the portable build.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::{load, python, shell};

pub mod firmware;

/// A way to build the benches.
struct Build {
    name: &'static str,
    flags: &'static str,
    features: &'static [&'static str],
}

const BUILDS: [Build; 2] = [
    Build { name: "portable", flags: "", features: &[] },
    // One CPU only: a program built so may stop on another with an illegal instruction.
    Build { name: "native", flags: "-C target-cpu=native", features: &[] },
];

/// What verifies a receipt: a host, with and without what its CPU has, and the portable code that a phone would carry.
const VERIFIERS: [Build; 3] = {
    let [portable, native] = BUILDS;
    [portable, native, Build { name: "no-host-library", flags: "", features: &["--no-default-features"] }]
};

/// The benches that count what roles ask of a device's processor.
const COUNTED: [Build; 1] =
    [Build { name: "counted", flags: "", features: &["--no-default-features", "--features", "counted"] }];

/// What may follow `bench`: the names of the benches, then options.
pub const WORDS: [(&str, &str); 10] = [
    ("link", "messages of the link, beside the same AEAD in other libraries"),
    ("tiers", "ceremonies, starts and commands of a whole pack, in bus time"),
    ("receipt", "length of a receipt, time to verify it"),
    ("ledger", "a replica beside a bare log, SQLite, redb and PostgreSQL, on this disk"),
    ("bridge", "requests beside a bare axum handler, the kernel's own share and the ledger alone"),
    ("firmware", "instructions, stack and flash on an emulated Cortex-M4"),
    ("timing", "comparisons of secrets on this host as dudect does it"),
    ("--json", "the last line of standard output is one JSON object"),
    ("--only PART", "this part of bench `ledger` alone"),
    ("--quick", "seconds instead of minutes: shows that the bench works, measures nothing"),
];

/// Runs the bench that `args` name; the last line of standard output is then one JSON object.
pub fn run(args: &[String]) -> Result<()> {
    let Options { name, json, quick, only } = options(args)?;
    let mut document = match name {
        "firmware" => firmware::run()?,
        "bridge" => load::bench(quick)?,
        "tiers" => {
            // Time on the buses is the same in every build.
            let mut document = host(name, &quick_of(quick), &BUILDS[..1])?;
            if quick {
                eprintln!("bench: --quick leaves out the emulated device");
            } else {
                work_of_devices(&mut document, &host(name, &[], &COUNTED)?, &firmware::run()?)?;
            }
            document
        }
        // The disk decides, and the libraries that verify and hash find the CPU's instructions by themselves.
        "ledger" => {
            let part = only.iter().flat_map(|part| ["--only", part]);
            host(name, &quick_of(quick).into_iter().chain(part).collect::<Vec<_>>(), &BUILDS[..1])?
        }
        "receipt" => host(name, &quick_of(quick), &VERIFIERS)?,
        "timing" => host(name, &quick_of(quick), &BUILDS)?,
        _ => {
            let mut document = host(name, &quick_of(quick), &BUILDS)?;
            if quick {
                eprintln!("bench: --quick leaves out the emulated device");
            } else {
                beside_device(&mut document, &firmware::run()?);
            }
            document["python"] = python_rows(quick)?;
            document
        }
    };
    document["bench"] = name.into();
    print!("{}", table(&document));
    if json {
        println!("{document}");
        if name == "ledger" && only.is_none() {
            println!("{}", ledger_figures(&document)?);
        }
    }
    Ok(())
}

/// What the last line of `bench ledger --json` holds, and nothing else.
const LEDGER: [&str; 21] = [
    "tx_ratio_many",
    "tx_ratio_few",
    "log_ratio_100",
    "log_ratio_1000",
    "x_sqlite",
    "x_redb",
    "x_postgres",
    "x_sqlite_scattered",
    "x_redb_scattered",
    "acks_per_s",
    "acks_p99_ms",
    "write_amplification",
    "bytes_per_component",
    "lookup_ns",
    "read_us",
    "read_proof_us",
    "cold_empty_ms",
    "cold_million_ms",
    "idle_mb",
    "commit500_p50_ms",
    "commit500_p99_ms",
];

/// The figures of the ledger out of all that its bench says. A peer that is not installed leaves null.
fn ledger_figures(document: &Value) -> Result<Value> {
    let figure = |name: &&str| {
        let value = document.get(*name).with_context(|| format!("the bench left out `{name}`"))?;
        Ok(((*name).to_owned(), value.clone()))
    };
    Ok(Value::Object(LEDGER.iter().map(figure).collect::<Result<_>>()?))
}

fn quick_of(quick: bool) -> Vec<&'static str> {
    quick.then_some("--quick").into_iter().collect()
}

/// A bench of this machine, in these builds.
fn host(name: &str, options: &[&str], builds: &[Build]) -> Result<Value> {
    let compiler = shell::output_of(Command::new("rustc").arg("--version").current_dir(shell::root()))?;
    let mut results = Vec::new();
    for build in builds {
        eprintln!("bench: building for {} (the first time takes some minutes)", build.name);
        let program = compile(build)?;
        let mut command = Command::new(&program);
        // Its progress goes to people as it comes.
        command.arg(name).args(options).stderr(Stdio::inherit());
        let text = shell::output_of(&mut command)?;
        let figures: Value = serde_json::from_str(&text).context("the bench did not print JSON")?;
        results.push((build, figures));
    }
    Ok(combined(compiler.trim(), results))
}

/// Puts the instructions of an emulated Cortex-M4 beside bus load and CPU time of the same traffic.
fn beside_device(document: &mut Value, device: &Value) {
    let Some(mix) = document["mix"].as_array_mut() else { return };
    for row in mix {
        for (key, operation) in
            [("m4_module_instructions", "second of a module"), ("m4_pack_instructions", "second of a pack")]
        {
            let same = |of: &&Value| of["operation"] == operation && of["protection"] == row["protection"];
            let found = device["rows"].as_array().into_iter().flatten().find(same);
            row[key] = found.map_or(Value::Null, |of| of["instructions"].clone());
        }
    }
}

/// Puts beside each flow what it takes pack and module on a Cortex-M4: the operations that were counted in the same flow, times the
/// instructions of each.
fn work_of_devices(document: &mut Value, counted: &Value, device: &Value) -> Result<()> {
    let costs = Costs::of(device)?;
    let rows = document["rows"].as_array_mut().context("the bench left out its rows")?;
    for row in rows {
        let same = |of: &&Value| ["what", "modules", "load"].iter().all(|key| of[*key] == row[*key]);
        let of = counted["rows"].as_array().into_iter().flatten().find(same);
        let work = of.map_or(&Value::Null, |of| &of["work"]);
        for (key, party) in [("m4_module_instructions", "module"), ("m4_pack_instructions", "pack")] {
            row[key] = costs.instructions(&work[party]).into();
        }
        row["work"] = work.clone();
    }
    Ok(())
}

/// Instructions of a Cortex-M4 for what is counted.
struct Costs {
    /// Each of these public-key operations.
    operations: [(&'static str, f64); 4],
    /// A message from its text to frames, and back: of one without text, and for each byte of it.
    messages: [(&'static str, &'static str, f64, f64); 2],
}

impl Costs {
    fn of(device: &Value) -> Result<Self> {
        let instructions = |operation: &str, bytes: u64| {
            let same = |row: &&Value| row["operation"] == operation && row["bytes"] == bytes;
            let row = device["rows"].as_array().into_iter().flatten().find(same);
            row.and_then(|row| row["instructions"].as_f64())
                .with_context(|| format!("the device did not count `{operation}`, {bytes} bytes"))
        };
        let line = |operation: &str| {
            let (short, long) = (instructions(operation, 8)?, instructions(operation, 64)?);
            let each = (long - short) / 56.0;
            anyhow::Ok((short - 8.0 * each, each))
        };
        let (to_frames, to_text) = (line("text to frames")?, line("frames to text")?);
        Ok(Costs {
            operations: [
                ("sign", instructions("sign", 0)?),
                ("verify", instructions("verify", 0)?),
                ("agree", instructions("agree", 0)?),
                ("public", instructions("public key", 0)?),
            ],
            messages: [
                ("sealed", "sealed_bytes", to_frames.0, to_frames.1),
                ("opened", "opened_bytes", to_text.0, to_text.1),
            ],
        })
    }

    fn instructions(&self, work: &Value) -> Option<u64> {
        let mut sum = 0.0;
        for (name, each) in self.operations {
            sum += work[name].as_f64()? * each;
        }
        for (messages, bytes, each, byte) in self.messages {
            sum += work[messages].as_f64()? * each + work[bytes].as_f64()? * byte;
        }
        Some(sum.round() as u64)
    }
}

/// The same job by a Python program; null without Python.
fn python_rows(quick: bool) -> Result<Value> {
    let Ok(interpreter) = python::interpreter()? else { return Ok(Value::Null) };
    let script = shell::root().join("benches/python/peer.py");
    let text =
        shell::output_of(Command::new(interpreter).arg("-B").arg(script).args(quick.then_some("--quick")))?;
    serde_json::from_str(&text).context("the Python peer did not print JSON")
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options<'a> {
    name: &'a str,
    json: bool,
    quick: bool,
    /// The part of bench `ledger` that runs alone.
    only: Option<&'a str>,
}

fn options(args: &[String]) -> Result<Options<'_>> {
    let known: Vec<&str> =
        WORDS.iter().map(|(word, _)| *word).filter(|word| !word.starts_with('-')).collect();
    let names = known.join(", ");
    let mut options = Options::default();
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--json" => options.json = true,
            "--quick" => options.quick = true,
            "--only" => options.only = Some(args.next().context("--only names a part of bench `ledger`")?),
            option if option.starts_with('-') => {
                bail!("`bench` has no option `{option}`; it takes --json, --quick and --only PART")
            }
            other if !options.name.is_empty() => bail!("one bench at a time: `{other}` is one too many"),
            other if known.contains(&other) => options.name = other,
            other => bail!("there is no bench `{other}`; the benches are {names}"),
        }
    }
    match options {
        Options { name: "", .. } => bail!("name a bench: {names}"),
        Options { name: "firmware", quick: true, .. } => {
            bail!("`bench firmware` counts instructions and has no shorter run: leave --quick out")
        }
        Options { name, only: Some(_), .. } if name != "ledger" => bail!("--only is for bench `ledger`"),
        _ => Ok(options),
    }
}

/// The program of the benches for any CPU of this architecture.
pub fn portable() -> Result<PathBuf> {
    compile(&BUILDS[0])
}

fn compile(build: &Build) -> Result<PathBuf> {
    let target = shell::root().join("target/bench").join(build.name);
    shell::run(
        shell::cargo()
            .current_dir(shell::root().join("benches"))
            .args(["build", "--release", "--target-dir"])
            .arg(&target)
            .args(build.features)
            .env("RUSTFLAGS", build.flags),
    )
    .context("the benches do not compile: the peers need a C compiler, pkg-config and the headers of OpenSSL (on Debian libssl-dev)")?;
    Ok(target.join("release/benches"))
}

/// One document: rows of every build, and the rest as the portable build has it.
fn combined(compiler: &str, results: Vec<(&Build, Value)>) -> Value {
    let mut document = Map::new();
    let (mut rows, mut builds) = (Vec::new(), Map::new());
    for (build, figures) in results {
        let Value::Object(mut figures) = figures else { continue };
        if let Some(Value::Array(own)) = figures.remove("rows") {
            rows.extend(own.into_iter().map(|mut row| {
                row["build"] = build.name.into();
                row
            }));
        }
        figures.insert("rustflags".into(), build.flags.into());
        for (key, value) in &figures {
            document.entry(key.clone()).or_insert_with(|| value.clone());
        }
        builds.insert(build.name.into(), Value::Object(figures));
    }
    document.insert("compiler".into(), compiler.into());
    document.insert("profile".into(), json!("release of benches/Cargo.toml, which is that of Cargo.toml"));
    document.insert("rows".into(), Value::Array(rows));
    document.insert("builds".into(), Value::Object(builds));
    Value::Object(document)
}

/// The rows and figures for people.
fn table(document: &Value) -> String {
    let mut text = String::new();
    let number = |value: &Value| value.as_f64().map_or("-".to_owned(), |x| format!("{x:.2}"));
    for row in document["rows"].as_array().into_iter().flatten() {
        let words: Vec<String> = row
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.is_number() || value.is_string())
            .map(|(key, value)| match value.as_str() {
                Some(word) => format!("{key}={word}"),
                None => format!("{key}={}", number(value)),
            })
            .collect();
        text += &format!("{}\n", words.join("  "));
    }
    for (key, value) in document.as_object().into_iter().flatten() {
        if value.is_number() {
            text += &format!("{key}: {}\n", number(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn a_bench_is_named_once_and_known() {
        let json = words(&["--json", "link"]);
        assert_eq!(options(&json).unwrap(), Options { name: "link", json: true, ..Options::default() });
        let only = words(&["ledger", "--quick", "--only", "records"]);
        let records = Options { name: "ledger", quick: true, only: Some("records"), ..Options::default() };
        assert_eq!(options(&only).unwrap(), records);
        for wrong in [
            &[][..],
            &["lnik"],
            &["link", "link"],
            &["link", "--jsno"],
            &["--quick", "firmware"],
            &["ledger", "--only"],
            &["link", "--only", "records"],
        ] {
            assert!(options(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_ledger_ends_with_its_figures_and_no_others() {
        let mut document = json!({ "compiler": "rustc 1", "x_postgres": null });
        assert!(ledger_figures(&document).is_err(), "a figure that is left out is said");
        for name in LEDGER.iter().filter(|name| **name != "x_postgres") {
            document[*name] = 1.into();
        }
        let figures = ledger_figures(&document).unwrap();
        assert_eq!(figures.as_object().unwrap().len(), LEDGER.len());
        assert_eq!((&figures["x_postgres"], &figures["idle_mb"]), (&Value::Null, &json!(1)));
    }

    #[test]
    fn the_device_stands_beside_the_same_traffic() {
        let mut document = json!({ "mix": [{ "protection": "clear" }, { "protection": "all_pair" }] });
        let row = |operation: &str, protection: &str, n: u32| json!({ "operation": operation, "protection": protection, "instructions": n });
        let rows = [("module", "all_pair", 2), ("pack", "clear", 3), ("pack", "all_pair", 4)]
            .map(|(who, protection, n)| row(&format!("second of a {who}"), protection, n));
        beside_device(&mut document, &json!({ "rows": rows }));
        assert_eq!(document["mix"][0]["m4_module_instructions"], Value::Null);
        assert_eq!(document["mix"][0]["m4_pack_instructions"], 3);
        assert_eq!(document["mix"][1]["m4_module_instructions"], 2);
        assert_eq!(document["mix"][1]["m4_pack_instructions"], 4);
    }

    #[test]
    fn work_is_what_was_counted_times_what_each_takes() {
        let row = |operation: &str, bytes: u32, n: u32| json!({ "operation": operation, "bytes": bytes, "instructions": n });
        let mut rows = vec![row("sign", 0, 1_000), row("verify", 0, 2_000), row("agree", 0, 3_000)];
        for operation in ["text to frames", "frames to text"] {
            rows.extend([row(operation, 8, 108), row(operation, 64, 164)]);
        }
        let flow = |load: &str| json!({ "what": "raise", "modules": 3, "load": load });
        let mut document = json!({ "rows": [flow("idle"), flow("60 %")] });
        let mut counted = json!({ "rows": [flow("idle")] });
        let pack = json!({ "sign": 1, "verify": 2.5, "agree": 0, "public": 1, "sealed": 2, "sealed_bytes": 10, "opened": 1, "opened_bytes": 7 });
        counted["rows"][0]["work"] = json!({ "pack": pack });
        let left_out = work_of_devices(&mut document.clone(), &counted, &json!({ "rows": rows }));
        assert!(left_out.is_err(), "an operation that was not measured is said");
        rows.push(row("public key", 0, 500));
        work_of_devices(&mut document, &counted, &json!({ "rows": rows })).unwrap();
        // 1000 + 5000 + 500, two messages of 100 and 10 bytes, one of 100 and 7.
        assert_eq!(document["rows"][0]["m4_pack_instructions"], 6_817);
        assert_eq!(document["rows"][0]["m4_module_instructions"], Value::Null);
        assert_eq!(document["rows"][1]["m4_pack_instructions"], Value::Null);
    }

    #[test]
    fn rows_of_both_builds_stand_together_and_the_portable_one_gives_the_figures() {
        let of = |ns: f64| json!({ "rows": [{ "aead_ns": ns }], "buses_500k_per_core": ns });
        let results = BUILDS.iter().zip([of(2.0), of(1.0)]).collect();
        let document = combined("rustc 1", results);
        assert_eq!(document["buses_500k_per_core"], 2.0);
        assert_eq!(document["builds"]["native"]["buses_500k_per_core"], 1.0);
        assert_eq!(document["rows"][0]["build"], "portable");
        assert_eq!(document["rows"][1], json!({ "aead_ns": 1.0, "build": "native" }));
    }
}
