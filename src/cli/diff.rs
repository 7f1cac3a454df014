//! `vipward diff NODE`: entry by entry, line by line.

use std::path::Path;

use super::{Exit, ask, print};
use crate::admin::Client;

pub(super) async fn diff(socket: &Path, node: &str, json: bool) -> Exit {
    match Client::new(socket).diff(node).await {
        // Whether stdout takes colours is seen where it is written.
        Ok(document) if !json => print::out(document.paint(true).trim_end()),
        Ok(document) => match serde_json::to_string(&document) {
            Ok(text) => print::out(text),
            Err(error) => {
                print::err(format_args!("error: the document cannot be written: {error}"));
                Exit::Failed
            }
        },
        Err(error) => ask::failed(&error),
    }
}
