//! The published contract, the routes, and `spec/api.md` say the same (A1, A200 to A202).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::common;

use api::PREFIX;
use bridge::compat::{Allow, Profile};
use common::World;
use serde_json::Value;

/// What spec/api.md describes and the contract does not: routes of entities, which the bridge does not serve, and itself.
const BESIDE: [&str; 5] = [
    "POST /api/binding/generate-keys",
    "POST /api/delegation/carry",
    "GET /openapi.json",
    "GET /openapi-compat.json",
    "GET /proto/api_bridge.proto",
];
/// Files that add routes without `routes!`, each with the reason.
const PLAIN_ROUTES: [(&str, &str); 3] = [
    ("openapi.rs", "the contract does not describe itself"),
    ("grpc/mod.rs", "what is asked over gRPC is described by its proto files (A191)"),
    (
        "compat/router.rs",
        "the older contract has its own table (A154), from which its document is made too (A207)",
    ),
];
/// What the client has no method for: streams, which are read with what reads streams, and what those ask who keep a
/// service running.
const OTHERS_READ: [&str; 4] = ["GET /events/stream", "GET /ws", "GET /ready", "GET /metrics"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `METHOD /path` of every operation under the prefix, parameters without their names.
fn documented() -> BTreeSet<String> {
    let contract: Value = serde_json::from_str(&bridge::contract()).unwrap();
    let mut found = BTreeSet::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let inner = path.strip_prefix(PREFIX).unwrap_or(path);
            found.insert(format!("{} {}", method.to_uppercase(), nameless(inner)));
        }
    }
    found
}

/// A path with `{}` for every parameter.
fn nameless(path: &str) -> String {
    let mut shown = String::new();
    let mut within = false;
    for c in path.chars() {
        within = (within || c == '{') && c != '}';
        if !within {
            shown.extend((c == '}').then_some('{'));
            shown.push(c);
        }
    }
    shown
}

/// `METHOD /path` of every route that a file names in backquotes.
fn named_in(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let routes = quoted.filter_map(|quoted| {
        let (method, rest) = quoted.split_once(' ')?;
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) && rest.starts_with('/');
        let path = rest.split('?').next()?.trim_end();
        let path = path.strip_prefix(PREFIX).unwrap_or(path);
        known.then(|| format!("{method} {}", nameless(path)))
    });
    routes.collect()
}

#[test]
fn every_route_is_in_the_contract_and_in_the_specification() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&folder) {
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains(".route(") || PLAIN_ROUTES.iter().any(|(plain, _)| *plain == name),
            "src/{name} adds a route by `.route(`, past the contract; CONTRIBUTING.md says how it is added"
        );
    }
    let (documented, mut specified) = (documented(), named_in("spec/api.md"));
    for route in BESIDE {
        assert!(specified.remove(route), "{route} is not in spec/api.md");
    }
    let unspecified: Vec<_> = documented.difference(&specified).collect();
    assert!(unspecified.is_empty(), "not in spec/api.md as `METHOD /path`: {unspecified:?}");
    let missing: Vec<_> = specified.difference(&documented).collect();
    assert!(missing.is_empty(), "in spec/api.md and no route of the contract: {missing:?}");
    let client = named_in("crates/api/src/client.rs");
    let missing: Vec<_> =
        documented.difference(&client).filter(|route| !OTHERS_READ.contains(&route.as_str())).collect();
    assert!(missing.is_empty(), "no method of api::Client names in its documentation: {missing:?}");
}

/// Two types of one name would describe each other's answers.
#[test]
fn every_type_of_the_contract_has_its_own_name() {
    let mut owners: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in ["crates/api/src", "crates/bridge/src"] {
        for file in sources(&root().join(folder)) {
            // Types of the older contract are in a document of their own.
            if file.components().any(|part| part.as_os_str() == "compat") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for item in text.split("ToSchema)]").skip(1) {
                let head = item.split_once("pub ").unwrap().0;
                let renamed = head.split_once("schema(as = ").and_then(|(_, rest)| rest.split(')').next());
                let declared = item[head.len()..].split_whitespace().nth(2);
                let name = renamed.or(declared).unwrap().split(['<', '(']).next().unwrap();
                if let Some(first) = owners.insert(name.into(), file.clone()) {
                    panic!(
                        "`{name}` in {} and {}: give one #[schema(as = ..)]",
                        first.display(),
                        file.display()
                    );
                }
            }
        }
    }
    assert!(owners.len() > 50, "{}", owners.len());
}

/// Every reference leads somewhere, no answer admits `null` (A3), and every refusal has its body (A5).
#[test]
fn the_contract_is_whole() {
    let contract: Value = serde_json::from_str(&bridge::contract()).unwrap();
    let text = contract.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(contract["components"]["schemas"][name].is_object(), "{name}");
    }
    let component = &contract["components"]["schemas"]["BindingView"]["properties"]["reason"];
    assert_eq!(component["type"], "string", "{component}");
    let register = &contract["paths"]["/api/v1/components/register"]["post"];
    for status in ["400", "401", "403", "408", "409", "413", "415", "421", "500", "503", "504"] {
        let schema = &register["responses"][status]["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{status}");
    }
    let mut names = BTreeSet::new();
    for methods in contract["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{}", operation["operationId"]);
            assert!(operation["summary"].is_string(), "{operation}");
        }
    }
}

/// The document of the older contract has its routes, no other ones, and a body for each (A207).
#[tokio::test(flavor = "multi_thread")]
async fn the_older_contract_lacks_no_route() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let served = world.send(world.http.get(format!("{}/openapi-compat.json", world.address))).await;
    let contract: Value = served.json();
    assert_eq!(contract, serde_json::from_str::<Value>(&bridge::older_contract()).unwrap());
    let text = contract.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(contract["components"]["schemas"][name].is_object(), "{name}");
    }
    let mut documented = BTreeSet::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            assert!(answer.is_string() && operation["summary"].is_string(), "{method} {path}: {operation}");
            let asked = path.replace("{id}", "00").replace("{hash}", "00");
            let asked = world
                .http
                .request(method.to_uppercase().parse().unwrap(), format!("{}{asked}", world.address));
            let answer = world.send(asked).await;
            // Whatever is wrong with it, somebody read it.
            if answer.status != 200 {
                let problem = answer.problem();
                assert!(
                    !["W4_ERR_PROTO_ROUTE", "W4_ERR_PROTO_METHOD"].contains(&problem.code.as_str()),
                    "{method} {path}: {problem}"
                );
            }
            let inner = path.strip_prefix(PREFIX).unwrap_or(path);
            documented.insert((method.to_uppercase(), inner.to_owned()));
        }
    }
    let calls: BTreeSet<_> =
        bridge::compat::calls().into_iter().map(|(m, path, ..)| (m, path.to_owned())).collect();
    assert_eq!(documented, calls);
}

/// What is served is the contract, and the viewer shows it without asking another host.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_served_with_a_viewer() {
    let world = World::new().await;
    let get = |path: &str| world.send(world.http.get(format!("{}{path}", world.address)));
    let served = get("/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(String::from_utf8(served.body).unwrap(), bridge::contract());
    for (path, holds) in [
        ("/docs/", "swagger-ui-bundle.js"),
        ("/docs/swagger-initializer.js", "\"/openapi.json\""),
        ("/docs/swagger-ui.css", ".swagger-ui"),
        ("/docs/swagger-ui-bundle.js", "SwaggerUIBundle"),
    ] {
        let file = get(path).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        let text = String::from_utf8_lossy(&file.body);
        assert!(text.contains(holds), "{path}");
        if path == "/docs/" {
            assert!(!text.contains("src=\"http") && !text.contains("href=\"http"), "{text}");
            assert!(!text.contains("<script>"), "{text}");
        }
        if path.ends_with("initializer.js") {
            assert!(text.contains("\"validatorUrl\": \"none\""), "{text}");
        }
    }
}
