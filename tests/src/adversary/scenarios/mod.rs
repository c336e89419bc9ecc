//! The scenarios, each written once for all backends.

pub mod certificates;
pub mod floods;
pub mod stalls;
pub mod strangers;

use countersign_core::{EndReason, Loss};
use countersign_driver::LinkError;
use countersign_endpoint::Reason;

/// Why the victim could not secure the connection. Everybody who fails before the link is up ends
/// it in one of these ways.
fn security(error: &LinkError) -> &Reason {
    let EndReason::Lost(loss) = *error.reason() else {
        panic!("{error}");
    };
    let is_told = matches!(loss, Loss::Security | Loss::NotTrusted | Loss::Unproven);
    assert!(is_told, "{loss:?}: {error}");
    let security = error.security().expect("why it could not be secured");
    assert_eq!(security.to_string(), error.to_string());
    security.reason()
}

/// The victim says just this.
fn assert_says(error: &LinkError, text: &str) {
    assert_eq!(error.to_string(), text);
}
