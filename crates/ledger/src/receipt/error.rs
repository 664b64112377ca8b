//! Why a receipt does not hold.

use core::fmt;

use super::VERSION;
use crate::{anchor::HandoverError, block::CertificateError, codec::FormatError, reject::Rejection};

/// Why bytes are not a receipt that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// The file does not begin like a receipt.
    NotAReceipt,
    /// The file has a format version this build does not know.
    Version(u8),
    /// The file is longer than any receipt.
    TooLong,
    /// The file is damaged.
    Format(FormatError),
    /// There is no height after that of the block.
    Height,
    /// A block of so many transactions has no such place.
    TxPath,
    /// The sender's signature does not verify.
    TxSignature,
    /// The path of the result is not as long as its place asks.
    ResultPath,
    /// The chain refused the transaction.
    Refused(Rejection),
    /// The proof of the state does not have the shape that the transaction asks for.
    Evidence,
    /// A proven object cannot be read.
    Object(FormatError),
    /// The sender's account was withdrawn.
    AccountRevoked,
    /// The sender's account holds from a later height on.
    AccountEarly,
    /// A signing key was withdrawn.
    KeyRevoked,
    /// A signing key belongs to another component.
    KeyOwner,
    /// The state does not hold what the transaction did.
    NoEffect,
    /// The statement inside cannot be read.
    Statement,
    /// A signature over the statement does not verify.
    StatementSignature,
    /// The receipt holds a record but its transaction is no telemetry batch.
    RecordWithoutBatch,
    /// The record cannot be read.
    Record,
    /// The record is of another component or has another number than its place in the batch.
    RecordPlace,
    /// The record is not in the batch.
    RecordPath,
    /// The validators did not sign the block to which the parts of the receipt lead.
    Certificate(CertificateError),
    /// The validators are not those to whom the changes of validators lead.
    Handover(HandoverError),
    /// The receipt is for another chain than the trusted one.
    OtherChain,
    /// The receipt's validators are not the trusted ones.
    UntrustedValidators,
    /// The history that the trusted checkpoint certifies is not shown to hold the block.
    NotInHistory,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotAReceipt => "this is not a receipt",
            Self::Version(v) => {
                return write!(
                    f,
                    "receipt format version {v} is not known to this build, which reads {VERSION}"
                );
            }
            Self::TooLong => "the file is longer than any receipt",
            Self::Format(e) => return write!(f, "the receipt is damaged: {e}"),
            Self::Height => "no block can follow that of the transaction",
            Self::TxPath => "the block has no such place for the transaction",
            Self::TxSignature => "the sender's signature does not verify",
            Self::ResultPath => "the result has another place than the transaction",
            Self::Refused(r) => return write!(f, "the chain refused this transaction: {r}"),
            Self::Evidence => "the state is not proved as the transaction needs it",
            Self::Object(e) => return write!(f, "a proven object is damaged: {e}"),
            Self::AccountRevoked => "the sender's account was withdrawn",
            Self::AccountEarly => "the sender's account was not in force yet",
            Self::KeyRevoked => "a signing key was withdrawn",
            Self::KeyOwner => "a signing key belongs to another component",
            Self::NoEffect => "the state does not hold what the transaction did",
            Self::Statement => "the statement inside the transaction is damaged",
            Self::StatementSignature => "a signature over the statement does not verify",
            Self::RecordWithoutBatch => "the record's transaction is not a telemetry batch",
            Self::Record => "the record is damaged",
            Self::RecordPlace => "the record does not have the place in the batch that it claims",
            Self::RecordPath => "the record is not in the batch",
            Self::Certificate(e) => return write!(f, "no validators signed these facts: {e}"),
            Self::Handover(e) => return write!(f, "{e}"),
            Self::OtherChain => "the receipt is for another chain than the trusted one",
            Self::UntrustedValidators => "the receipt's validators are not the trusted ones",
            Self::NotInHistory => "the history of the checkpoint is not shown to hold the receipt's block",
        };
        f.write_str(text)
    }
}

impl core::error::Error for ReceiptError {}
