//! Server processes: started, asked what they computed and what memory they hold, ended.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::fleet::Founders;

/// The clock in which the system counts processor time, per second.
const TICKS: u64 = 100;

/// A server at work.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// This program again as one of its peers, which answers every request with `answer`.
    pub fn peer(which: &str, answer: &[u8]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child =
            command.arg(which).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a peer starts");
        child.stdin.take().unwrap().write_all(answer).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, address: line.trim().parse().expect("a peer says where it listens") }
    }

    /// `modbatt serve` on a data directory.
    pub fn bridge(modbatt: &str, data: &Path) -> Self {
        let mut child = Command::new(modbatt)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .expect("modbatt starts");
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("ledger at http://")).expect("it says where it is");
        // What it says later is read, so that it never waits for a reader.
        thread::spawn(move || lines.for_each(drop));
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        Server { child, address: address.parse().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).expect("the server lives")
    }

    /// Processor time of all its threads so far, those included that ended.
    pub fn cpu(&self) -> Duration {
        let stat = self.file("stat");
        let (_, after) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    /// Memory that it holds by itself, and its part of what it shares, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let rollup = self.file("smaps_rollup");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The same by what it is: what threads took from the system for what they make (`anonymous`, and `heap`, which the first of them
    /// has), stacks and all, and pages of files.
    pub fn memory_kib_by_kind(&self) -> serde_json::Value {
        let (mut heap, mut anonymous, mut files, mut kind) = (0_u64, 0, 0, 0);
        for line in self.file("smaps").lines() {
            if let Some(kib) = line.strip_prefix("Pss:") {
                let kib: u64 = kib.trim().trim_end_matches(" kB").parse().unwrap();
                *[&mut heap, &mut anonymous, &mut files][kind] += kib;
            } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
                kind = match line.split_whitespace().nth(5) {
                    Some("[heap]") => 0,
                    Some(path) if path.starts_with('/') => 2,
                    _ => 1,
                };
            }
        }
        serde_json::json!({ "heap": heap, "anonymous": anonymous, "files": files })
    }

    /// Asks it to end and waits for it.
    pub fn end(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(asked.success() && self.child.wait().unwrap().success(), "it did not end in order");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that ended already cannot be killed.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Makes a data directory.
pub fn found(modbatt: &str, data: &Path) -> Founders {
    let made =
        Command::new(modbatt).args(["ledger", "init", "--json", "--data-dir"]).arg(data).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let api::Hex(chain_id) = made["chain_id"].as_str().unwrap().parse::<api::Hex<32>>().unwrap();
    Founders::of(data, chain_id)
}
