//! `cargo xtask bench firmware`: instructions, stack and flash of each operation on an emulated Cortex-M4.
//!
//! `firmware/` is a workspace of its own. QEMU runs its image with `-icount shift=0`, where an instruction takes a
//! nanosecond of the emulated time: the counts are the same on every machine, in steps of the 6 instructions that SysTick
//! resolves. Nothing here says how long a real part takes.

use std::path::Path;
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
    let images = target_dir.join(bare_metal::TARGET).join("release");
    let text = shell::output_of(
        Command::new(EMULATOR)
            .args(["-M", BOARD, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(images.join("bench")),
    )?;
    let rows: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the image printed something that is no JSON")?;
    if rows.is_empty() {
        bail!("the image printed nothing");
    }
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
