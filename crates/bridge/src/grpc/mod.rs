//! The older contract over gRPC, on the port of the REST routes (A191 to A199).
//!
//! A unary method is a message of protobuf in the place of a body of JSON: it becomes that body, goes the way that `compat` has
//! for it, and its answer comes back. Who may ask what is decided by the gate in front of every route, which knows a method by
//! the route that asks the same (`access::methods`).

mod battery;
mod bounds;
mod calls;
mod status;

/// Messages of `proto/api_bridge.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)] // Made by a program; what they mean is said in the file they are made of.
pub mod proto {
    tonic::include_proto!("api_bridge.v1");
}

pub(crate) use bounds::{is_call, is_grpc};
pub(crate) use calls::members;
pub(crate) use status::http_status;

use std::{convert::Infallible, sync::Arc};

use api::Problem;
use axum::{
    Router,
    extract::Request as HttpRequest,
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use proto::api_bridge_service_server::ApiBridgeServiceServer;
use tonic::{Status, body::Body, server::NamedService};
use tower::{Service, ServiceExt};

use crate::{Shared, compat, refusal::Refusal};

/// The contract, as it is published and as everything here is made of it.
const CONTRACT: &str = include_str!("../../proto/api_bridge.proto");
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api_bridge.bin"));

/// Longest message of the services that only tell of this one, in bytes.
const ABOUT_MAX: usize = 1 << 10;

/// The services over `shared`, and their contract.
pub(crate) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let described = "the descriptors were made by this build";
    let service = calls::Calls::new(shared, compat::methods(shared.clone()));
    let service = ApiBridgeServiceServer::new(service).max_decoding_message_size(api::BODY_MAX);
    // Nobody else has the reporter yet, so this is done at once; what is registered is served until the process ends.
    let serving = health.set_serving::<ApiBridgeServiceServer<calls::Calls>>().now_or_never();
    debug_assert!(serving.is_some());
    let proto = || async { ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], CONTRACT) };
    let reflection_v1 = reflection().build_v1().expect(described);
    // What many clients ask still.
    let reflection_v1alpha = reflection().build_v1alpha().expect(described);
    Router::new()
        .merge(served(service))
        .merge(served(reflection_v1.max_decoding_message_size(ABOUT_MAX)))
        .merge(served(reflection_v1alpha.max_decoding_message_size(ABOUT_MAX)))
        .merge(served(health_service.max_decoding_message_size(ABOUT_MAX)))
        .layer(middleware::from_fn_with_state(shared.clone(), bounds::bounded))
        .route("/proto/api_bridge.proto", get(proto))
}

/// One service under its path.
fn served<S>(service: S) -> Router<Arc<Shared>>
where
    S: Service<HttpRequest<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let path = format!("/{}/{{method}}", S::NAME);
    Router::new().route_service(&path, service.map_request(|request: HttpRequest| request.map(Body::new)))
}

/// Gives what was refused on its way the form that a client of gRPC reads.
pub(crate) fn dressed(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut refused: Response = Status::from(Refusal(problem)).into_http();
    // Who asked, for the log of what was done.
    refused.extensions_mut().extend(response.into_parts().0.extensions);
    refused
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::methods::{METHODS, SERVICE};

    /// A method that one of them lacks would be refused to all, or have a class that nobody chose.
    #[test]
    fn contract_gate_and_operations_have_the_same_methods() {
        let after = |text: &'static str| text.split_once('(').map(|(name, _)| name.trim());
        let published: BTreeSet<&str> = CONTRACT.split("  rpc ").skip(1).filter_map(after).collect();
        let guarded: BTreeSet<&str> = METHODS.iter().map(|asks| asks.name).collect();
        assert_eq!(published, guarded);
        let calls = compat::calls();
        let twins = calls.iter().filter_map(|(_, path, ..)| path.strip_prefix("/APIBridgeService/"));
        let unary = published.iter().filter(|name| !name.starts_with("Stream")).copied();
        assert_eq!(twins.collect::<BTreeSet<_>>(), unary.collect::<BTreeSet<_>>());
        assert_eq!(<ApiBridgeServiceServer<calls::Calls> as NamedService>::NAME, SERVICE);
    }

    /// The class of a method is that of a route that is there.
    #[test]
    fn methods_stand_for_routes_that_exist() {
        let known = |path: &str| path.split(['{', '}']).step_by(2).collect::<Vec<_>>().join("{}");
        let calls: BTreeSet<(String, String)> =
            compat::calls().iter().map(|(method, path, ..)| (method.clone(), known(path))).collect();
        for asks in METHODS.iter().filter(|asks| asks.name != "StreamEvents") {
            let route = (asks.method.to_string(), known(asks.path));
            assert!(calls.contains(&route), "{}: {route:?}", asks.name);
        }
    }
}
