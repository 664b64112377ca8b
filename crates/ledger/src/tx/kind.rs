//! Kinds of transactions: their numbers are part of the format and never reused, their names appear in events and APIs
//! (`spec/ledger.md`, L21).

use super::Body;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The kind of a [`Body`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Kind {
            /// The kind with this number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The kind's name as it appears in events and APIs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

kinds! {
    /// [`Body::Register`].
    Register = 1, "component/register";
    /// [`Body::LctCreate`].
    LctCreate = 2, "lct/create";
    /// [`Body::Bind`].
    Bind = 3, "binding/record";
    /// [`Body::PairComplete`].
    PairComplete = 4, "pairing/complete";
    /// [`Body::Batch`].
    Batch = 5, "telemetry/batch";
    /// [`Body::Energy`].
    Energy = 6, "energy/event";
    /// [`Body::CycleClose`].
    CycleClose = 7, "energy/cycle-close";
    /// [`Body::Checkpoint`].
    Checkpoint = 8, "audit/checkpoint";
    /// [`Body::RevokeSigned`].
    RevokeSigned = 16, "revoke/statement";
    /// [`Body::Revoke`].
    Revoke = 17, "revoke/order";
    /// [`Body::PairRenew`].
    PairRenew = 18, "pairing/renew";
    /// [`Body::PairUse`].
    PairUse = 19, "pairing/use";
    /// [`Body::PairModify`].
    PairModify = 20, "pairing/modify";
    /// [`Body::Rebind`].
    Rebind = 21, "binding/replace";
    /// [`Body::FactoryBind`].
    FactoryBind = 22, "binding/factory";
    /// [`Body::Transfer`].
    Transfer = 23, "owner/transfer";
    /// [`Body::Validate`].
    Validate = 24, "validation/event";
    /// [`Body::Delegate`].
    Delegate = 25, "delegation/record";
    /// [`Body::DelegateAct`].
    DelegateAct = 26, "delegation/act";
    /// [`Body::Consent`].
    Consent = 27, "owner/consent";
    /// [`super::Registry::Move`].
    ComponentMove = 32, "component/state";
    /// [`super::Registry::Version`].
    ComponentVersion = 33, "component/version";
    /// [`super::Registry::Grant`].
    AuthorizationGrant = 34, "authorization/grant";
    /// [`super::Registry::RevokeGrant`].
    AuthorizationRevoke = 35, "authorization/revoke";
    /// [`super::Registry::Anonymous`].
    Anonymous = 36, "anonymous/record";
    /// [`super::Registry::LctStatus`].
    LctStatus = 37, "lct/status";
    /// [`super::Registry::Context`].
    LctContext = 38, "lct/context";
    /// [`super::Registry::Queue`].
    QueueRequest = 39, "queue/request";
    /// [`super::Registry::Process`].
    QueueProcess = 40, "queue/process";
    /// [`super::Registry::Cancel`].
    QueueCancel = 41, "queue/cancel";
    /// [`Body::Govern`] with [`super::Change::Account`].
    GovernAccount = 42, "governance/account";
    /// [`Body::Govern`] with [`super::Change::Roots`].
    GovernRoots = 43, "governance/roots";
    /// [`Body::Govern`] with [`super::Change::Params`].
    GovernParams = 44, "governance/params";
    /// [`Body::Govern`] with [`super::Change::Validators`].
    GovernValidators = 45, "governance/validators";
    /// [`Body::Govern`] with [`super::Change::Rules`].
    GovernRules = 46, "governance/rules";
    /// [`Body::ConfigSet`].
    ConfigSet = 47, "config/set";
    /// [`Body::ConfigReport`].
    ConfigReport = 48, "config/report";
    /// [`Body::Metrics`].
    Metrics = 50, "trust/update_metrics";
    /// [`Body::EnergyOrder`].
    EnergyOrder = 56, "energy/order";
    /// [`Body::EnergyReceipt`].
    EnergyReceipt = 57, "energy/receipt";
    /// [`Body::EnergyRelease`].
    EnergyRelease = 58, "energy/release";
    /// [`Body::Settle`].
    Settle = 59, "energy/settle";
    /// [`Body::Object`].
    Object = 60, "energy/object";
    /// [`Body::Resolve`].
    Resolve = 61, "energy/resolve";
}

impl Body {
    /// The kind of this body.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Register { .. } => Kind::Register,
            Self::LctCreate { .. } => Kind::LctCreate,
            Self::Bind { .. } => Kind::Bind,
            Self::PairComplete(_) => Kind::PairComplete,
            Self::Batch(_) => Kind::Batch,
            Self::Energy(_) => Kind::Energy,
            Self::CycleClose(_) => Kind::CycleClose,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::RevokeSigned(_) => Kind::RevokeSigned,
            Self::Revoke { .. } => Kind::Revoke,
            Self::PairRenew { .. } => Kind::PairRenew,
            Self::PairUse(_) => Kind::PairUse,
            Self::PairModify { .. } => Kind::PairModify,
            Self::Rebind { .. } => Kind::Rebind,
            Self::FactoryBind { .. } => Kind::FactoryBind,
            Self::Transfer { .. } => Kind::Transfer,
            Self::Validate { .. } => Kind::Validate,
            Self::Delegate { .. } => Kind::Delegate,
            Self::DelegateAct { .. } => Kind::DelegateAct,
            Self::Consent { .. } => Kind::Consent,
            Self::Registry(body) => body.kind(),
            Self::Govern(governance) => governance.change.kind(),
            Self::ConfigSet(_) => Kind::ConfigSet,
            Self::ConfigReport(_) => Kind::ConfigReport,
            Self::Metrics(_) => Kind::Metrics,
            Self::EnergyOrder { .. } => Kind::EnergyOrder,
            Self::EnergyReceipt { .. } => Kind::EnergyReceipt,
            Self::EnergyRelease { .. } => Kind::EnergyRelease,
            Self::Settle { .. } => Kind::Settle,
            Self::Object { .. } => Kind::Object,
            Self::Resolve { .. } => Kind::Resolve,
        }
    }
}
