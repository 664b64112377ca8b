//! Recordings of a CAN bus in pcapng, the native format of this product: Wireshark, tshark and
//! python-can's users read it as it is.
//!
//! One file holds one bus. It is little-endian and consists of a section header, one interface description with the
//! name of the bus and nanosecond timestamps, and one enhanced packet block per frame:
//!
//! ```text
//! block:   type u32 | total length u32 | body, padded to 4 bytes | total length u32
//! 0A0D0D0A section header:        1A2B3C4D u32 | 1 u16 | 0 u16 | -1 i64 | options: 4 user application
//! 00000001 interface description: link type 227 u16 | 0 u16 | snap length 0 u32 | options: 2 name, 9 resolution = 9
//! 00000006 enhanced packet:       interface u32 | time high u32 | time low u32 | captured u32 | original u32
//!                                 | packet | options: 2 flags (1 inbound, 2 outbound; absent when not known)
//! packet:  identifier u32 big-endian (bit 31: 29-bit) | length u8 | FD flags u8 (4: FD) | 0 u16 | data
//! ```
//!
//! The packet is LINKTYPE_CAN_SOCKETCAN (227). Times are nanoseconds since 1970-01-01 UTC: the start of the recording
//! plus the frame's [`Instant`].
//!
//! Frames go through a buffer. [`Recorder::flush`] hands them to the system, [`Recorder::finish`] also makes them
//! durable; a program that is told to stop has to call one of them. The first failure to write (a full disk) is
//! returned with the path and closes the recorder; the file is then readable up to its last whole frame.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use pack::can::{Bus, Frame, Id};
use pack::time::Instant;

/// LINKTYPE_CAN_SOCKETCAN.
const LINK_TYPE: u16 = 227;
const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const OPT_END: u16 = 0;
const OPT_USER_APPLICATION: u16 = 4;
const OPT_INTERFACE_NAME: u16 = 2;
const OPT_RESOLUTION: u16 = 9;
const OPT_PACKET_FLAGS: u16 = 2;
/// Nanoseconds: ten to the power of minus this.
const RESOLUTION: u8 = 9;
const EXTENDED: u32 = 0x8000_0000;
const REMOTE_OR_ERROR: u32 = 0x6000_0000;
const FD: u8 = 4;
/// Header of the packet in front of the data.
const PACKET_HEADER: usize = 8;
/// Largest block that is read. Ours stay below 150 bytes; other programs write comments and names.
const MAX_BLOCK: u32 = 64 * 1024;

/// Which way a frame went, seen from the recording node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be created.
    #[error("cannot create the recording {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error(
        "the disk is full: the recording {} ends after {frames} frames or earlier; make room or record elsewhere",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Frames handed to the recorder before.
        frames: u64,
    },
    /// Writing failed for another reason.
    #[error("cannot write to the recording {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("the recording {} was closed after a failed write", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened or read.
    #[error("cannot read the recording {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file ends inside a block: the recorder was stopped without a flush.
    #[error("the recording {} ends in the middle of the block at byte {offset}; the frames before it are good", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the block begins.
        offset: u64,
    },
    /// The file is not what this program can read.
    #[error("the recording {} cannot be read at byte {offset}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Writes one recording.
#[derive(Debug)]
pub struct Recorder {
    /// `None` after a failed write: nothing more may follow a block that may be torn.
    output: Option<BufWriter<File>>,
    path: PathBuf,
    start_unix_ns: u64,
    frames: u64,
    /// The block being built; kept so that recording does not allocate per frame.
    block: Vec<u8>,
}

impl Recorder {
    /// Creates `folder/can1.pcapng` or `folder/can2.pcapng`, replacing a file of that name. `start_unix_ns` is the
    /// moment of [`Instant::START`] in nanoseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`RecordingError::Create`], [`RecordingError::DiskFull`], [`RecordingError::Write`].
    pub fn create(folder: &Path, bus: Bus, start_unix_ns: u64) -> Result<Self, RecordingError> {
        Self::create_at(folder.join(format!("{bus}.pcapng")), &bus.to_string(), start_unix_ns)
    }

    fn create_at(path: PathBuf, interface: &str, start_unix_ns: u64) -> Result<Self, RecordingError> {
        let file = match File::create(&path) {
            Ok(file) => file,
            Err(source) => return Err(RecordingError::Create { path, source }),
        };
        let output = Some(BufWriter::with_capacity(64 * 1024, file));
        let mut recorder = Self { output, path, start_unix_ns, frames: 0, block: Vec::with_capacity(160) };

        recorder.begin(SECTION);
        recorder.u32(BYTE_ORDER);
        recorder.block.extend_from_slice(&[1, 0, 0, 0]);
        recorder.block.extend_from_slice(&(-1i64).to_le_bytes());
        recorder.option(OPT_USER_APPLICATION, concat!("modbatt ", env!("CARGO_PKG_VERSION")).as_bytes());
        recorder.option(OPT_END, &[]);
        recorder.end()?;

        recorder.begin(INTERFACE);
        recorder.block.extend_from_slice(&LINK_TYPE.to_le_bytes());
        recorder.block.extend_from_slice(&[0; 6]);
        recorder.option(OPT_INTERFACE_NAME, interface.as_bytes());
        recorder.option(OPT_RESOLUTION, &[RESOLUTION]);
        recorder.option(OPT_END, &[]);
        recorder.end()?;
        Ok(recorder)
    }

    /// Adds a frame that ended at `at`.
    ///
    /// # Errors
    /// [`RecordingError::DiskFull`], [`RecordingError::Write`], and [`RecordingError::Closed`] after either.
    pub fn record(
        &mut self,
        at: Instant,
        frame: &Frame,
        direction: Option<Direction>,
    ) -> Result<(), RecordingError> {
        let time = self.start_unix_ns.saturating_add(at.as_micros().saturating_mul(1_000));
        let size = (PACKET_HEADER + frame.len()) as u32;
        self.begin(PACKET);
        self.u32(0);
        self.u32((time >> 32) as u32);
        self.u32(time as u32);
        self.u32(size);
        self.u32(size);
        let id = match frame.id() {
            Id::Standard(raw) => u32::from(raw),
            Id::Extended(raw) => raw | EXTENDED,
        };
        self.block.extend_from_slice(&id.to_be_bytes());
        self.block.extend_from_slice(&[frame.len() as u8, if frame.is_fd() { FD } else { 0 }, 0, 0]);
        self.block.extend_from_slice(frame.data());
        self.pad();
        if let Some(direction) = direction {
            let flags: u32 = match direction {
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            };
            self.option(OPT_PACKET_FLAGS, &flags.to_le_bytes());
            self.option(OPT_END, &[]);
        }
        self.end()?;
        self.frames += 1;
        Ok(())
    }

    /// Frames recorded so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Hands everything to the system, so that another program sees it and a crash of this one loses nothing.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.write(|output| output.flush())
    }

    /// Flushes, makes the file durable and closes it. Returns the number of frames.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn finish(mut self) -> Result<u64, RecordingError> {
        self.write(|output| output.flush().and_then(|()| output.get_ref().sync_all()))?;
        Ok(self.frames)
    }

    fn begin(&mut self, block_type: u32) {
        self.block.clear();
        self.u32(block_type);
        self.u32(0);
    }

    fn u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend_from_slice(&code.to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.block.extend_from_slice(value);
        self.pad();
    }

    /// All parts of a block begin at a multiple of four.
    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn end(&mut self) -> Result<(), RecordingError> {
        let total = self.block.len() as u32 + 4;
        self.u32(total);
        self.block[4..8].copy_from_slice(&total.to_le_bytes());
        let block = std::mem::take(&mut self.block);
        let result = self.write(|output| output.write_all(&block));
        self.block = block;
        result
    }

    fn write(
        &mut self,
        action: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), RecordingError> {
        let path = self.path.clone();
        let Some(output) = &mut self.output else {
            return Err(RecordingError::Closed { path });
        };
        let Err(source) = action(output) else {
            return Ok(());
        };
        if let Some(output) = self.output.take() {
            // Taken apart, so that closing does not try to write the rest once more.
            drop(output.into_parts());
        }
        Err(match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                RecordingError::DiskFull { path, frames: self.frames }
            }
            _ => RecordingError::Write { path, source },
        })
    }
}

/// A frame read from a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Nanoseconds since 1970-01-01 UTC.
    pub unix_ns: u64,
    /// Which way it went, if the recording tells.
    pub direction: Option<Direction>,
    /// The frame.
    pub frame: Frame,
}

/// Reads a recording frame by frame: those of this product, and those of other programs as far as they are
/// little-endian pcapng of one section with data frames of LINKTYPE_CAN_SOCKETCAN; remote and error frames
/// and unknown blocks are passed over.
#[derive(Debug)]
pub struct Recording {
    input: BufReader<File>,
    path: PathBuf,
    /// Where the next block begins.
    offset: u64,
    interfaces: Vec<Interface>,
    body: Vec<u8>,
    ended: bool,
}

/// What an interface description tells.
#[derive(Debug)]
struct Interface {
    name: String,
    /// Nanoseconds per tick.
    tick_ns: u64,
}

impl Recording {
    /// Opens the recording at `path`.
    ///
    /// # Errors
    /// [`RecordingError::Read`], [`RecordingError::Truncated`], [`RecordingError::Format`].
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let file =
            File::open(path).map_err(|source| RecordingError::Read { path: path.to_path_buf(), source })?;
        let mut recording = Self {
            input: BufReader::new(file),
            path: path.to_path_buf(),
            offset: 0,
            interfaces: Vec::new(),
            body: Vec::new(),
            ended: false,
        };
        let not_pcapng = "it is not a pcapng file";
        match recording.next_block() {
            Ok(Some(SECTION)) => {}
            Ok(_) | Err(RecordingError::Format { .. }) => return Err(recording.format(0, not_pcapng)),
            Err(error) => return Err(error),
        }
        match recording.body.first_chunk() {
            Some(order) if u32::from_le_bytes(*order) == BYTE_ORDER => Ok(recording),
            Some(order) if u32::from_be_bytes(*order) == BYTE_ORDER => {
                Err(recording
                    .format(0, "it is big-endian; convert it with 'editcap' on a little-endian machine"))
            }
            _ => Err(recording.format(0, not_pcapng)),
        }
    }

    /// Name of the recorded bus, known once the first frame has been read.
    pub fn interface(&self) -> Option<&str> {
        self.interfaces.first().map(|interface| interface.name.as_str())
    }

    /// The next frame, `None` at the end.
    ///
    /// # Errors
    /// [`RecordingError::Read`], [`RecordingError::Truncated`], [`RecordingError::Format`]; after an error the
    /// recording is at its end.
    pub fn next_frame(&mut self) -> Result<Option<Recorded>, RecordingError> {
        if self.ended {
            return Ok(None);
        }
        let result = self.find_frame();
        self.ended = !matches!(result, Ok(Some(_)));
        result
    }

    fn find_frame(&mut self) -> Result<Option<Recorded>, RecordingError> {
        loop {
            let offset = self.offset;
            let Some(block_type) = self.next_block()? else {
                return Ok(None);
            };
            let parsed = match block_type {
                INTERFACE => parse_interface(&self.body).map(|interface| {
                    self.interfaces.push(interface);
                    None
                }),
                PACKET => parse_packet(&self.body, &self.interfaces),
                SECTION => Err("it has a second section"),
                _ => Ok(None),
            };
            match parsed {
                Ok(Some(recorded)) => return Ok(Some(recorded)),
                Ok(None) => {}
                Err(what) => return Err(self.format(offset, what)),
            }
        }
    }

    /// Reads the next block into `body` and returns its type; `None` at the end of the file.
    fn next_block(&mut self) -> Result<Option<u32>, RecordingError> {
        let offset = self.offset;
        let mut head = Vec::with_capacity(8);
        self.fill(&mut head, 8)?;
        let head: [u8; 8] = match head.as_slice().try_into() {
            Ok(head) => head,
            Err(_) if head.is_empty() => return Ok(None),
            Err(_) => {
                return Err(RecordingError::Truncated { path: self.path.clone(), offset });
            }
        };
        let [t0, t1, t2, t3, l0, l1, l2, l3] = head;
        let (block_type, total) =
            (u32::from_le_bytes([t0, t1, t2, t3]), u32::from_le_bytes([l0, l1, l2, l3]));
        if total < 12 || total % 4 != 0 || total > MAX_BLOCK {
            return Err(self.format(offset, "the length of the block is impossible"));
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let result = self.fill(&mut body, total as usize - 8);
        self.body = body;
        result?;
        if self.body.len() != total as usize - 8 {
            return Err(RecordingError::Truncated { path: self.path.clone(), offset });
        }
        let trailer = self.body.split_off(self.body.len() - 4);
        if trailer != total.to_le_bytes() {
            return Err(self.format(offset, "the two lengths of the block differ"));
        }
        self.offset += u64::from(total);
        Ok(Some(block_type))
    }

    /// Appends up to `count` bytes; fewer at the end of the file.
    fn fill(&mut self, into: &mut Vec<u8>, count: usize) -> Result<(), RecordingError> {
        self.input
            .by_ref()
            .take(count as u64)
            .read_to_end(into)
            .map(|_| ())
            .map_err(|source| RecordingError::Read { path: self.path.clone(), source })
    }

    fn format(&self, offset: u64, what: &'static str) -> RecordingError {
        RecordingError::Format { path: self.path.clone(), offset, what }
    }
}

impl Iterator for Recording {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}

fn parse_interface(body: &[u8]) -> Result<Interface, &'static str> {
    let (head, options) = body.split_first_chunk::<8>().ok_or("the interface description is too short")?;
    if u16::from_le_bytes([head[0], head[1]]) != LINK_TYPE {
        return Err("an interface has no CAN frames (link type 227)");
    }
    // The default of the format is microseconds.
    let mut interface = Interface { name: String::new(), tick_ns: 1_000 };
    for option in options_of(options) {
        match option? {
            (OPT_INTERFACE_NAME, name) => interface.name = String::from_utf8_lossy(name).into_owned(),
            (OPT_RESOLUTION, [digits @ 0..=9]) => interface.tick_ns = 10u64.pow(u32::from(9 - digits)),
            (OPT_RESOLUTION, _) => {
                return Err("its time resolution is not a power of ten up to a nanosecond");
            }
            _ => {}
        }
    }
    Ok(interface)
}

/// The frame of an enhanced packet block; `None` for remote and error frames.
fn parse_packet(body: &[u8], interfaces: &[Interface]) -> Result<Option<Recorded>, &'static str> {
    let too_short = "the packet is too short";
    let (head, rest) = body.split_first_chunk::<20>().ok_or(too_short)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let interface =
        interfaces.get(word(0) as usize).ok_or("the packet names an interface that is not described")?;
    let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
    let captured = word(12) as usize;
    let packet = rest.get(..captured).ok_or(too_short)?;
    let options = rest.get(captured.next_multiple_of(4)..).ok_or(too_short)?;
    let mut direction = None;
    for option in options_of(options) {
        if let (OPT_PACKET_FLAGS, [flags, ..]) = option? {
            direction = match flags & 3 {
                1 => Some(Direction::Inbound),
                2 => Some(Direction::Outbound),
                _ => None,
            };
        }
    }
    let (&[i0, i1, i2, i3, length, fd_flags, _, _], data) =
        packet.split_first_chunk::<PACKET_HEADER>().ok_or(too_short)?;
    let raw = u32::from_be_bytes([i0, i1, i2, i3]);
    if raw & REMOTE_OR_ERROR != 0 {
        return Ok(None);
    }
    let id = match raw & EXTENDED {
        0 => u16::try_from(raw).ok().and_then(Id::standard),
        _ => Id::extended(raw & !EXTENDED),
    };
    let id = id.ok_or("an identifier is wider than its frame allows")?;
    let data = data.get(..usize::from(length)).ok_or("a frame has less data than it says")?;
    let build = if fd_flags & FD == 0 { Frame::new_classic } else { Frame::new_fd };
    let frame = build(id, data).map_err(|_| "a frame has a length that CAN does not have")?;
    let unix_ns = ticks.checked_mul(interface.tick_ns).ok_or("a time is beyond the year 2554")?;
    Ok(Some(Recorded { unix_ns, direction, frame }))
}

/// The options of a block up to the end mark.
fn options_of(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), &'static str>> {
    std::iter::from_fn(move || {
        let (&[c0, c1, l0, l1], rest) = bytes.split_first_chunk::<4>()?;
        let code = u16::from_le_bytes([c0, c1]);
        if code == OPT_END {
            return None;
        }
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let (Some(value), Some(next)) = (rest.get(..length), rest.get(length.next_multiple_of(4)..)) else {
            bytes = &[];
            return Some(Err("an option is longer than its block"));
        };
        bytes = next;
        Some(Ok((code, value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_760_000_000_123_456_000;

    fn frames() -> Vec<(Instant, Frame, Option<Direction>)> {
        let classic = |id, data: &[u8]| Frame::new_classic(id, data).unwrap();
        let fd = |id, data: &[u8]| Frame::new_fd(id, data).unwrap();
        vec![
            (Instant::from_micros(0), classic(Id::Standard(0), &[]), None),
            (Instant::from_micros(1), classic(Id::Standard(0x7FF), &[0xFF; 8]), Some(Direction::Inbound)),
            (
                Instant::from_micros(999_999),
                classic(Id::Extended(0x7FF), &[1, 2, 3]),
                Some(Direction::Outbound),
            ),
            (Instant::from_micros(5_000_000_000), classic(Id::Extended(0x1FFF_FFFF), &[0; 7]), None),
            (
                Instant::from_micros(5_000_000_001),
                fd(Id::Extended(0x045A_1105), &[7; 48]),
                Some(Direction::Inbound),
            ),
            (Instant::from_micros(5_000_000_002), fd(Id::Standard(0x123), &[8; 3]), None),
        ]
    }

    fn write(folder: &Path) -> PathBuf {
        let mut recorder = Recorder::create(folder, Bus::Can2, START).unwrap();
        for (at, frame, direction) in frames() {
            recorder.record(at, &frame, direction).unwrap();
        }
        assert_eq!(recorder.finish().unwrap(), 6);
        folder.join("can2.pcapng")
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::open(&write(folder.path())).unwrap();
        for (at, frame, direction) in frames() {
            let unix_ns = START + at.as_micros() * 1_000;
            assert_eq!(recording.next_frame().unwrap(), Some(Recorded { unix_ns, direction, frame }));
        }
        assert_eq!(recording.next_frame().unwrap(), None);
        assert_eq!(recording.interface(), Some("can2"));
    }

    /// The bytes by the format's specification, written down by hand.
    #[test]
    fn the_bytes_of_a_frame() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path(), Bus::Can1, 0x0102_0304_0506_0708).unwrap();
        let frame = Frame::new_classic(Id::Extended(0x1408_0005), &[0xAA, 0xBB]).unwrap();
        recorder.record(Instant::START, &frame, Some(Direction::Outbound)).unwrap();
        recorder.finish().unwrap();
        let file = std::fs::read(folder.path().join("can1.pcapng")).unwrap();
        #[rustfmt::skip]
        let expected = [
            6, 0, 0, 0,  56, 0, 0, 0,  0, 0, 0, 0,  4, 3, 2, 1,  8, 7, 6, 5,  10, 0, 0, 0,  10, 0, 0, 0,
            0x94, 0x08, 0x00, 0x05,  2, 0, 0, 0,  0xAA, 0xBB, 0, 0,
            2, 0, 4, 0,  2, 0, 0, 0,  0, 0, 0, 0,  56, 0, 0, 0,
        ];
        assert_eq!(file[file.len() - expected.len()..], expected);
        assert_eq!(file[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    }

    /// A recording that ends anywhere gives its whole frames and then says where it ends.
    #[test]
    fn a_cut_file_gives_its_whole_frames_and_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let mut ends = Vec::new();
        let mut recording = Recording::open(&path).unwrap();
        ends.push(recording.offset);
        recording.next_block().unwrap();
        ends.push(recording.offset);
        while recording.next_block().unwrap().is_some() {
            ends.push(recording.offset);
        }
        let cut = folder.path().join("cut.pcapng");
        for at in 0..whole.len() {
            std::fs::write(&cut, &whole[..at]).unwrap();
            let blocks = ends.iter().filter(|&&end| end <= at as u64).count();
            let Ok(recording) = Recording::open(&cut) else {
                assert_eq!(blocks, 0);
                continue;
            };
            let results: Vec<_> = recording.collect();
            let good = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(good, blocks.saturating_sub(2), "cut at {at}");
            let clean = ends.contains(&(at as u64));
            match results.last() {
                Some(Err(RecordingError::Truncated { offset, .. })) => {
                    assert!(!clean && *offset == ends[blocks - 1], "cut at {at}");
                }
                other => assert!(clean, "cut at {at}: {other:?}"),
            }
        }
    }

    /// Every single damaged byte is read without a panic, and never as more frames than there were.
    #[test]
    fn a_damaged_file_never_panics() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(write(folder.path())).unwrap();
        let damaged = folder.path().join("damaged.pcapng");
        for at in 0..whole.len() {
            for value in [0x00, 0x7F, 0xFF, whole[at] ^ 1] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                std::fs::write(&damaged, bytes).unwrap();
                if let Ok(recording) = Recording::open(&damaged) {
                    assert!(recording.filter(Result::is_ok).count() <= 6);
                }
            }
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let big_endian = [0x0A, 0x0D, 0x0D, 0x0A, 28, 0, 0, 0, 0x1A, 0x2B, 0x3C, 0x4D];
        let big_endian = [&big_endian[..], &[0; 12], &[28, 0, 0, 0]].concat();
        for (bytes, word) in
            [(&b"Test Name,170413"[..], "not a pcapng"), (b"", "not a pcapng"), (&big_endian, "big-endian")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = Recording::open(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(matches!(Recording::open(&folder.path().join("none")), Err(RecordingError::Read { .. })));
        assert!(matches!(
            Recorder::create(&folder.path().join("no/folder"), Bus::Can1, 0),
            Err(RecordingError::Create { .. })
        ));
    }

    /// `/dev/full` answers every write with "no space left on device".
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_one_clear_error_and_closes_the_recorder() {
        let open = || Recorder::create_at(PathBuf::from("/dev/full"), "can1", 0).unwrap();
        let frame = Frame::new_classic(Id::Standard(1), &[0; 8]).unwrap();

        let mut recorder = open();
        recorder.record(Instant::START, &frame, None).unwrap();
        let error = recorder.flush().unwrap_err();
        assert!(matches!(error, RecordingError::DiskFull { frames: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("disk is full") && error.to_string().contains("/dev/full"));
        assert!(matches!(recorder.record(Instant::START, &frame, None), Err(RecordingError::Closed { .. })));
        assert!(matches!(recorder.finish(), Err(RecordingError::Closed { .. })));

        // Also when the buffer overflows between two flushes, and at the end.
        let mut recorder = open();
        let failed = (0..10_000).find_map(|_| recorder.record(Instant::START, &frame, None).err());
        assert!(matches!(failed, Some(RecordingError::DiskFull { .. })));
        assert!(matches!(open().finish(), Err(RecordingError::DiskFull { frames: 0, .. })));
    }
}
