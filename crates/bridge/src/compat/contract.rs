//! The older contract as a document (A207), made from the table that its routes are made of.

use api::PREFIX;
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::router::{Call, table};

/// What an operation takes and answers.
pub(super) struct Shape {
    asks: (String, Value),
    answers: (String, Value),
    /// The types within these.
    within: Vec<(String, RefOr<Schema>)>,
}

impl Shape {
    pub fn of<Rq: ToSchema, Rs: ToSchema>() -> Self {
        let mut within = Vec::new();
        Rq::schemas(&mut within);
        Rs::schemas(&mut within);
        let named =
            |name: std::borrow::Cow<'static, str>, schema: RefOr<Schema>| (name.into(), json!(schema));
        Shape {
            asks: named(Rq::name(), <Rq as PartialSchema>::schema()),
            answers: named(Rs::name(), <Rs as PartialSchema>::schema()),
            within,
        }
    }
}

/// Every route under each of its names.
pub(crate) fn document() -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for call in table() {
        let Shape { asks, answers, within } = (call.shape)();
        let operation = operation(&call, &asks, &answers.0);
        schemas.extend(within.into_iter().map(|(name, schema)| (name, json!(schema))));
        schemas.extend([asks, answers]);
        for path in call.names() {
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[call.method.as_str().to_lowercase()] = operation.clone();
        }
    }
    json!({ "openapi": "3.1.0", "paths": paths, "components": { "schemas": schemas } })
}

fn operation(call: &Call, (asks, asked): &(String, Value), answers: &str) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let json = |name: &str| json!({ "application/json": { "schema": reference(name) } });
    let members = &asked["properties"];
    let in_path = call.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |place: &str, name: &str, member: &Value| {
        let mut schema = member.clone();
        let said = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({ "in": place, "name": name, "required": place == "path", "schema": schema, "description": said })
    };
    let mut parameters: Vec<Value> =
        in_path.zip(call.fields).map(|(name, field)| parameter("path", name, &members[*field])).collect();
    let mut operation = json!({
        "summary": asked["description"],
        "description": format!("{}.", call.verdict.text()),
        "responses": { "200": { "content": json(answers) }, "403": {}, "404": {} },
    });
    if call.method == axum::http::Method::GET {
        let asked = members.as_object().into_iter().flatten();
        let asked = asked.filter(|(name, _)| !call.fields.contains(&name.as_str()));
        parameters.extend(asked.map(|(name, member)| parameter("query", name, member)));
    } else {
        operation["requestBody"] = json!({ "content": json(asks) });
        for status in ["409", "410", "422", "504"] {
            operation["responses"][status] = json!({});
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

impl Call {
    /// Every path under which it is found.
    fn names(&self) -> Vec<String> {
        let prefixed = self.is_prefixed().then(|| format!("{PREFIX}{}", self.path));
        prefixed.into_iter().chain([self.path.to_owned()]).collect()
    }
}
