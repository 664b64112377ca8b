//! A technician's laptop acts without network, and what it did is brought later.
//!
//! Rule L93 of the ledger.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use bridge::field::{FieldError, Journal};
use process::{Ended, Running, run, start, stop};
use serde_json::Value;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The pairing of app and pack, as the ledger has it.
fn pairing(dir: &Path) -> String {
    let run: Value = serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap();
    let client = api::Client::new(run["url"].as_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let relations = runtime.block_on(client.relations("app-0001")).unwrap();
    let paired = relations.links.iter().filter(|link| link.relation == "paired");
    paired.max_by_key(|link| link.recorded_at).unwrap().id.to_string()
}

/// Whoever may lose the authority's key signs early who follows; only the two keys together make a succession.
#[test]
fn another_key_follows_that_of_the_authority() {
    let temp = tempfile::tempdir().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let key = |name: &str| run(&["delegate", "key", &file(name)]).good().out.trim().to_owned();
    let (old, new) = (key("old"), key("new"));
    let sign = |from: &str, to: &str, out: &str| {
        let files = ["succession", "sign", "--from", &file(from), "--to", &file(to), "--out", &file(out)];
        run(&[&files[..], &["--time", "1700000000", "--json"]].concat())
    };
    let signed = sign("old", "new", "next").good().json();
    assert_eq!(signed["time"], 1_700_000_000, "{signed}");
    assert_eq!(signed["from_key"], old.as_str(), "without it nobody goes on where the old key is lost");
    assert_eq!(signed.get("message"), None, "it is told where it is asked for only");
    let kept = fs::read(file("new")).unwrap();
    for out in ["old", "new", "next"] {
        sign("old", "new", out).fails_at_once("over a file", &["is there already"]);
    }
    assert_eq!(fs::read(file("new")).unwrap(), kept);
    let show = |from: &str, name: &str| run(&["succession", "show", "--from", from, &file(name), "--json"]);
    let shown = show(&old, "next").good().json();
    let message = shown["message"].as_str().unwrap();
    assert!(
        message.starts_with("1c0301") && message[22..].starts_with(&new) && message.len() == 2 * 211,
        "{message}"
    );
    assert_eq!(
        [&shown["from"], &shown["to"], &shown["time"]],
        [&signed["from"], &signed["to"], &signed["time"]]
    );
    show(&new, "next").fails_at_once("of another key", &["not a succession of that key"]);
    let mut bad = fs::read(file("next")).unwrap();
    bad[80] ^= 1;
    fs::write(file("bad"), bad).unwrap();
    show(&old, "bad").fails_at_once("another time", &["not a succession of that key"]);
    sign("old", "old", "x").fails_at_once("itself", &["nobody follows itself"]);
    sign("old", "none", "x").fails_at_once("no key", &["there is no key file"]);
}

/// Where the app's host listens, as the app's announce says; that of a host that has ended is told until the next one's is recorded.
fn host(dir: &Path) -> String {
    let data = dir.to_str().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while Instant::now() < patience {
        let found = run(&["discover", "app-0001", "--data-dir", data, "--json"]);
        if let Some(endpoint) = found.json()["access"]["endpoint"].as_str()
            && endpoint.strip_prefix("http://").is_some_and(|at| TcpStream::connect(at).is_ok())
        {
            return endpoint.to_owned();
        }
    }
    panic!("the app announced no host");
}

#[test]
fn a_laptop_acts_in_the_field_and_the_ledger_says_what_counts() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let delegate = |more: &[&str]| run(&[&["delegate"], more].concat());
    let mut demo = start(&["demo", "--modules", "1", "--data-dir", data, "--json"]);
    demo.wait_ready();

    // Two laptops, each with a key that never left it.
    let laptop = |name: &str, allow: &str| {
        let public = delegate(&["key", &file(&format!("{name}.key"))]).good().out.trim().to_owned();
        let out = file(&format!("{name}.delegation"));
        let issue =
            ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0001", "--allow", allow];
        let made = delegate(&[&issue[..], &["--out", &out, "--json"]].concat()).good().json();
        assert_eq!(delegate(&["show", &out, "--json"]).good().json()["id"], made["id"]);
        made
    };
    let first = laptop("one", "pair,bind,revoke");
    let second = laptop("two", "revoke");
    let third = laptop("three", "pair");
    assert_eq!([&first["number"], &second["number"]], [1, 2]);
    let public = delegate(&["key", &file("one.key")]).good().out.trim().to_owned();
    let issue = ["issue", "--data-dir", data, "--delegate", &public, "--out", "x"];
    delegate(&[&issue[..], &["--pack", "module-0001"]].concat())
        .fails_at_once("a module", &["W4_ERR_DELEGATION_INVALID", "module-0001 is no pack"]);
    delegate(&[&issue[..], &["--pack", "pack-0001", "--allow", "all"]].concat())
        .fails("operation", &["`pair`"]);

    let pairing = pairing(&dir);
    let end = |name: &str, time: &Value, more: &[&str]| {
        let (key, right) = (file(&format!("{name}.key")), file(&format!("{name}.delegation")));
        let (journal, time) = (file(&format!("{name}.journal")), time.to_string());
        let files = ["end", "--key", &key, "--delegation", &right, "--journal", &journal, "--time", &time];
        delegate(&[&files[..], more, &["--json"]].concat())
    };
    // When the last of the three holds, all do.
    let (ends, at) = (["--pairing", pairing.as_str(), "--reason", "lost"], &third["not_before"]);
    let act = end("one", at, &ends).good().json();
    assert_eq!((&act["act"], &act["type"]), (&1.into(), &"pairing".into()));
    assert!(act["revoke"].as_str().unwrap().starts_with("1c02"), "what devices take");
    end("two", at, &ends).good();
    end("one", at, &["--binding", &"ab".repeat(16)]).good();
    end("three", at, &ends).fails_at_once("not its operation", &["does not allow"]);
    end("two", &second["not_after"], &ends).fails_at_once("too late", &["holds from"]);
    let swapped = file("swapped.journal");
    let (one, two) = (file("one.key"), file("two.delegation"));
    let files = ["end", "--key", &one, "--delegation", &two, "--journal", &swapped];
    delegate(&[&files[..], &ends].concat()).fails("another key", &["for another key"]);

    // What the first laptop did reaches both sides over the app's host, each of which judges it; then it is done there.
    let give = |name: &str| {
        let host = host(&dir);
        let to = ["--host", host.as_str(), "--to", "pack-0001", "--to", "app-0001"];
        end(name, at, &[&ends[..], &to].concat())
    };
    let given = give("one").good().json();
    for (given, id) in given["given"].as_array().unwrap().iter().zip(["pack-0001", "app-0001"]) {
        assert_eq!((&given["id"], &given["status"]), (&id.into(), &"accepted".into()));
    }
    let again = give("one");
    assert_eq!(again.code, Some(1), "nothing is left to end");
    assert_eq!(again.json()["given"][0]["status"], "wrong_party");

    // The network is back: the first to bring is the first to count.
    let bring = |name: &str| {
        let journal = file(&format!("{name}.journal"));
        delegate(&["bring", "--data-dir", data, "--journal", &journal, "--caught-up", "--json"])
    };
    let told = bring("one");
    assert_eq!(told.code, Some(1), "one of its acts took no effect: {}{}", told.out, told.err);
    let told = told.json();
    assert_eq!(told["brought"], 4);
    let acts = &told["delegation"]["acts"];
    assert_eq!((&acts[0]["outcome"], &acts[1]["outcome"]), (&"done".into(), &"refused".into()));
    assert_eq!(acts[1]["code"], "W4_ERR_REVOKE_UNKNOWN");
    let late = bring("two").json();
    assert_eq!(late["delegation"]["acts"][0]["outcome"], "superseded");
    assert_eq!(late["delegation"]["acts"][0]["code"], "W4_ERR_REVOKE_REPEATED");
    assert_eq!(bring("one").json()["brought"], 0, "nothing is brought twice");

    let report = delegate(&["report", "--data-dir", data]);
    for words in
        ["number 1, for pack-0001", "revoke/order at", ": done", "superseded, somebody else", "refused ("]
    {
        assert!(report.out.contains(words), "{words}: {}", report.out);
    }
    let id = third["id"].as_str().unwrap();
    delegate(&["revoke", id, "--data-dir", data, "--reason", "lost"]).good();
    let unknown = "ab".repeat(16);
    delegate(&["revoke", &unknown, "--data-dir", data])
        .fails_at_once("unknown", &["W4_ERR_DELEGATION_NOT_FOUND"]);
    let mut report = Value::Null;
    for _ in 0..40 {
        report = delegate(&["report", id, "--data-dir", data, "--json"]).good().json();
        if !report["delegations"][0]["revoked_at"].is_null() {
            break;
        }
    }
    assert!(report["delegations"][0]["revoked_at"].is_u64(), "{report}");
    demo.interrupt();
    demo.wait();
}

/// Without network a laptop makes the keys of a pack anew and takes a module in for one that was taken out; later the ledger
/// has all of it, and what the part signs reaches it.
#[test]
fn a_laptop_rotates_and_replaces_in_the_field() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let delegate = |more: &[&str]| run(&[&["delegate"], more].concat());
    let demo = |more: &[&str]| {
        let mut demo = start(&[&["demo", "--data-dir", data, "--speed", "10", "--json"], more].concat());
        demo.wait_ready();
        demo
    };
    stop(demo(&["--modules", "2"]));
    let running = demo(&["--exchange", "module-0002=module-0003"]);
    let public = delegate(&["key", &file("key")]).good().out.trim().to_owned();
    let issue = ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0001", "--json"];
    let made = delegate(&[&issue[..], &["--out", &file("delegation")]].concat()).good().json();
    let brief = ["brief", &file("delegation"), "--data-dir", data, "--out", &file("brief"), "--json"];
    assert_eq!(delegate(&brief).good().json()["relations"], 3, "of the app and of two modules");
    let (host, time) = (host(&dir), made["not_before"].to_string());
    let (brief, key, journal) = (file("brief"), file("key"), file("journal"));
    let at = ["--brief", &brief, "--key", &key, "--journal", &journal, "--host", &host, "--json"];
    let act = |what: &[&str]| delegate(&[what, &at[..], &["--time", &time]].concat());
    act(&["rotate", "pack-0001", "app-0001"])
        .fails_at_once("the wrong way round", &["are not bound to each other"]);
    act(&["rotate", "pack-0001", "module-0002"])
        .fails_at_once("it was taken out", &["module-0002 was not reached", "W4_ERR_COMPONENT_NOT_FOUND"]);
    act(&["replace", "module-0009", "module-0003"]).fails_at_once("unknown", &["knows of no binding of"]);
    let before = pairing(&dir);
    let rotated = act(&["rotate", "app-0001", "pack-0001"]).good().json();
    assert_eq!((&rotated["act"], &rotated["a"]), (&1.into(), &"app-0001".into()), "{rotated}");
    act(&["rotate", "pack-0001", "module-0001"]).good();
    let replaced = act(&["replace", "module-0002", "module-0003"]).good().json();
    assert_eq!((&replaced["act"], &replaced["status"]), (&5.into(), &"accepted".into()), "{replaced}");
    // The same again, as after a cut: nothing is done twice, and the pack is told once more of what it has no more.
    let again = act(&["replace", "module-0002", "module-0003"]);
    assert_eq!(again.code, Some(1), "{}{}", again.out, again.err);
    let again = again.json();
    assert_eq!((&again["act"], &again["ended"]), (&5.into(), &replaced["ended"]), "{again}");
    assert!(again["status"].as_str().unwrap().contains("it has it no more"), "{again}");
    // A key that was lost in the field: both get others, and the old binding gives way.
    let bound = act(&["bind", "pack-0001", "module-0001"]).good().json();
    assert_eq!(bound["act"], 8, "its end, the new binding, a pairing: {bound}");
    assert_eq!(pairing(&dir), before, "the ledger does not know yet");

    // It ends bindings whose keys signed what may still wait.
    let bring = ["bring", "--data-dir", data, "--journal", &journal, "--json"];
    delegate(&bring).fails_at_once("who knows what waits", &["act 5 ends a binding", "--caught-up"]);
    let told = delegate(&[&bring[..], &["--caught-up"]].concat()).good().json();
    let outcomes: Vec<_> =
        told["delegation"]["acts"].as_array().unwrap().iter().map(|a| &a["outcome"]).collect();
    assert_eq!(outcomes, ["done"; 8], "{told}");
    assert_eq!(delegate(&bring).good().json()["brought"], 0, "nothing is left that ends anything");
    assert_ne!(pairing(&dir), before);
    // The bridge goes on where the laptop was, and everything signed since is where it belongs.
    run(&["rotate", "pack-0001", "module-0003", "--agreement", "--data-dir", data]).good();
    run(&["rotate", "pack-0001", "module-0001", "--agreement", "--data-dir", data]).good();
    run(&["revoke", "--component", "module-0002", "--reason", "retired", "--data-dir", data]).good();
    let patience = Instant::now() + Duration::from_secs(40);
    let status = loop {
        let status = run(&["status", "--verify", "--data-dir", data]);
        if status.code == Some(0) || Instant::now() > patience {
            break status.good().out.clone();
        }
    };
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("module-0003").contains("bound to pack-0001 (B1), paired"), "{status}");
    assert!(line("module-0001").contains("bound to pack-0001 (B1), paired"), "{status}");
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.good().json()["record_gaps"], 0, "{}", ended.err);
    // What devices state about a pairing that the ledger does not have yet (H229) is all that it refused.
    let refused = ended.err.lines().filter(|line| line.contains("refused: "));
    let others: Vec<_> = refused.filter(|line| !line.contains("W4_ERR_VALIDATION_RELATION")).collect();
    assert_eq!(others, Vec::<&str>::new());
    run(&["audit", "verify", data]).good();
}

/// What `status --verify` says once it holds, or at last.
fn verified(data: &str) -> Ended {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let status = run(&["status", "--verify", "--data-dir", data]);
        if status.code == Some(0) || Instant::now() > patience {
            return status;
        }
    }
}

/// Acts in a journal, and how long it is on disk; nothing where it was not begun.
fn acts(journal: &str) -> (usize, u64) {
    let path = Path::new(journal);
    let read = Journal::read(path).map(|journal| journal.entries.len()).unwrap_or(0);
    (read, fs::metadata(path).map_or(0, |m| m.len()))
}

/// What a demo tells at its end beside the number of jobs that it held.
fn figure(ended: &Ended, name: &str) -> u64 {
    ended.good().json()[name].as_u64().unwrap()
}

/// Without network another pack controller takes the place of one that broke, on a laptop whose power goes after every act; and what
/// the parts measure meanwhile is on the ledger afterwards, through a cut of power of the app's machine.
#[test]
fn a_laptop_exchanges_a_pack_controller_in_the_field() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let delegate = |more: &[&str]| run(&[&["delegate"], more].concat());
    let demo =
        |more: &[&str]| start(&[&["demo", "--data-dir", data, "--speed", "20", "--json"], more].concat());
    let mut running = demo(&["--modules", "3"]);
    running.wait_ready();
    let public = delegate(&["key", &file("key")]).good().out.trim().to_owned();
    let issue = |spare: &[&str], out: &str| {
        let who = ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0001", "--json"];
        let made = delegate(&[&who[..], spare, &["--out", &file(out)]].concat());
        made.good();
        delegate(&["brief", &file(out), "--data-dir", data, "--out", &file(&format!("{out}.brief"))]).good();
        made.json()
    };
    let narrow = issue(&[], "narrow");
    let made = issue(&["--spare", "pack-0002"], "right");
    assert_eq!(made["packs"].as_array().unwrap().len(), 2, "{made}");
    let typo = ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0009", "--out", "x"];
    delegate(&typo).fails_at_once("a name that nobody has", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    let exchange = |of: &str, url: &str, time: &Value| {
        let (brief, key, journal) =
            (file(&format!("{of}.brief")), file("key"), file(&format!("{of}.journal")));
        let files = ["--brief", &brief, "--key", &key, "--journal", &journal, "--host", url, "--json"];
        let time = time.to_string();
        [&["delegate", "replace", "pack-0001", "pack-0002"], &files[..], &["--time", &time]]
            .concat()
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let begin = |args: &[String]| start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = begin(&exchange("narrow", &host(&dir), &narrow["not_before"])).wait();
    refused.fails_at_once("not named", &["does not name pack-0002", "W4_ERR_FIELD_SPARE"]);
    assert_eq!(refused.json()["code"], "W4_ERR_FIELD_SPARE");
    let there = begin(&exchange("right", &host(&dir), &made["not_before"])).wait();
    there.fails_at_once("it is there", &["pack-0001 answers", "W4_ERR_FIELD_ANSWERS"]);
    stop(running);

    // The laptop dies with every act, and at times between the end of a binding and the one in its place.
    let mut running = demo(&["--exchange", "pack-0001=pack-0002"]);
    running.wait_for("the new pack", |_, err| err.contains("is in the place of another pack controller"));
    // Without a channel the app announces nothing.
    let at = |line: &str| {
        line.strip_prefix("the app's host, which carries the messages of laptops, is at ").map(String::from)
    };
    let (url, journal) = (running.said().lines().find_map(at).unwrap(), file("right.journal"));
    let args = exchange("right", &url, &made["not_before"]);
    let mut killed = 0;
    let done = loop {
        let (before, _) = acts(&journal);
        let mut laptop = begin(&args);
        while laptop.is_running() && acts(&journal).0 == before {
            thread::sleep(Duration::from_millis(2));
        }
        // The last ones are done without a cut.
        if !laptop.is_running() || killed >= 9 {
            break laptop.wait();
        }
        laptop.kill();
        killed += 1;
        let whole = Journal::read(Path::new(&journal)).unwrap();
        if let Some(bound) = whole.entries.last().filter(|entry| entry.bound().is_some())
            && killed % 2 == 1
        {
            let entry = 153 + 2 + bound.body.len() + 2 + bound.note.len();
            let left = fs::read(&journal).unwrap();
            fs::write(&journal, &left[..left.len() - entry]).unwrap();
        }
    };
    let told = done.good().json();
    assert_eq!((&told["modules"], &told["replaced"]), (&3.into(), &true.into()), "{told}");
    assert!(killed >= 8, "it died {killed} times");
    assert_eq!(begin(&args).wait().good().json()["act"], told["act"], "nothing is done twice");
    running.wait_ready();

    // It works, and what is measured waits; the power of the app's machine goes, and then its disk is all that has it.
    let held = |running: &mut Running, least: u64| {
        running.wait_for("jobs that are held", |_, err| {
            let said = err.lines().rev().find_map(|line| line.split_once(" held for a laptop's journal"));
            let jobs = said.and_then(|(before, _)| before.rsplit_once(' ')?.1.parse::<u64>().ok());
            jobs.is_some_and(|jobs| jobs >= least)
        });
    };
    held(&mut running, 30);
    let died = running.kill();
    assert!(!died.err.contains("does not fit what was received"), "{}", died.err);
    let mut running = demo(&[]);
    running.wait_ready();
    held(&mut running, 60);
    let bring = ["bring", "--data-dir", data, "--journal", &journal, "--json"];
    let refused = delegate(&bring);
    refused.fails_at_once("who knows what waits", &["ends a binding", "W4_ERR_FIELD_CAUGHT_UP"]);
    // What the journal itself ends again, after cuts, stops it until what is held under that is there.
    let bring = [&bring[..], &["--caught-up"]].concat();
    let brought = loop {
        let brought = delegate(&bring);
        let told = brought.json();
        if told["code"] != "W4_ERR_FIELD_CAUGHT_UP" {
            break brought.good().json();
        }
        thread::sleep(Duration::from_secs(1));
    };
    let outcomes = brought["delegation"]["acts"].as_array().unwrap();
    assert!(outcomes.iter().all(|act| act["outcome"] == "done"), "{brought}");
    running.wait_for("what was held", |_, err| err.contains("jobs that were held go to the ledger"));
    let words = "pack-0002 is in the place of pack-0001, which is revoked; with it are paired the app and 3 modules\n";
    let ended = run(&["replace", "pack-0001", "pack-0002", "--data-dir", data]);
    assert_eq!(ended.good().out, words, "what is left is done with network");
    let status = verified(data);
    let status = &status.good().out;
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("pack-0001").contains("retired"), "{status}");
    assert!(line("pack-0002").contains("bound to app-0001 (B1), paired"), "{status}");
    for module in ["module-0001", "module-0002", "module-0003"] {
        assert!(line(module).contains("bound to pack-0002 (B1), paired"), "{status}");
    }
    running.interrupt();
    let ended = running.wait();
    assert_eq!((figure(&ended, "held_jobs"), figure(&ended, "record_gaps")), (0, 0), "{}", ended.err);
    let refused = ended.err.lines().filter(|line| line.contains("ledger: refused: "));
    let others: Vec<_> = refused.filter(|line| !line.contains("W4_ERR_VALIDATION_RELATION")).collect();
    assert_eq!(others, Vec::<&str>::new());
    run(&["audit", "verify", data]).good();
}

/// A laptop is lost with its journal. What its keys signed waits for that, and no new binding of the two is made over it; once the
/// ledger takes nothing more of the laptop, it lies with what was refused, and the two are bound anew and go on (H251, H253).
#[test]
fn a_lost_laptop_keeps_nothing_waiting() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let delegate = |more: &[&str]| run(&[&["delegate"], more].concat());
    let mut running = start(&["demo", "--data-dir", data, "--modules", "2", "--speed", "20", "--json"]);
    running.wait_ready();
    let laptop = |name: &str| {
        let public = delegate(&["key", &file(&format!("{name}.key"))]).good().out.trim().to_owned();
        let out = file(&format!("{name}.delegation"));
        let issue = ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0001", "--json"];
        let made = delegate(&[&issue[..], &["--out", &out]].concat()).good().json();
        let brief = file(&format!("{name}.brief"));
        delegate(&["brief", &out, "--data-dir", data, "--out", &brief]).good();
        made
    };
    let (lost, other) = (laptop("lost"), laptop("other"));
    let host = host(&dir);
    let bind = |name: &str, time: &Value| {
        let [brief, key, journal] = ["brief", "key", "journal"].map(|what| file(&format!("{name}.{what}")));
        let at = ["--brief", &brief, "--key", &key, "--journal", &journal, "--host", &host, "--json"];
        let time = time.to_string();
        delegate(&[&["bind", "pack-0001", "module-0001"], &at[..], &["--time", &time]].concat())
    };
    bind("lost", &lost["not_before"]).good();
    running.wait_for("jobs that are held", |_, err| err.contains(" held for a laptop's journal"));
    bind("other", &other["not_before"]).fails_at_once(
        "what is held would be lost",
        &["W4_ERR_PROTO_HELD", "is held until that laptop's journal is brought"],
    );
    let id = lost["id"].as_str().unwrap();
    delegate(&["revoke", id, "--reason", "lost", "--data-dir", data]).good();
    running.wait_for("what never comes", |_, err| {
        err.contains("the ledger will never have the key of module-0001")
            && err.contains("was taken back with all that was done under it")
            && err.contains("jobs that were held lie with what the ledger refused")
    });
    run(&["bind", "pack-0001", "module-0001", "--data-dir", data]).good();
    let status = run(&["status", "--data-dir", data]);
    let status = &status.good().out;
    let line = status.lines().find(|line| line.starts_with("module-0001")).unwrap();
    assert!(line.contains("bound to pack-0001 (B1), paired"), "{status}");
    running.interrupt();
    let ended = running.wait();
    assert_eq!(figure(&ended, "held_jobs"), 0, "{}", ended.err);
    assert!(figure(&ended, "refused_jobs") > 0, "{}", ended.err);
}

/// Sentence and code of a refusal come together, in words and for scripts.
#[test]
fn a_refusal_of_a_laptop_names_its_code() {
    let temp = tempfile::tempdir().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    run(&["delegate", "key", &file("key")]).good();
    fs::write(file("delegation"), b"none").unwrap();
    let id = "ab".repeat(16);
    let (right, key, journal) = (file("delegation"), file("key"), file("journal"));
    let end =
        ["delegate", "end", "--delegation", &right, "--key", &key, "--journal", &journal, "--binding", &id];
    let words = run(&end);
    words.fails_at_once("no delegation", &["this is not a delegation (W4_ERR_FIELD_DELEGATION)"]);
    assert_eq!((words.code, words.out.as_str()), (Some(2), ""));
    let object = run(&[&end[..], &["--json"]].concat()).json();
    assert_eq!(object["code"], "W4_ERR_FIELD_DELEGATION");
    assert_eq!(object["error"], FieldError::NotADelegation.to_string());
}

/// However much 31 modules have to say: two of a pack in full work get new keys in the field, though something is on its way to
/// the ledger at every moment. What the old keys signed is there before they end: the ledger refuses nothing of it.
#[test]
fn a_laptop_binds_in_a_pack_of_thirty_one_that_never_rests() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let delegate = |more: &[&str]| run(&[&["delegate"], more].concat());
    let mut running = start(&["demo", "--modules", "31", "--data-dir", data, "--speed", "max", "--json"]);
    running.wait_ready();
    let public = delegate(&["key", &file("key")]).good().out.trim().to_owned();
    let issue = ["issue", "--data-dir", data, "--delegate", &public, "--pack", "pack-0001", "--json"];
    let made = delegate(&[&issue[..], &["--out", &file("delegation")]].concat()).good().json();
    delegate(&["brief", &file("delegation"), "--data-dir", data, "--out", &file("brief")]).good();
    let (host, time) = (host(&dir), made["not_before"].to_string());
    let (brief, key, journal) = (file("brief"), file("key"), file("journal"));
    let at = ["--brief", &brief, "--key", &key, "--journal", &journal, "--host", &host, "--time", &time];
    let began = Instant::now();
    let bound = delegate(&[&["bind", "pack-0001", "module-0031", "--json"], &at[..]].concat()).good().json();
    println!("31 modules, bound and paired anew after {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(bound["act"], 3, "the end of the old one, the new one, a pairing: {bound}");
    let bring = ["bring", "--data-dir", data, "--journal", &journal, "--caught-up", "--json"];
    let told = delegate(&bring).good().json();
    assert_eq!(told["brought"], 3, "{told}");
    running.interrupt();
    let ended = running.wait();
    ended.good();
    let refused = ended.err.lines().filter(|line| line.contains("refused: "));
    // Of what devices state about a binding or a pairing that ended meanwhile, or that the ledger does not have yet (H229), it
    // refuses the word; of what they measured nothing.
    let others: Vec<_> = refused.filter(|line| !line.contains("W4_ERR_VALIDATION_")).collect();
    assert_eq!(others, Vec::<&str>::new());
}
