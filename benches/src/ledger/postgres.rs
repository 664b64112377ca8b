//! PostgreSQL, where it is installed: a server of its own for the run, on the same disk.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use postgres::{Client, Config, NoTls, Statement};

use super::{
    Disk,
    peers::Key,
    records::{Commit, Keeper},
};

/// Where Debian puts the programs that are not for everyone's PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server that ends with this value.
pub struct Server {
    child: Child,
    dir: PathBuf,
    /// What it says that it is.
    pub version: String,
}

impl Server {
    pub fn start(disk: &Disk) -> Result<Self> {
        let programs = programs().context("PostgreSQL is not installed")?;
        let dir = disk.ledger("postgres")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            // It refuses to run as root, and must reach its directory.
            chown(&dir, Some(uid), Some(gid))?;
            fs::set_permissions(disk.path(""), fs::Permissions::from_mode(0o755))?;
        }
        let as_user = |program: &str| {
            let mut command = Command::new(programs.join(program));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&dir);
            command
        };
        let data = dir.join("data");
        let made = as_user("initdb")
            .args(["--auth=trust", "--username=bench", "--no-locale", "--encoding=UTF8", "-D"])
            .arg(&data)
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr).trim());
        let child = as_user("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c"])
            .arg(format!("unix_socket_directories={}", dir.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, dir, version: String::new() };
        let mut client = server.connect()?;
        server.version = client.query_one("SELECT version()", &[])?.get(0);
        Ok(server)
    }

    /// Waits until the server answers.
    fn connect(&self) -> Result<Client> {
        let mut config = Config::new();
        config.host_path(&self.dir).user("bench").dbname("postgres");
        for _ in 0..100 {
            match config.connect(NoTls) {
                Ok(client) => return Ok(client),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
        bail!("the server did not answer")
    }

    /// An empty table.
    pub fn table(&self, key: Key) -> Result<Table> {
        let mut client = self.connect()?;
        let of = match key {
            Key::Position => "bigint",
            Key::Id => "bytea",
        };
        client.batch_execute(&format!(
            "DROP TABLE IF EXISTS r; CREATE TABLE r (k {of} PRIMARY KEY, v bytea NOT NULL)"
        ))?;
        let insert =
            client.prepare(&format!("INSERT INTO r (k, v) SELECT * FROM unnest($1::{of}[], $2::bytea[])"))?;
        Ok(Table { client, insert, key })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the run is over.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A table and the statement that fills it.
pub struct Table {
    client: Client,
    insert: Statement,
    key: Key,
}

impl Keeper for Table {
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let records: Vec<&[u8]> = commit.rows.iter().map(|row| row.record.as_slice()).collect();
        match self.key {
            Key::Position => {
                let keys: Vec<i64> = commit.rows.iter().map(|row| row.position as i64).collect();
                self.client.execute(&self.insert, &[&keys, &records])?;
            }
            Key::Id => {
                let keys: Vec<&[u8]> = commit.rows.iter().map(|row| row.id.as_slice()).collect();
                self.client.execute(&self.insert, &[&keys, &records])?;
            }
        }
        Ok(())
    }
}

/// The directory with `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin")));
    let has = |dir: &Path| ["initdb", "postgres"].iter().all(|name| dir.join(name).exists());
    places.into_iter().find(|dir| has(dir))
}

/// Whom the server runs as when this program runs as root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let Some(line) = users.lines().find_map(|line| line.strip_prefix(&format!("{name}:x:"))) else {
            continue;
        };
        let mut ids = line.split(':').map(str::parse);
        if let (Some(uid), Some(gid)) = (ids.next(), ids.next()) {
            return Ok(Some((uid?, gid?)));
        }
    }
    bail!("there is no user whom the server could run as")
}
