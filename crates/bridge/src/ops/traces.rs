//! Traces for OpenTelemetry: a span for each request, sent to a collector by OTLP (A222). Without an endpoint there is
//! nothing of it.
//!
//! A span says which route was asked, by what kind of principal, and how it came out. No path, no query, no name, no body:
//! what a collector holds is read by others than the logs.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::HeaderMap;
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter},
};
use tokio::runtime::Handle;

use crate::access::{Class, Means, Principal};

/// Where a collector takes traces, below its address.
const PATH: &str = "/v1/traces";
/// How long one delivery may take, and all that is left at the end.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error("otel_endpoint: {0}")]
pub struct TraceError(String);

/// Where spans go.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Paths as the contract has them, with `{..}` where a request has a name.
    routes: OnceLock<Vec<String>>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Traces {
    /// Checks the address of a collector: http or https, without user, query and fragment.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn check(endpoint: &str) -> Result<(), TraceError> {
        let url = reqwest::Url::parse(endpoint).map_err(|e| TraceError(format!("{endpoint:?}: {e}")))?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https")
            || !plain
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(TraceError("it is http://HOST:PORT or https://HOST, without user and query".into()));
        }
        Ok(())
    }

    /// Sends what ends to the collector at `endpoint`, in batches, from now on. A collector that does not answer costs spans
    /// and nothing else. Must run inside a runtime.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(endpoint: &str) -> Result<Self, TraceError> {
        Self::check(endpoint)?;
        let fail = |e: &dyn fmt::Display| TraceError(e.to_string());
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client.build().map_err(|e| fail(&e))?)
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|e| fail(&e))?;
        let runtime = Handle::try_current().map_err(|e| fail(&e))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(OnRuntime { exporter: Arc::new(exporter), runtime })
            .with_resource(Resource::builder_empty().with_service_name(api::health::SERVICE).build())
            .build();
        let tracer = provider.tracer("bridge");
        Ok(Traces { provider, tracer, routes: OnceLock::new() })
    }

    /// Says which routes there are.
    pub(crate) fn know(&self, routes: Vec<String>) {
        // A bridge has one router.
        let _known = self.routes.set(routes);
    }

    /// The route that a path is of: of several the one with the fewest places for names.
    fn route_of(&self, path: &str) -> Option<&str> {
        let named = |route: &&String| route.split('/').filter(|part| part.starts_with('{')).count();
        let routes = self.routes.get()?.iter().filter(|route| is_of(path, route));
        routes.min_by_key(named).map(String::as_str)
    }

    /// A request began; its caller may have said of which trace it is.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        (method, class): (&str, Class),
        (path, id): (&str, &str),
    ) -> Request {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        let builder = self
            .tracer
            .span_builder(format!("{method} {}", class.word()))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("modbatt.request.id", id.to_owned()),
                KeyValue::new("modbatt.request.class", class.word()),
            ]);
        let mut span = self.tracer.build_with_context(builder, &parent);
        if let Some(route) = self.route_of(path) {
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        Request(span)
    }

    /// Sends what is left.
    pub(crate) async fn end(&self) {
        let provider = self.provider.clone();
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(TIMEOUT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces did not reach their collector");
        }
    }
}

/// Whether `path` is of `route`, segment by segment.
fn is_of(path: &str, route: &str) -> bool {
    let (mut path, mut route) = (path.split('/'), route.split('/'));
    loop {
        match (path.next(), route.next()) {
            (None, None) => return true,
            (Some(given), Some(wanted))
                if given == wanted || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The span of a request; it ends when this is dropped.
pub(crate) struct Request(Span);

impl Request {
    /// How it came out.
    pub fn answered(mut self, who: Option<&Principal>, status: u16) {
        let means = who.map_or("none", |who| match who.means {
            Means::Loopback => "loopback",
            Means::Certificate => "certificate",
            Means::Token => "token",
        });
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        self.0.set_attribute(KeyValue::new("modbatt.principal", means));
        if status >= 500 {
            self.0.set_status(Status::error(""));
        }
    }
}

/// Headers, as `traceparent` is looked for in them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// Sends from a task of the runtime: spans are collected by a thread that has none.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sent = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        sent.map_err(|e| OTelSdkError::InternalFailure(e.to_string()))?
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_of_one_route() {
        for (path, route, is) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/{id}", true),
            ("/a/", "/a/{id}", false),
            ("/a/b/c", "/a/{id}", false),
            ("/a", "/a/{id}", false),
            ("/x/b", "/a/{id}", false),
        ] {
            assert_eq!(is_of(path, route), is, "{path} {route}");
        }
    }

    #[test]
    fn addresses_of_collectors() {
        for (endpoint, good) in [
            ("http://127.0.0.1:4318", true),
            ("https://collector.example/base/", true),
            ("collector:4318", false),
            ("ftp://collector", false),
            ("http://user:secret@collector", false),
            ("http://collector?key=1", false),
            ("", false),
        ] {
            let checked = Traces::check(endpoint);
            assert_eq!(checked.is_ok(), good, "{endpoint}");
            assert!(!checked.is_err_and(|e| e.to_string().contains("secret")));
        }
    }
}
