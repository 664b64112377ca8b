//! `cargo xtask bench firmware`: instructions, stack and flash of each operation on an emulated Cortex-M4.
//!
//! `firmware/` is a workspace of its own. QEMU runs its image with `-icount shift=0`, where an instruction takes a
//! nanosecond of the emulated time: the counts are the same on every machine, in steps of the 6 instructions that SysTick
//! resolves. Nothing here says how long a real part takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{bare_metal, shell};

const EMULATOR: &str = "qemu-system-arm";
/// An STM32F405: Cortex-M4, 1 MB of flash, 128 KB of memory.
const BOARD: &str = "netduinoplus2";
/// Images that link one operation alone.
const ALONE: [&str; 5] = ["empty", "seal_open", "agree", "sign", "verify"];

/// Rows as the image prints them, and flash of each image.
pub fn run() -> Result<Value> {
    let images = images()?;
    let rows = rows_of(&images, "bench")?;
    let mut flash = json!({});
    for name in ALONE.iter().chain(&["bench"]) {
        flash[*name] = flash_bytes(&images.join(name))?.into();
    }
    let emulator = shell::output_of(Command::new(EMULATOR).arg("--version"))?;
    Ok(json!({
        "rows": rows,
        "flash_bytes": flash,
        "board": BOARD,
        "emulator": emulator.lines().next(),
        "profile": "opt-level s, lto fat, overflow checks",
    }))
}

/// Fails unless operations on secrets take as many instructions for each secret (T32).
pub fn timing() -> Result<()> {
    let rows = rows_of(&images()?, "timing")?;
    for row in &rows {
        eprintln!("{row}");
    }
    let wrong = dependent(&rows)?;
    if !wrong.is_empty() {
        bail!("instructions depend on a secret: {}", wrong.join(", "));
    }
    Ok(())
}

/// The operations whose counts differ by more than the clock resolves; an error when the control does not.
fn dependent(rows: &[Value]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut control = false;
    for row in rows {
        let name = row["operation"].as_str().context("a row names no operation")?;
        let ticks = |key: &str| row[key].as_u64().with_context(|| format!("a row has no {key}"));
        let differs = ticks("ticks_most")?.saturating_sub(ticks("ticks_least")?) > 1;
        match name {
            "control" => control = differs,
            _ if differs => wrong.push(name.to_owned()),
            _ => {}
        }
    }
    if !control {
        bail!("a comparison that ends early was not found, so nothing is shown");
    }
    Ok(wrong)
}

/// The folder of the images, which are built.
fn images() -> Result<PathBuf> {
    ensure_emulator()?;
    let folder = shell::root().join("firmware");
    let target_dir = shell::root().join("target/firmware");
    shell::run(
        bare_metal::cross_cargo()?
            .current_dir(&folder)
            .args(["build", "--release", "--bins", "--target", bare_metal::TARGET, "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", linker()?),
    )
    .context("the firmware images do not compile")?;
    Ok(target_dir.join(bare_metal::TARGET).join("release"))
}

/// What an image prints, line by line.
fn rows_of(images: &Path, name: &str) -> Result<Vec<Value>> {
    let text = shell::output_of(
        Command::new(EMULATOR)
            .args(["-M", BOARD, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(images.join(name)),
    )?;
    let rows: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the image printed something that is no JSON")?;
    if rows.is_empty() {
        bail!("the image printed nothing");
    }
    Ok(rows)
}

fn ensure_emulator() -> Result<()> {
    if shell::answers(Command::new(EMULATOR).arg("--version")) {
        return Ok(());
    }
    let advice = "as root: `apt-get update && apt-get install --no-install-recommends qemu-system-arm`";
    if !shell::answers(Command::new("apt-get").arg("--version")) {
        bail!("{EMULATOR} is not installed and this system has no apt-get");
    }
    eprintln!("{EMULATOR} is missing: installing it");
    shell::run(Command::new("apt-get").arg("update")).context(advice)?;
    shell::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends", "qemu-system-arm"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context(advice)
}

/// The linker that comes with the toolchain of the workspace.
fn linker() -> Result<std::path::PathBuf> {
    let of = |what: &[&str]| shell::output_of(Command::new("rustc").args(what).current_dir(shell::root()));
    let version = of(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let path =
        Path::new(of(&["--print", "sysroot"])?.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if !path.exists() {
        bail!("{} is not there; rustup's toolchains have it", path.display());
    }
    Ok(path)
}

/// Bytes that an ELF image loads: its segments of type 1, as they lie in the file.
fn flash_bytes(path: &Path) -> Result<u64> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    loaded(&bytes).with_context(|| format!("{} is no image for a Cortex-M", path.display()))
}

/// See [`flash_bytes`]; `None` unless this is a little-endian ELF file of 32 bits.
fn loaded(elf: &[u8]) -> Option<u64> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    elf.starts_with(b"\x7fELF\x01\x01").then_some(())?;
    let (table, size, count) = (u32_at(28)? as usize, u16_at(42)?, u16_at(44)?);
    let mut sum = 0;
    for index in 0..usize::from(count) {
        let at = table.checked_add(index * usize::from(size))?;
        if u32_at(at)? == 1 {
            sum += u64::from(u32_at(at.checked_add(16)?)?);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_depend_on_a_secret_are_found_and_a_control_that_shows_nothing() {
        let row = |name: &str, least: u32, most: u32| json!({ "operation": name, "ticks_least": least, "ticks_most": most });
        let found = |rows: &[Value]| dependent(rows);
        assert_eq!(found(&[row("control", 5, 9), row("equal", 5, 6)]).unwrap(), [""; 0]);
        assert_eq!(found(&[row("control", 5, 9), row("agree", 5, 7)]).unwrap(), ["agree"]);
        assert!(found(&[row("control", 5, 6), row("equal", 5, 5)]).is_err());
        assert!(found(&[row("equal", 5, 5)]).is_err());
        assert!(found(&[row("control", 5, 9), json!({ "operation": "equal" })]).is_err());
    }

    #[test]
    fn segments_that_are_loaded_are_summed() {
        let mut elf = vec![0; 52];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x01");
        elf[28] = 52;
        elf[42] = 32;
        elf[44] = 3;
        for (kind, bytes) in [(1, 100u32), (4, 7), (1, 20)] {
            let mut segment = [0; 32];
            segment[0] = kind;
            segment[16..20].copy_from_slice(&bytes.to_le_bytes());
            elf.extend(segment);
        }
        assert_eq!(loaded(&elf), Some(120));
        assert_eq!(loaded(&elf[..130]), None, "cut off");
        assert_eq!(loaded(b"\x7fELF\x02\x01"), None, "64 bits");
    }
}
