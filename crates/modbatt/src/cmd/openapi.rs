//! Prints the contract of the API, for code generators and for who has no bridge at hand.

use super::{Failure, Outcome, print};

/// Prints it as one JSON object, the same as `GET /openapi.json` of a bridge.
pub fn run() -> Result<Outcome, Failure> {
    print(&format!("{}\n", bridge::contract()))?;
    Ok(Outcome::Good)
}
