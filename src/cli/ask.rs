//! What operators order: `switchover`, `maintenance`, `admit`. Each asks the daemon and waits for
//! the outcome.

use std::path::Path;

use super::{Exit, print};
use crate::admin::{Client, ClientError, Order};

pub(super) async fn order(socket: &Path, order: Order) -> Exit {
    match Client::new(socket).order(&order).await {
        Ok(sentence) => print::out(sentence),
        Err(error) => failed(&error),
    }
}

/// Tells why the daemon could not be asked, or what it refused.
pub(super) fn failed(error: &ClientError) -> Exit {
    print::err(format_args!("error: {error}"));
    if is_no_daemon(error) { Exit::NoDaemon } else { Exit::Failed }
}

pub(super) fn is_no_daemon(error: &ClientError) -> bool {
    matches!(error, ClientError::NoDaemon { .. })
}
