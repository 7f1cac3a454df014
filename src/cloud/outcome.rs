//! From the SDK's results to outcomes: by status and error code, never by the text of a message.

use std::error::Error;
use std::sync::Arc;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use vipward_core::CallOutcome;

/// Codes that mean: who asks may not, or is not known. Repeating the call cannot help.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const DENIED: [&str; 22] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "PendingVerification",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
    "UserNotAuthorized",
];

/// Codes that mean: too many requests. Those that begin with `Throttling` belong to them.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const THROTTLED: [&str; 7] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "TooManyRequestsException",
];

/// The longest `what`: it goes into the journal.
const LONGEST: usize = 300;

/// What is known after a call that did not succeed.
pub(super) fn of_error<E>(error: &SdkError<E, HttpResponse>) -> CallOutcome
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::TimeoutError(_) => CallOutcome::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => CallOutcome::Timeout,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            match answer.err().code() {
                Some(code) => of_code(status, code),
                None => unreadable(status, answer.err()),
            }
        }
        SdkError::ResponseError(answer) => unreadable(answer.raw().status().as_u16(), error),
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) => failed(chain(error)),
        _ => failed(chain(error)),
    }
}

/// What an error answer means, by its status and code.
fn of_code(status: u16, code: &str) -> CallOutcome {
    if THROTTLED.contains(&code) || code.starts_with("Throttling") {
        return CallOutcome::Throttled;
    }
    match status {
        400..=499 if DENIED.contains(&code) => CallOutcome::Denied { code: code.into() },
        400..=499 => CallOutcome::Refused { code: code.into() },
        _ => failed(format!("the cloud answered {status} {code}")),
    }
}

/// An answer that says nothing which could be relied on.
fn unreadable(status: u16, error: &(dyn Error + 'static)) -> CallOutcome {
    failed(format!("the cloud's answer ({status}) cannot be understood: {}", chain(error)))
}

/// An outcome that is not known.
pub(super) fn failed(what: impl Into<String>) -> CallOutcome {
    let mut what: String = what.into();
    if let Some((end, _)) = what.char_indices().nth(LONGEST) {
        what.truncate(end);
        what.push('…');
    }
    CallOutcome::Error { what: Arc::from(what.replace(['\n', '\r'], " ")) }
}

/// An error and its causes in one line, without the repetitions that wrappers make.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_decide() {
        let refused = |code: &str| CallOutcome::Refused { code: code.into() };
        let denied = |code: &str| CallOutcome::Denied { code: code.into() };
        for (status, code, expected) in [
            (400, "Resource.AlreadyAssociated", refused("Resource.AlreadyAssociated")),
            (400, "InvalidAssociationID.NotFound", refused("InvalidAssociationID.NotFound")),
            (412, "DryRunOperation", refused("DryRunOperation")),
            (403, "UnauthorizedOperation", denied("UnauthorizedOperation")),
            (401, "AuthFailure", denied("AuthFailure")),
            (400, "RequestExpired", denied("RequestExpired")),
            (503, "RequestLimitExceeded", CallOutcome::Throttled),
            (400, "Throttling", CallOutcome::Throttled),
            (400, "ThrottlingException", CallOutcome::Throttled),
        ] {
            assert_eq!(of_code(status, code), expected, "{status} {code}");
        }
        assert!(of_code(500, "InternalError").is_unknown());
        assert!(of_code(503, "Unavailable").is_unknown());
        assert!(of_code(500, "UnauthorizedOperation").is_unknown(), "a 5xx promises nothing");
    }

    #[test]
    fn what_stays_one_short_line() {
        let CallOutcome::Error { what } = failed(format!("a\nb{}", "é".repeat(1000))) else {
            panic!("not an error");
        };
        assert!(what.starts_with("a b") && what.chars().count() <= LONGEST + 1);
    }
}
