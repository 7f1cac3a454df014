//! EC2's errors: the codes, statuses and sentences of its API reference.
//!
//! Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.

use std::borrow::Cow;

/// An error as the API answers it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ec2Error {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The code that programs compare.
    pub(crate) code: Cow<'static, str>,
    /// The sentence that people read.
    pub(crate) message: String,
}

impl Ec2Error {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    pub(crate) fn invalid_action(action: &str) -> Self {
        let message = format!("The action {action} is not valid for this web service.");
        Self::new(400, "InvalidAction", message)
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        let message = format!("The request must contain the parameter {name}");
        Self::new(400, "MissingParameter", message)
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValue", message)
    }

    pub(crate) fn invalid_combination(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterCombination", message)
    }

    pub(crate) fn allocation_not_found(id: &str) -> Self {
        let message = format!("The allocation ID '{id}' does not exist");
        Self::new(400, "InvalidAllocationID.NotFound", message)
    }

    pub(crate) fn association_not_found(id: &str) -> Self {
        let message = format!("The association ID '{id}' does not exist");
        Self::new(400, "InvalidAssociationID.NotFound", message)
    }

    pub(crate) fn interface_not_found(id: &str) -> Self {
        let message = format!("The networkInterface ID '{id}' does not exist");
        Self::new(400, "InvalidNetworkInterfaceID.NotFound", message)
    }

    pub(crate) fn instance_not_found(id: &str) -> Self {
        let message = format!("The instance ID '{id}' does not exist");
        Self::new(400, "InvalidInstanceID.NotFound", message)
    }

    pub(crate) fn address_not_found(ip: &str) -> Self {
        Self::new(400, "InvalidAddress.NotFound", format!("Address '{ip}' not found."))
    }

    pub(crate) fn several_interfaces(instance: &str) -> Self {
        let message = format!(
            "There are multiple interfaces attached to instance '{instance}'. \
             Please specify an interface ID for the operation instead."
        );
        Self::new(400, "InvalidInstanceID", message)
    }

    pub(crate) fn already_associated(allocation: &str, association: &str) -> Self {
        let message =
            format!("resource {allocation} is already associated with associate-id {association}");
        Self::new(400, "Resource.AlreadyAssociated", message)
    }

    pub(crate) fn unknown_parameter(name: &str) -> Self {
        Self::new(400, "UnknownParameter", format!("The parameter {name} is not recognized"))
    }

    pub(crate) fn move_not_allowed(ip: std::net::Ipv4Addr) -> Self {
        Self::invalid_parameter(format!("[{ip}] assigned, but move is not allowed."))
    }

    pub(crate) fn private_address_limit_exceeded(interface: &str) -> Self {
        let message = format!("Number of private addresses will exceed limit of {interface}.");
        Self::new(400, "PrivateIpAddressLimitExceeded", message)
    }

    pub(crate) fn address_limit_exceeded() -> Self {
        let message = "The maximum number of addresses has been reached.";
        Self::new(400, "AddressLimitExceeded", message)
    }

    pub(crate) fn dry_run() -> Self {
        let message = "Request would have succeeded, but DryRun flag is set.";
        Self::new(412, "DryRunOperation", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "You are not authorized to perform this operation.";
        Self::new(403, "UnauthorizedOperation", message)
    }

    pub(crate) fn throttled() -> Self {
        Self::new(503, "RequestLimitExceeded", "Request limit exceeded.")
    }

    pub(crate) fn internal() -> Self {
        Self::new(500, "InternalError", "An internal error has occurred")
    }

    pub(crate) fn unavailable() -> Self {
        let message = "The server is overloaded and can't handle the request.";
        Self::new(503, "Unavailable", message)
    }
}
