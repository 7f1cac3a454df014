//! What the core's ids are called: the names that journal, metrics and status show.
//!
//! Ids are places in configured lists; people and dashboards know names. One `Names` goes with
//! one configuration, and a reload makes a new one.

use vipward_core::{AddressId, BootId, CheckId, GroupId, Holder, LinkId, NodeId};

/// The names of one configuration, in the order of the core's ids.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    /// The cluster.
    pub cluster: String,
    /// The daemon's version.
    pub version: String,
    /// This node.
    pub me: NodeId,
    /// The life of this process.
    pub boot: BootId,
    /// By `NodeId`.
    pub nodes: Vec<NodeNames>,
    /// By `GroupId`.
    pub groups: Vec<GroupNames>,
    /// By `CheckId`.
    pub checks: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeNames {
    /// Its name.
    pub name: String,
    /// Whether it only votes.
    pub witness: bool,
    /// Where it listens, by link: `IP:port`.
    pub links: Vec<String>,
}

/// One group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupNames {
    /// Its name.
    pub name: String,
    /// By `AddressId`.
    pub addresses: Vec<AddressNames>,
}

/// One address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddressNames {
    /// The kind as in the configuration, such as `elastic-ip`.
    pub kind: &'static str,
    /// Its id as in the configuration, such as `eipalloc-0abc`.
    pub id: String,
}

/// Shown for an id that the configuration does not have: a record of before a reload.
const GONE: &str = "?";

impl Names {
    /// A node's name.
    #[must_use]
    pub fn node(&self, node: NodeId) -> &str {
        self.nodes.get(node.index()).map_or(GONE, |node| &node.name)
    }

    /// This node's name.
    #[must_use]
    pub fn my_name(&self) -> &str {
        self.node(self.me)
    }

    /// Whether a node only votes.
    #[must_use]
    pub fn is_witness(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|node| node.witness)
    }

    /// Where a peer listens on a link. Where it has fewer links than this node, its last is used.
    #[must_use]
    pub fn link(&self, peer: NodeId, link: LinkId) -> &str {
        let links = self.nodes.get(peer.index()).map_or(&[][..], |node| &node.links);
        links.get(link.index()).or(links.last()).map_or(GONE, String::as_str)
    }

    /// A group's name.
    #[must_use]
    pub fn group(&self, group: GroupId) -> &str {
        self.groups.get(group.index()).map_or(GONE, |group| &group.name)
    }

    /// The group of that name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<GroupId> {
        let index = self.groups.iter().position(|group| group.name == name)?;
        u8::try_from(index).ok().map(GroupId)
    }

    /// The node of that name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        let index = self.nodes.iter().position(|node| node.name == name)?;
        u8::try_from(index).ok().map(NodeId)
    }

    /// An address's id in the cloud.
    #[must_use]
    pub fn address(&self, group: GroupId, address: AddressId) -> &str {
        self.address_names(group, address).map_or(GONE, |address| &address.id)
    }

    /// An address's kind.
    #[must_use]
    pub fn address_kind(&self, group: GroupId, address: AddressId) -> &'static str {
        self.address_names(group, address).map_or(GONE, |address| address.kind)
    }

    fn address_names(&self, group: GroupId, address: AddressId) -> Option<&AddressNames> {
        self.groups.get(group.index())?.addresses.get(address.index())
    }

    /// A check's name.
    #[must_use]
    pub fn check(&self, check: CheckId) -> &str {
        self.checks.get(check.index()).map_or(GONE, String::as_str)
    }

    /// A node's name, or the id of an instance or interface outside the cluster.
    #[must_use]
    pub fn holder<'a>(&'a self, holder: &'a Holder) -> &'a str {
        match holder {
            Holder::Node(node) => self.node(*node),
            Holder::Outside(id) => id,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two balancers and a witness, one group, one check.
    pub(crate) fn names() -> Names {
        let node = |name: &str, witness, links: &[&str]| NodeNames {
            name: name.to_owned(),
            witness,
            links: links.iter().map(ToString::to_string).collect(),
        };
        Names {
            cluster: "web-prod".to_owned(),
            version: "0.1.0".to_owned(),
            me: NodeId(0),
            boot: BootId(7),
            nodes: vec![
                node("lb-a", false, &["10.0.1.10:7400", "10.0.9.10:7400"]),
                node("lb-b", false, &["10.0.1.11:7400", "10.0.9.11:7400"]),
                node("witness", true, &["10.0.2.5:7400"]),
            ],
            groups: vec![GroupNames {
                name: "web".to_owned(),
                addresses: vec![AddressNames {
                    kind: "elastic-ip",
                    id: "eipalloc-0abc".to_owned(),
                }],
            }],
            checks: vec!["nginx".to_owned()],
        }
    }

    #[test]
    fn a_peer_with_fewer_links_uses_its_last() {
        let names = names();
        assert_eq!(names.link(NodeId(1), LinkId(1)), "10.0.9.11:7400");
        assert_eq!(names.link(NodeId(2), LinkId(1)), "10.0.2.5:7400");
        assert_eq!(names.link(NodeId(9), LinkId(0)), "?");
    }

    #[test]
    fn names_lead_back_to_ids() {
        let names = names();
        assert_eq!(names.group_named("web"), Some(GroupId(0)));
        assert_eq!(names.group_named("mail"), None);
        assert_eq!(names.node_named("witness"), Some(NodeId(2)));
    }
}
