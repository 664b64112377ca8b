//! Finds the measured data, which the repository does not carry.

use std::path::PathBuf;

/// The file `leaf-2013/<name>` under `MODBATT_DATA`, else under `../shared/data` beside the workspace.
///
/// Without the file the test says so and ends; where `CI` is set it fails.
pub fn leaf(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("MODBATT_DATA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    };
    let path = root.join("leaf-2013").join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("not run: no measured data at {}; set MODBATT_DATA", path.display());
    assert!(
        std::env::var_os("CI").is_none(),
        "measured data are required where CI is set: {}",
        path.display()
    );
    None
}
