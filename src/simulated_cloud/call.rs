//! The calls that are understood, parsed from a query.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::ec2_error::Ec2Error;

/// The parameters of a query, by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// One query: what it asks for, as far as that could be read.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The action named, also one that is not known.
    pub(crate) action: String,
    /// Whether only the permission is to be tried.
    pub(crate) dry_run: bool,
    /// The call, or what is wrong with it.
    pub(crate) call: Result<Call, Ec2Error>,
    /// The parameters as they came.
    pub(crate) parameters: Parameters,
}

/// A call that can be applied to the cloud.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    AssociateAddress(Associate),
    DisassociateAddress { association: String },
    AllocateAddress,
    AssignPrivateIpAddresses(Assign),
    UnassignPrivateIpAddresses { interface: String, private_ips: Vec<Ipv4Addr> },
    DescribeAddresses { ids: Vec<String>, public_ips: Vec<String>, filters: Vec<Filter> },
    DescribeNetworkInterfaces { ids: Vec<String>, filters: Vec<Filter> },
    DescribeInstances { ids: Vec<String>, filters: Vec<Filter> },
}

/// The parameters of `AssociateAddress`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Associate {
    pub(crate) allocation: String,
    pub(crate) target: Target,
    /// `None`: the primary address of the interface.
    pub(crate) private_ip: Option<Ipv4Addr>,
    /// True when absent: in a VPC an address moves unless that is forbidden.
    pub(crate) reassociate: bool,
}

/// The parameters of `AssignPrivateIpAddresses`; a mere number of addresses is not understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Assign {
    pub(crate) interface: String,
    pub(crate) private_ips: Vec<Ipv4Addr>,
    /// False when absent: an address of another interface stays there unless it is to move.
    pub(crate) reassign: bool,
}

/// What changes the private addresses of an interface.
const ASSIGNING: [&str; 2] = ["AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"];

/// With what an address is to be associated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Interface(String),
    Instance(String),
}

/// One filter of a describe call: any of its values must match.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Request {
    pub(crate) fn parse(mut parameters: Parameters) -> Self {
        let action = parameters.remove("Action").unwrap_or_default();
        parameters.remove("Version");
        let call = Call::parse(&action, &parameters);
        // These two have no such parameter.
        if ASSIGNING.contains(&&*action) && parameters.contains_key("DryRun") {
            let call = Err(Ec2Error::unknown_parameter("DryRun"));
            return Self { action, dry_run: false, call, parameters };
        }
        match flag(&parameters, "DryRun") {
            Ok(dry_run) => Self { action, dry_run: dry_run.unwrap_or(false), call, parameters },
            Err(error) => Self { action, dry_run: false, call: Err(error), parameters },
        }
    }

    /// Whether the call, if nothing refuses it, changes who holds what.
    pub(crate) fn mutates(&self) -> bool {
        let mutating = ["AssociateAddress", "DisassociateAddress", "AllocateAddress"];
        let action = self.action.as_str();
        !self.dry_run && (mutating.contains(&action) || ASSIGNING.contains(&action))
    }
}

/// What a call that changes something names.
pub(crate) enum To<'a> {
    Interface(&'a str),
    Instance(&'a str),
}

impl Call {
    /// The interface or instance that the call is about, if it changes something there.
    pub(crate) fn target(&self) -> Option<To<'_>> {
        match self {
            Self::AssociateAddress(associate) => Some(match &associate.target {
                Target::Interface(id) => To::Interface(id),
                Target::Instance(id) => To::Instance(id),
            }),
            Self::AssignPrivateIpAddresses(Assign { interface, .. })
            | Self::UnassignPrivateIpAddresses { interface, .. } => Some(To::Interface(interface)),
            Self::DisassociateAddress { .. }
            | Self::AllocateAddress
            | Self::DescribeAddresses { .. }
            | Self::DescribeNetworkInterfaces { .. }
            | Self::DescribeInstances { .. } => None,
        }
    }

    fn parse(action: &str, parameters: &Parameters) -> Result<Self, Ec2Error> {
        match action {
            "AssociateAddress" => Ok(Self::AssociateAddress(Associate::parse(parameters)?)),
            "DisassociateAddress" => Ok(Self::DisassociateAddress {
                association: required(parameters, "AssociationId")?,
            }),
            "AllocateAddress" => Ok(Self::AllocateAddress),
            "AssignPrivateIpAddresses" => Ok(Self::AssignPrivateIpAddresses(Assign {
                interface: required(parameters, "NetworkInterfaceId")?,
                private_ips: private_ips(parameters)?,
                reassign: flag(parameters, "AllowReassignment")?.unwrap_or(false),
            })),
            "UnassignPrivateIpAddresses" => Ok(Self::UnassignPrivateIpAddresses {
                interface: required(parameters, "NetworkInterfaceId")?,
                private_ips: private_ips(parameters)?,
            }),
            "DescribeAddresses" => Ok(Self::DescribeAddresses {
                ids: list(parameters, "AllocationId"),
                public_ips: list(parameters, "PublicIp"),
                filters: filters(parameters),
            }),
            "DescribeNetworkInterfaces" => Ok(Self::DescribeNetworkInterfaces {
                ids: list(parameters, "NetworkInterfaceId"),
                filters: filters(parameters),
            }),
            "DescribeInstances" => Ok(Self::DescribeInstances {
                ids: list(parameters, "InstanceId"),
                filters: filters(parameters),
            }),
            "" => Err(Ec2Error::missing_parameter("Action")),
            unknown => Err(Ec2Error::invalid_action(unknown)),
        }
    }
}

impl Associate {
    fn parse(parameters: &Parameters) -> Result<Self, Ec2Error> {
        let allocation = required(parameters, "AllocationId")?;
        let target =
            match (value(parameters, "NetworkInterfaceId"), value(parameters, "InstanceId")) {
                (Some(interface), None) => Target::Interface(interface),
                (None, Some(instance)) => Target::Instance(instance),
                (None, None) => return Err(Ec2Error::missing_parameter("NetworkInterfaceId")),
                (Some(_), Some(_)) => {
                    return Err(Ec2Error::invalid_combination(
                        "The parameters InstanceId and NetworkInterfaceId cannot be used together",
                    ));
                }
            };
        let private_ip = match value(parameters, "PrivateIpAddress") {
            None => None,
            Some(text) => Some(ipv4(&text)?),
        };
        let reassociate = flag(parameters, "AllowReassociation")?.unwrap_or(true);
        Ok(Self { allocation, target, private_ip, reassociate })
    }
}

fn ipv4(text: &str) -> Result<Ipv4Addr, Ec2Error> {
    text.parse().map_err(|_| {
        Ec2Error::invalid_parameter(format!("Address {text} is not a valid IPv4 address"))
    })
}

/// At least one.
fn private_ips(parameters: &Parameters) -> Result<Vec<Ipv4Addr>, Ec2Error> {
    let texts = list(parameters, "PrivateIpAddress");
    if texts.is_empty() {
        return Err(Ec2Error::missing_parameter("PrivateIpAddress"));
    }
    texts.iter().map(|text| ipv4(text)).collect()
}

fn value(parameters: &Parameters, name: &str) -> Option<String> {
    parameters.get(name).filter(|value| !value.is_empty()).cloned()
}

fn required(parameters: &Parameters, name: &str) -> Result<String, Ec2Error> {
    value(parameters, name).ok_or_else(|| Ec2Error::missing_parameter(name))
}

fn flag(parameters: &Parameters, name: &str) -> Result<Option<bool>, Ec2Error> {
    match value(parameters, name).as_deref() {
        None => Ok(None),
        Some("true" | "True" | "1") => Ok(Some(true)),
        Some("false" | "False" | "0") => Ok(Some(false)),
        Some(other) => Err(Ec2Error::invalid_parameter(format!(
            "Value ({other}) for parameter {name} is invalid. It must be true or false"
        ))),
    }
}

/// The values of `name.1`, `name.2` and so on, in the order of their numbers.
fn list(parameters: &Parameters, name: &str) -> Vec<String> {
    (1..).map_while(|number| value(parameters, &format!("{name}.{number}"))).collect()
}

fn filters(parameters: &Parameters) -> Vec<Filter> {
    (1..)
        .map_while(|number| {
            let name = value(parameters, &format!("Filter.{number}.Name"))?;
            let values = list(parameters, &format!("Filter.{number}.Value"));
            Some(Filter { name, values })
        })
        .collect()
}
