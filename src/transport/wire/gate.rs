//! What travels of the gate: the reference, what operators admitted, and by which exception a
//! candidate stands.

use serde::{Deserialize, Serialize};
use vipward_core::{Admission, Exception, Reference, ReferenceVersion, Term};

use super::{Names, WireError, digest};

/// The reference.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Mark {
    term: u64,
    count: u64,
    digest: String,
}

impl Mark {
    pub(super) fn encode(reference: Reference) -> Self {
        let Reference { version, digest } = reference;
        Self { term: version.term.0, count: version.count, digest: digest.to_string() }
    }

    pub(super) fn decode(self) -> Result<Reference, WireError> {
        let version = ReferenceVersion { term: Term(self.term), count: self.count };
        Ok(Reference { version, digest: digest(&self.digest)? })
    }
}

/// What an operator admitted.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Pass {
    term: u64,
    count: u64,
    node: String,
    digest: String,
    over: String,
}

impl Pass {
    pub(super) fn encode_all(list: &[Admission], names: &Names) -> Result<Vec<Self>, WireError> {
        let encode = |admission: &Admission| {
            let Admission { version, node, digest, over } = admission;
            Ok(Self {
                term: version.term.0,
                count: version.count,
                node: names.node(*node)?,
                digest: digest.to_string(),
                over: over.to_string(),
            })
        };
        list.iter().map(encode).collect()
    }

    /// One of a node that is not in the list here concerns nobody here.
    pub(super) fn decode_known(
        list: Vec<Self>,
        names: &Names,
    ) -> Result<Vec<Admission>, WireError> {
        let known =
            list.into_iter().filter_map(|pass| Some((names.node_id(&pass.node).ok()?, pass)));
        let decode = |(node, pass): (_, Self)| {
            let version = ReferenceVersion { term: Term(pass.term), count: pass.count };
            let (digest, over) = (digest(&pass.digest)?, digest(&pass.over)?);
            Ok(Admission { version, node, digest, over })
        };
        known.map(decode).collect()
    }
}

/// By which exception a candidate stands.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ExceptionWord {
    Drift,
    LastResort,
    Admitted,
    ColdStart,
}

impl From<Exception> for ExceptionWord {
    fn from(exception: Exception) -> Self {
        match exception {
            Exception::Drift => Self::Drift,
            Exception::LastResort => Self::LastResort,
            Exception::Admitted => Self::Admitted,
            Exception::ColdStart => Self::ColdStart,
        }
    }
}

impl From<ExceptionWord> for Exception {
    fn from(word: ExceptionWord) -> Self {
        match word {
            ExceptionWord::Drift => Self::Drift,
            ExceptionWord::LastResort => Self::LastResort,
            ExceptionWord::Admitted => Self::Admitted,
            ExceptionWord::ColdStart => Self::ColdStart,
        }
    }
}
