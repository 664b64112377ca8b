//! What makes a relationship one of trust, held against the ledger: the horizon of both sides, the baselines of trust, and what is
//! stated in the context of their LCTs (`spec/ledger.md`, L144 to L150, L201).

use std::collections::BTreeMap;

use api::component::{Component, Relations};
use api::context::{Context, Contexts, Said};
use api::encoding::Hex;
use api::trust::Trust;
use api::{Client, ClientError};

use super::super::check::Report;
use super::{Known, Relationship};

/// What the ledger tells of a component beside its relations.
pub struct Surroundings {
    pub trust: Trust,
    pub contexts: Contexts,
}

/// Asks for every component.
pub async fn ask(
    client: &Client,
    known: &BTreeMap<String, Known>,
) -> Result<BTreeMap<String, Surroundings>, ClientError> {
    let mut found = BTreeMap::new();
    for (id, known) in known {
        let trust = client.trust(id).await?;
        let contexts = client.contexts(&known.component.lct_id).await?;
        found.insert(id.clone(), Surroundings { trust, contexts });
    }
    Ok(found)
}

/// What does not hold around a relationship, in words.
pub fn missing(relationship: &Relationship<'_>, around: &BTreeMap<String, Surroundings>) -> Vec<String> {
    let Relationship { below, above, binding } = relationship;
    let mut wrong = Vec::new();
    let [a, b] = [above, below].map(|side| (side.id(), &side.relations, around.get(side.id())));
    for ((id, relations, surroundings), (other, ..)) in [(a, b), (b, a)] {
        wrong.extend(unseen(id, relations, other));
        let Some(Surroundings { trust, .. }) = surroundings else { continue };
        if !trust.contexts.iter().any(|view| view.context == "operation") {
            wrong.push(format!("{id} has no baseline of trust"));
        }
        if !trust.relations.iter().any(|relation| relation.binding_id == binding.binding_id) {
            wrong.push(format!("their relation has no baseline of trust with {id}"));
        }
    }
    if let (_, _, Some(Surroundings { contexts, .. })) = a {
        let Component { component_id, cid, role, .. } = &below.component;
        wrong.extend(unanswered(a.0, &contexts.contexts, (component_id, *cid, role)));
    }
    wrong
}

/// Why a side does not see the other as its neighbour.
fn unseen(id: &str, relations: &Relations, other: &str) -> Option<String> {
    match relations.horizon.iter().find(|seen| seen.component_id == other) {
        Some(seen) if seen.hops == 1 && matches!(seen.link.as_str(), "bound" | "paired") => None,
        Some(seen) if seen.hops == 1 => {
            Some(format!("{id} sees {other} as a witness only: no binding or pairing links them"))
        }
        Some(seen) => Some(format!("{id} sees {other} only by way of {}, {} hops away", seen.via, seen.hops)),
        None => Some(format!("{other} is not in the horizon of {id}")),
    }
}

/// Why the side nearer the app does not say on the ledger what it has to do with the other.
fn unanswered(id: &str, contexts: &[Context], (other, cid, role): (&str, Hex<16>, &str)) -> Option<String> {
    let names = |context: &Context| match (&context.said, role) {
        (Said::Scope { packs: named, .. }, "pack") | (Said::Witness { modules: named }, "module") => {
            named.contains(&cid)
        }
        _ => false,
    };
    if contexts.iter().any(names) {
        return None;
    }
    match role {
        "pack" => Some(format!("no scope of {id} on the ledger names {other}")),
        "module" => Some(format!("{id} does not say on the ledger that it answers for {other}")),
        _ => None,
    }
}

/// What the manufacturer has to state about each component.
pub fn stated(report: &mut Report, known: &BTreeMap<String, Known>, around: &BTreeMap<String, Surroundings>) {
    for (id, Surroundings { contexts, .. }) in around {
        let kinds = match known.get(id).map(|known| known.component.role.as_str()) {
            Some("module") => &["manufacturing", "profile"][..],
            _ => &["manufacturing"][..],
        };
        let has = |kind: &&&str| contexts.contexts.iter().any(|c| c.said.kind() == **kind);
        let missing: Vec<&str> = kinds.iter().filter(|kind| !has(kind)).copied().collect();
        let found = match missing.is_empty() {
            true => format!("the manufacturer's word is on the ledger: {}", kinds.join(", ")),
            false => format!(
                "the manufacturer's word is missing: {}; `modbatt factory record` brings it",
                missing.join(", ")
            ),
        };
        report.add("context", id.clone(), missing.is_empty(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::component::Seen;
    use api::encoding::Blob;

    fn sees(horizon: &[(&str, u8, &str, &str)]) -> Relations {
        let seen = horizon.iter().map(|(id, hops, via, link)| Seen {
            component_id: (*id).into(),
            cid: Hex([0; 16]),
            hops: *hops,
            weight_ppm: 0,
            via: (*via).into(),
            link: (*link).into(),
        });
        Relations {
            component_id: "pack-0001".into(),
            cid: Hex([1; 16]),
            height: 1,
            lct_id: Hex([1; 32]),
            status: "active".into(),
            owner: None,
            access: None,
            links: Vec::new(),
            horizon: seen.collect(),
        }
    }

    #[test]
    fn a_link_that_is_missing_is_said_in_words() {
        let app = ("app-0001", 1, "pack-0001", "bound");
        for (horizon, found) in [
            (&[app, ("module-0001", 1, "pack-0001", "bound")][..], None),
            (&[app], Some("module-0001 is not in the horizon of pack-0001")),
            (&[app, ("module-0001", 1, "pack-0001", "witnessing")], Some("as a witness only")),
            (&[app, ("module-0001", 2, "app-0001", "bound")], Some("only by way of app-0001, 2 hops away")),
        ] {
            let said = unseen("pack-0001", &sees(horizon), "module-0001");
            match found {
                None => assert_eq!(said, None),
                Some(words) => assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{said:?}"),
            }
        }
    }

    #[test]
    fn whoever_is_nearer_the_app_has_to_name_the_other() {
        let stated = |said| Context {
            said,
            number: 1,
            time: 0,
            key: Hex([0; 33]),
            recorded_at: 0,
            txhash: Hex([0; 32]),
            statement: Blob(Vec::new()),
        };
        let of = |n| vec![Hex([n; 16])];
        let scope = |n| stated(Said::Scope { operations: 7, packs: of(n), account: Hex([0; 33]) });
        let witness = |n| stated(Said::Witness { modules: of(n) });
        for (contexts, role, holds) in [
            (vec![scope(2), witness(3)], "pack", true),
            (vec![scope(3)], "pack", false),
            (vec![witness(2)], "pack", false),
            (vec![witness(2)], "module", true),
            (vec![witness(3)], "module", false),
            (vec![scope(2)], "module", false),
            (vec![], "sensor", true),
        ] {
            let said = unanswered("a", &contexts, ("b", Hex([2; 16]), role));
            assert_eq!(said.is_none(), holds, "{role}: {said:?}");
        }
    }
}
