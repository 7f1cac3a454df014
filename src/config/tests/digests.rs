//! What the digest counts, and what not.

use proptest::prelude::*;

use super::*;

fn digest(text: &str) -> vipward_core::Digest {
    good(text).digest
}

#[test]
fn what_each_node_may_have_for_itself_does_not_count() {
    for (old, new) in [
        ("node = \"lb-a\"", "node = \"auto\""),
        ("listen = \"127.0.0.1:7401\"", "listen = \"127.0.0.1:7402\"\nsocket = \"/x\""),
        ("64MiB", "128MiB"),
        ("log = \"json\"", "log = \"text\"\nlevel = \"debug\""),
    ] {
        assert_eq!(digest(GOOD), digest(&with(old, new)), "{new}");
    }
}

#[test]
fn spelling_and_written_defaults_do_not_count() {
    for (old, new) in [
        ("200ms", "0.2s"),
        ("misses = 3", "misses = 0x3\nprobation = \"30s\"\non_stop = \"handover\""),
        ("[cloud]", "preempt = false\npreempt_delay = \"1m\"\n[cloud]\ncall_timeout = \"5000ms\""),
        ("fatal = true", "fatal = true\nrise = 2"),
        ("[limits]\nmoves_per_hour = 12\n", "[consistency]\nrepair = \"off\"\n[hooks]\n"),
        ("name = \"lb-b\"", "role = \"balancer\"\nname = 'lb-b'"),
    ] {
        assert_eq!(digest(GOOD), digest(&with(old, new)), "{new}");
    }
    let http = "http = \"http://127.0.0.1:80/healthz\"";
    assert_eq!(
        digest(&with(http, "command = [\"a\", \"b c\"]")),
        digest(&with(http, "command = \"a 'b c'\""))
    );
}

#[test]
fn everything_shared_counts() {
    for (old, new) in [
        ("web-prod", "web-test"),
        ("200ms", "201ms"),
        ("misses = 3", "misses = 4"),
        ("cluster.key", "other.key"),
        ("10.0.2.5:7400", "10.0.2.6:7400"),
        ("lb-b = 100", "lb-b = 101"),
        ("eipalloc-0abc", "eipalloc-0abd"),
        ("moves_per_hour = 12", "moves_per_hour = 13"),
        ("/healthz", "/health"),
        ("fatal = true", "weight = 5"),
        ("[cloud]", "[consistency]\nlast_resort = true\n[cloud]"),
    ] {
        assert_ne!(digest(GOOD), digest(&with(old, new)), "{new}");
    }
}

/// A digest that changed for the same file would quarantine the nodes of a rolling upgrade.
#[test]
fn the_digest_of_a_known_file_stays() {
    let shown = digest(GOOD).to_string();
    assert_eq!(shown, "sha256:a8e1fb881f1be99f743b6bc9ccaa51f4db12605ea1fe5792daddc220f74eee3a");
}

/// The tables of [`GOOD`], each as a header and its lines.
fn tables() -> Vec<(String, Vec<String>)> {
    let mut tables = vec![(String::new(), Vec::new())];
    for line in GOOD.lines() {
        if line.starts_with('[') {
            tables.push((line.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = tables.last_mut() {
            lines.push(line.to_owned());
        }
    }
    tables
}

prop_compose! {
    /// The same file: keys and tables in any order, comments and blank lines anywhere.
    fn rewritten()(
        top in Just(tables().remove(0).1).prop_shuffle(),
        rest in Just(tables().split_off(1)).prop_shuffle(),
        orders in prop::collection::vec(any::<prop::sample::Index>(), 64),
        comments in prop::collection::vec("[ -~]{0,20}", 64),
    ) -> String {
        let mut text = String::new();
        let mut noise = comments.iter().cycle();
        let mut order = orders.iter().cycle();
        for (header, mut lines) in std::iter::once((String::new(), top)).chain(rest) {
            text += &header;
            while !lines.is_empty() {
                let next = order.next().map_or(0, |index| index.index(lines.len()));
                let comment = noise.next().map_or("", String::as_str);
                text += &format!("\n# {comment}\n\n  {} # {comment}\n", lines.remove(next));
            }
        }
        text
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn order_and_comments_do_not_count(text in rewritten()) {
        prop_assert_eq!(digest(&text), digest(GOOD));
    }
}

#[test]
fn the_order_of_groups_counts_for_the_first_keeps_the_reference() {
    let group = |name: &str| {
        format!("[[groups]]\nname = \"{name}\"\npriority = {{ lb-a = 1, lb-b = 2 }}\n")
    };
    let file =
        |first: &str, second: &str| with("[cloud]", &(group(first) + &group(second) + "[cloud]"));
    assert_ne!(digest(&file("x", "y")), digest(&file("y", "x")));
}
