//! Replacing a small file so that a crash leaves the old content or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Replaces `path` with `bytes` and returns after both content and name are on the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(path, bytes, File::options().write(true).create(true).truncate(true))
}

/// Like [`replace`], for what only its owner may read.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    // What a crash left may have been made for everybody to read.
    match fs::remove_file(part_of(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    replace_by(path, bytes, &options)
}

/// Makes a folder that only its owner may look into; one that exists stays as it is.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn replace_by(path: &Path, bytes: &[u8], options: &OpenOptions) -> io::Result<()> {
    let part = part_of(path);
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    sync_parent(path)
}

/// Where the next content of `path` is written, which is that of no other file: two of one stem are replaced at the same time.
fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Makes the names in the folder of `path` durable.
#[cfg(unix)]
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Other systems write names through.
#[cfg(not(unix))]
pub(crate) fn sync_parent(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of two files that differ only behind the dot gets its own content, whoever writes at the same time.
    #[test]
    fn files_of_one_stem_are_replaced_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let [users, sources] = ["users.json", "users.sources"].map(|name| dir.path().join(name));
        assert_ne!(part_of(&users), part_of(&sources));
        let write = |path: &Path, content: &[u8]| {
            for _ in 0..20 {
                replace_private(path, content).unwrap();
                assert_eq!(fs::read(path).unwrap(), content);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| write(&users, b"who"));
            scope.spawn(|| write(&sources, b"from where"));
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside them");
    }
}
