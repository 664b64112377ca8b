//! What a delegate's laptop refuses: a sentence, and a code that stays (`spec/channel.md`, H239; the table is in
//! `spec/tiers.md`).

use super::{PathBuf, SignError, Unissued, io};

/// Why a delegate cannot act.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// The bytes are no delegation.
    #[error("this is not a delegation")]
    NotADelegation,
    /// The key is not the one that the delegation names.
    #[error("the delegation is for another key than the one in the key file")]
    OtherKey,
    /// The file does not begin like a journal.
    #[error("{} is not a journal of a delegate", .0.display())]
    NotAJournal(PathBuf),
    /// Another program writes to it.
    #[error("{} is in use by another process; wait until that ends", .0.display())]
    InUse(PathBuf),
    /// The journal belongs to another delegation.
    #[error("{} is the journal of another delegation; each has its own", .0.display())]
    OtherJournal(PathBuf),
    /// An entry does not follow the one before it, or the delegate did not sign it.
    #[error("{}: entry {number} is damaged; the journal proves nothing from there on", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which entry, from 1.
        number: u32,
    },
    /// Outside the window of the delegation.
    #[error(
        "the delegation holds from {from} to {to} (Unix seconds), and it is {now} by this computer's clock"
    )]
    Window {
        /// Its beginning.
        from: u32,
        /// Its end.
        to: u32,
        /// The present.
        now: u32,
    },
    /// The clock of this computer stands before the last entry.
    #[error(
        "the last act is dated {last} (Unix seconds), after {now} by this computer's clock; set the clock"
    )]
    ClockBack {
        /// Date of the last entry.
        last: u32,
        /// The present.
        now: u32,
    },
    /// The delegation does not name the operation.
    #[error("the delegation does not allow this operation")]
    Operation,
    /// Only pairings and bindings.
    #[error("a delegate ends pairings and bindings only")]
    Subject,
    /// The last number is used.
    #[error("the journal is full; another delegation begins a new one")]
    Full,
    /// Its last entry may not be whole.
    #[error(
        "{}: an entry could not be written, and nothing is written behind it; once there is room the same command goes on",
        .0.display()
    )]
    Unfit(PathBuf),
    /// The file beside the journal is damaged.
    #[error(
        "{}: it tells no more which bindings were begun; move it away, and what devices name ends as if the ledger had it",
        .0.display()
    )]
    Drawn(PathBuf),
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A document cannot be made.
    #[error(
        "no certificate or record can be made of what the brief tells ({0}); `modbatt delegate brief` makes another one, with network"
    )]
    Unissued(#[from] Unissued),
    /// What the laptop was told before it left is damaged.
    #[error("the brief is damaged ({0}); `modbatt delegate brief` makes another one, with network")]
    Brief(String),
    /// The two are not bound, as far as the brief and the journal know.
    #[error(
        "{0} and {1} are not bound to each other, as far as this laptop knows: A is the side nearer the app"
    )]
    NotBound(String, String),
    /// Not in this order.
    #[error("{0} and {1} are not bound in this order: the side nearer the app comes first")]
    Order(String, String),
    /// Neither is a pack of the delegation.
    #[error("neither {0} nor {1} is a pack that the delegation names")]
    Scope(String, String),
    /// Who is to have a pack's place is not named.
    #[error("the delegation does not name {0}; `modbatt delegate issue --spare {0}` does, with network")]
    Spare(String),
    /// It would give up a binding with somebody else.
    #[error("{0} is bound with another component than {1}; end that binding first")]
    Elsewhere(String, String),
    /// Nobody can ask an owner here (H236).
    #[error(
        "{who} has an owner, who did not agree to a binding with {partner} before the brief was made, and cannot be asked here; \
         with network `modbatt consent` says so, and whoever runs the installation binds it"
    )]
    Owner {
        /// Whose.
        who: String,
        /// With whom it would be bound.
        partner: String,
    },
    /// Nobody told whether it has an owner (H256).
    #[error(
        "whether {0} has an owner this laptop was not told, so nothing that {0} is bound by gives way here; with network \
         `modbatt delegate brief --with {0}` makes a brief that tells"
    )]
    Whose(String),
    /// Neither brief nor journal tell of what has to give way.
    #[error(
        "this laptop knows of no binding of {0}: it ended before the brief was made, or its pack is none of the delegation; \
         where `modbatt delegate bind` was cut off between the two, give that again first"
    )]
    Unknown(String),
    /// It would take its own place.
    #[error("nobody takes its own place; `modbatt delegate bind` gives {0} new keys")]
    Itself(String),
    /// Who is to give way is still there.
    #[error("{0} answers, so it is still in its place; take it out first")]
    Answers(String),
    /// The ledger goes on with another journal.
    #[error(
        "{} is not the journal whose {acts} act(s) the ledger has of this delegation: nothing was brought. Acts of this one \
         need a delegation of their own",
        .path.display()
    )]
    Fork {
        /// The file.
        path: PathBuf,
        /// How many acts the ledger has.
        acts: usize,
    },
    /// Nobody said that nothing waits that was signed with keys which end.
    #[error(
        "act {0} ends a binding, and then the ledger takes nothing more that was signed with its keys: nothing of it was \
         brought. Let the machine of the app reach the network until its progress says `0 jobs waiting` and nothing is held, \
         then give the command again with `--caught-up`"
    )]
    CaughtUp(u32),
    /// No answer came.
    #[error("{who} was not reached with {what}: {why}")]
    NotReached {
        /// Whom.
        who: String,
        /// What it was given.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The device refuses.
    #[error("{who} does not take {what}: {why}")]
    Declined {
        /// Who.
        who: String,
        /// What it was given.
        what: &'static str,
        /// Its reason.
        why: &'static str,
    },
    /// An answer does not fit.
    #[error("{who} answers something that does not fit {what}")]
    Misfit {
        /// Who.
        who: String,
        /// What it was given.
        what: &'static str,
    },
    /// Both took everything, and do not say that it is done.
    #[error("{who} does not say that {what} is done; the same command again goes on")]
    Unfinished {
        /// Who.
        who: String,
        /// What.
        what: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

macro_rules! codes {
    ($($variant:ident => $code:literal,)+) => {
        impl FieldError {
            /// Every code that [`FieldError::code`] answers.
            pub const CODES: &[&str] = &[$($code),+];

            /// Its stable code.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)+
                }
            }
        }
    };
}

codes! {
    NotADelegation => "W4_ERR_FIELD_DELEGATION",
    OtherKey => "W4_ERR_FIELD_KEY",
    NotAJournal => "W4_ERR_FIELD_JOURNAL",
    InUse => "W4_ERR_FIELD_JOURNAL_IN_USE",
    OtherJournal => "W4_ERR_FIELD_JOURNAL_OTHER",
    Broken => "W4_ERR_FIELD_JOURNAL_DAMAGED",
    Window => "W4_ERR_FIELD_WINDOW",
    ClockBack => "W4_ERR_FIELD_CLOCK",
    Operation => "W4_ERR_FIELD_OPERATION",
    Subject => "W4_ERR_FIELD_SUBJECT",
    Full => "W4_ERR_FIELD_JOURNAL_FULL",
    Unfit => "W4_ERR_FIELD_JOURNAL_UNFIT",
    Drawn => "W4_ERR_FIELD_BEGUN_DAMAGED",
    Sign => "W4_ERR_FIELD_SIGN",
    Unissued => "W4_ERR_FIELD_ISSUE",
    Brief => "W4_ERR_FIELD_BRIEF",
    NotBound => "W4_ERR_FIELD_NOT_BOUND",
    Order => "W4_ERR_FIELD_ORDER",
    Scope => "W4_ERR_FIELD_PACK",
    Spare => "W4_ERR_FIELD_SPARE",
    Elsewhere => "W4_ERR_FIELD_ELSEWHERE",
    Owner => "W4_ERR_FIELD_OWNER",
    Whose => "W4_ERR_FIELD_OWNER_UNKNOWN",
    Unknown => "W4_ERR_FIELD_UNKNOWN",
    Itself => "W4_ERR_FIELD_ITSELF",
    Answers => "W4_ERR_FIELD_ANSWERS",
    Fork => "W4_ERR_FIELD_JOURNAL_FORK",
    CaughtUp => "W4_ERR_FIELD_CAUGHT_UP",
    NotReached => "W4_ERR_FIELD_NOT_REACHED",
    Declined => "W4_ERR_FIELD_DECLINED",
    Misfit => "W4_ERR_FIELD_MISFIT",
    Unfinished => "W4_ERR_FIELD_UNFINISHED",
    Io => "W4_ERR_FIELD_FILE",
}

impl FieldError {
    /// Whether it is a device's answer, and no fault of the way to it or of this laptop.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Declined { .. } | Self::Misfit { .. } | Self::Unfinished { .. })
    }
}
