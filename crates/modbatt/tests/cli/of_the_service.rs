//! Settings of `modbatt serve` and the users of a data directory.

use super::*;

/// The three places of a setting, what goes with what, and what is on says what it risks; in both spellings.
#[test]
fn settings_are_checked_before_anything_runs() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("serve.toml");
    fs::write(&file, "compat = \"legacy\"\nallow_clear_key_halves = true\n").unwrap();
    let dir = temp.path().to_str().unwrap().to_owned();
    for spelling in [&["serve", "--check"][..], &["config", "check"]] {
        let check = |more: &[&str], variable: Option<(&str, &str)>| {
            let fixed = ["--data-dir", &dir, "--config", text(&file)];
            let mut command = command(&[spelling, &fixed, more].concat());
            command.envs(variable);
            finish(command)
        };
        let ended = check(&[], None);
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(
            ended.out.contains("http://127.0.0.1:8080 for whoever sits at this machine"),
            "{}",
            ended.out
        );
        assert!(ended.out.contains("as legacy by default"), "{}", ended.out);
        assert!(
            ended.out.contains("RISK allow_clear_key_halves: key halves of LCTs go out in clear"),
            "{}",
            ended.out
        );
        assert_eq!(ended.out.matches("RISK").count(), 1);
        let all = ["--compat", "modbatt-win", "--allow-unknown-components", "--allow-pairing-without-proofs"];
        let ended = check(&all, Some(("MODBATT_SERVE_ALLOW_UNKNOWN_CREATORS", "true")));
        assert!(ended.out.contains("as modbatt-win by default"), "{}{}", ended.out, ended.err);
        assert_eq!(ended.out.matches("RISK").count(), 4, "{}", ended.out);
        check(&["--allow-pairing-without-proofs"], None).fails(2, &["goes with allow_unknown_components"]);
        check(&[], Some(("MODBATT_SERVE_COMPAT", "older"))).fails(2, &["legacy", "modbatt-win"]);
        check(&["--listen", "192.0.2.1:8443"], None).fails(2, &["there are no users", "--once"]);
    }
    run(&["demo", "--allow-unknown-creators", "--data-dir", &dir]).fails(2, &["it goes with compat"]);
}

/// A directory with its first administrator, whose passphrase is shown once and kept nowhere.
#[test]
fn a_data_directory_has_its_first_administrator_from_the_start() {
    let temp = tempfile::tempdir().unwrap();
    let (drawn, chosen, refused) = (temp.path().join("a"), temp.path().join("b"), temp.path().join("c"));
    let init = |dir: &Path, more: &[&str]| {
        run(&[&["ledger", "init", "--json", "--data-dir", text(dir)], more].concat())
    };
    let made = init(&drawn, &["--administrator", "ann"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let administrator = &made.json()["administrator"];
    let passphrase = administrator["passphrase"].as_str().unwrap().to_owned();
    assert_eq!((passphrase.len(), &administrator["name"]), (29, &Value::from("ann")));
    let users = fs::read_to_string(drawn.join("users.json")).unwrap();
    assert!(users.contains("once_until") && !users.contains(&passphrase));
    let checked = run(&["serve", "--check", "--data-dir", text(&drawn)]);
    assert!(checked.out.contains("for users"), "{}", checked.out);

    let words = temp.path().join("words");
    fs::write(&words, "a passphrase of ann\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let given = ["--administrator", "ann", "--passphrase-file", text(&words)];
    let made = init(&chosen, &given).json();
    assert_eq!(made["administrator"]["passphrase"], Value::Null);
    assert!(!fs::read_to_string(chosen.join("users.json")).unwrap().contains("once_until"));
    // Her own passphrase in the place of the drawn one, and another drawn one in the place of hers.
    let user = |dir: &Path, args: &[&str]| run(&[&["user"], args, &["--data-dir", text(dir)]].concat());
    let own = user(&drawn, &["passphrase", "ann", "--passphrase-file", text(&words)]);
    assert_eq!(own.out, "ann has another passphrase\n", "{}", own.err);
    assert!(!fs::read_to_string(drawn.join("users.json")).unwrap().contains("once_until"));
    assert!(user(&chosen, &["passphrase", "ann", "--once"]).out.contains("shown this once: "));
    assert!(fs::read_to_string(chosen.join("users.json")).unwrap().contains("once_until"));
    let another = user(&chosen, &["add", "bob", "--role", "viewer", "--once"]);
    assert!(another.out.starts_with("bob is viewer\npassphrase of bob"), "{}{}", another.out, another.err);

    fs::write(&words, "too short\n").unwrap();
    let short = init(&refused, &given);
    assert_eq!(short.code, 2, "{}", short.err);
    assert!(!refused.exists(), "nothing half made");
    assert!(init(&refused, &[]).json()["administrator"].is_null());
    assert!(!refused.join("users.json").exists(), "without one it serves this machine");
}
