//! Bench `link`: what sealing costs, beside the libraries that do the same.

use anyhow::{Result, ensure};
use pack::link::FrameFormat;
use serde_json::{Value, json};

use crate::measure::{Contender, Effort, allocations, interleaved};
use aead::{AwsLc, Graviola, OpenSsl, Opening, Product, Ring, Sealing};
use frames::{Collecting, Cutting};
use path::{Allocating, Receiving, Relaying, Sending};

mod aead;
mod bus;
mod frames;
mod keys;
mod path;

/// Bytes that are encrypted.
const SIZES: [usize; 4] = [8, 16, 36, 64];
/// Messages in which allocations are counted.
const COUNTED: usize = 10_000;

pub fn run(effort: Effort) -> Result<Value> {
    aead::agree()?;
    let mut rows = Vec::new();
    for size in SIZES {
        for direction in ["seal", "open"] {
            rows.push(row(size, direction, effort)?);
        }
    }
    let control = allocations(&mut Allocating, COUNTED)?;
    ensure!(control >= COUNTED as u64, "the counter of allocations saw {control} of {COUNTED}");
    let buses = buses_per_core(effort)?;
    let [classical, fd] = bus::scan_ratios()?;
    let (load, mix) = bus::mix(effort)?;
    Ok(json!({
        "rows": rows,
        "allocations_control": control as f64 / COUNTED as f64,
        "buses_500k_per_core": buses,
        "scan_ratio_classical": classical,
        "scan_ratio_fd": fd,
        "load_decision5": load,
        "mix": mix,
        "keys_of_32_modules": keys::run(effort)?,
    }))
}

/// Six contenders, two ways over the bus, and the frames of both alone, interleaved.
fn row(size: usize, direction: &str, effort: Effort) -> Result<Value> {
    // On CAN FD a message that fits one frame is padded to fill it, so that its AEAD is longer.
    let sealed = size + lct::seal::OVERHEAD;
    let fd_size = FrameFormat::Fd.sealed_length(sealed) - lct::seal::OVERHEAD;
    // A longer one is no frame of CAN FD; its row says nothing of that path.
    let fd_frame = (fd_size + lct::seal::OVERHEAD).min(64);
    let mut all: Vec<Box<dyn Contender>> = match direction {
        "seal" => vec![
            Box::new(Sealing::new(Product::new(), size)),
            Box::new(Sealing::new(Ring::new()?, size)),
            Box::new(Sealing::new(AwsLc::new()?, size)),
            Box::new(Sealing::new(Graviola::new(), size)),
            Box::new(Sealing::new(OpenSsl::new()?, size)),
            Box::new(Sealing::new(Product::new(), fd_size)),
            Box::new(Sending::new(size, FrameFormat::Classical)?),
            Box::new(Sending::new(size, FrameFormat::Fd)?),
            Box::new(Cutting::new(sealed, FrameFormat::Classical)?),
            Box::new(Cutting::new(fd_frame, FrameFormat::Fd)?),
        ],
        _ => vec![
            Box::new(Opening::new(Product::new(), size)),
            Box::new(Opening::new(Ring::new()?, size)),
            Box::new(Opening::new(AwsLc::new()?, size)),
            Box::new(Opening::new(Graviola::new(), size)),
            Box::new(Opening::new(OpenSsl::new()?, size)),
            Box::new(Opening::new(Product::new(), fd_size)),
            Box::new(Receiving::new(size, FrameFormat::Classical)?),
            Box::new(Receiving::new(size, FrameFormat::Fd)?),
            Box::new(Collecting::new(sealed, FrameFormat::Classical)?),
            Box::new(Collecting::new(fd_frame, FrameFormat::Fd)?),
        ],
    };
    let mut refs: Vec<&mut dyn Contender> = all.iter_mut().map(|c| &mut **c as &mut dyn Contender).collect();
    let times = interleaved(&mut refs, effort)?;
    let mut counted = 0;
    for path in &mut refs[6..8] {
        counted += allocations(*path, COUNTED)?;
    }
    ensure!(counted == 0, "{counted} allocations on the way of {COUNTED} messages of {size} bytes");
    let [aead, ring, aws_lc, graviola, openssl, fd_aead, path, fd_path, frames, fd_frames] = times[..] else {
        unreachable!("as many times as contenders")
    };
    let libraries = [("ring", ring), ("aws-lc-rs", aws_lc), ("graviola", graviola), ("openssl", openssl)];
    let (name, fastest) = libraries.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("none", 0.0));
    let one_frame = (sealed <= 64).then(|| {
        json!({
            "encrypted": fd_size,
            "aead_ns": fd_aead,
            "path_ns": fd_path,
            "path_ratio": fd_path / fd_aead,
            "frames_only_ns": fd_frames,
            "least_ratio": (fd_aead + fd_frames) / fd_aead,
        })
    });
    Ok(json!({
        "size": size,
        "direction": direction,
        "aead_ns": aead,
        "path_ns": path,
        "fastest_library_ns": fastest,
        "fastest_library": name,
        "aead_ratio": aead / fastest,
        "path_ratio": path / aead,
        "frames_only_ns": frames,
        "least_ratio": (aead + frames) / aead,
        "frames": sealed.div_ceil(8),
        "fd_one_frame": one_frame,
        "allocations": counted,
        "libraries_ns": libraries.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

/// Saturated buses of 500 kbit/s whose messages one core opens and seals again, of the size where it is fewest.
fn buses_per_core(effort: Effort) -> Result<Value> {
    let mut least = f64::INFINITY;
    for size in SIZES {
        let mut relaying = Relaying::new(size)?;
        relaying.prepare(effort.turn)?;
        let bus_ns = relaying.bus_ns() / effort.turn as f64;
        relaying.run(effort.turn);
        let times = interleaved(&mut [&mut relaying], effort)?;
        least = times.iter().fold(least, |least, ns| least.min(bus_ns / ns));
    }
    Ok(json!(least.floor()))
}
