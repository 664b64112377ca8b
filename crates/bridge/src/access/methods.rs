//! The methods of the older contract's service, over gRPC and as JSON: which route of REST asks the same (A193).
//!
//! A method has the class and the scope of its route, so nothing is had by another door that this one would refuse. What is not
//! in the table is nobody's.

use axum::http::Method;

/// A method of the service and the route that asks the same.
#[derive(Debug)]
pub(crate) struct Asks {
    /// Its name.
    pub name: &'static str,
    /// Of the route.
    pub method: Method,
    /// Of the route, below the prefix; members of the request stand in braces.
    pub path: &'static str,
}

impl Asks {
    /// The members of the request that its route has in the path.
    pub fn named(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }
}

/// Name of the service over gRPC.
pub(crate) const SERVICE: &str = "api_bridge.v1.APIBridgeService";
/// The same where it is asked in JSON.
const JSON_SERVICE: &str = "APIBridgeService";

/// What a path asks, if it is one of a method.
pub(crate) fn asks(path: &str) -> Option<&'static Asks> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    if service != SERVICE && service != JSON_SERVICE {
        return None;
    }
    METHODS.iter().find(|asks| asks.name == name)
}

/// Whether a path is one of the service, also where no method has it.
pub(crate) fn is_of_service(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or("");
    first == JSON_SERVICE || first.contains('.') && path.matches('/').count() == 2
}

macro_rules! methods {
    ($($name:literal $method:ident $path:literal;)*) => {
        [$(Asks { name: $name, method: Method::$method, path: $path }),*]
    };
}

/// Every method.
pub(crate) static METHODS: [Asks; 34] = methods! {
    "GetAccounts" GET "/accounts";
    "RegisterComponent" POST "/components/register";
    "GetComponent" GET "/components/{component_id}";
    "GetComponentIdentity" GET "/components/{component_id}/identity";
    "VerifyComponent" POST "/components/{component_id}/verify";
    "CreateLCT" POST "/lct/create";
    "GetLCT" GET "/lct/{lct_id}";
    "UpdateLCTStatus" PUT "/lct/{lct_id}/status";
    "InitiatePairing" POST "/pairing/initiate";
    "CompletePairing" POST "/pairing/complete";
    "RevokePairing" DELETE "/pairing/revoke";
    "GetPairingStatus" GET "/pairing/status/{challenge_id}";
    "CreateTrustTensor" POST "/trust/tensor";
    "GetTrustTensor" GET "/trust/tensor/{tensor_id}";
    "UpdateTrustScore" PUT "/trust/tensor/{tensor_id}/score";
    "CreateEnergyOperation" POST "/energy/operation";
    "ExecuteEnergyTransfer" POST "/energy/transfer";
    "GetEnergyBalance" GET "/energy/balance/{component_id}";
    "QueuePairingRequest" POST "/queue/pairing-request";
    "GetQueueStatus" GET "/queue/status/{request_id}";
    "ProcessOfflineQueue" POST "/queue/process-offline/{component_id}";
    "CancelRequest" DELETE "/queue/cancel/{request_id}";
    "GetQueuedRequests" GET "/queue/requests/{component_id}";
    "ListProxyQueue" GET "/queue/proxy/{proxy_id}";
    "CreatePairingAuthorization" POST "/authorization/pairing";
    "GetComponentAuthorizations" GET "/authorization/component/{component_id}";
    "UpdateAuthorization" PUT "/authorization/{authorization_id}";
    "RevokeAuthorization" DELETE "/authorization/{authorization_id}";
    "CheckPairingAuthorization" GET "/authorization/check";
    "CalculateRelationshipTrust" POST "/trust-enhanced/calculate";
    "GetRelationshipTensor" GET "/trust/tensor/{tensor_id}";
    "UpdateTensorScore" PUT "/trust-enhanced/score";
    "StreamBatteryStatus" GET "/components/{component_id}";
    "StreamEvents" GET "/events/stream?component={component_id}";
};
