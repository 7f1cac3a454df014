//! Credentials, fetched ahead of their need.
//!
//! The SDK's own cache fetches new ones when a call finds the old ones within 10 s of their end:
//! on the way of a takeover, for as long as metadata or STS please. Here a background task fetches
//! them at half of their remaining life, and a call takes what is there, at once. Credentials that
//! could not be renewed are used to their end and beyond it: the cloud decides what they are worth.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::{Notify, watch};
use vipward_core::Random;

use super::outcome::chain;

/// The longest pause between two fetches: a role that was replaced is seen by then.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The shortest pause between two successful fetches.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the least that a refusal by the cloud can shorten it to.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long one fetch may take: a chain may try metadata, then STS.
const FETCH: Duration = Duration::from_secs(20);

/// The newest credentials, kept fresh.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    state: watch::Sender<State>,
    refresh: Notify,
}

#[derive(Clone, Debug, Default)]
struct State {
    credentials: Option<Credentials>,
    trouble: Option<Arc<str>>,
}

impl Ahead {
    /// Why the last fetch failed, if it did.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        self.0.state.borrow().trouble.clone()
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.0.state.borrow().credentials.is_some()
    }

    /// How long they are still good; `None` without any, or when they never expire.
    pub(super) fn left(&self) -> Option<Duration> {
        let expiry = self.0.state.borrow().credentials.as_ref()?.expiry()?;
        Some(expiry.duration_since(wall_clock()).unwrap_or_default())
    }

    /// Waits until there are some, at most for `at_most`.
    pub(super) async fn loaded(&self, at_most: Duration) -> bool {
        let mut state = self.0.state.subscribe();
        let some = state.wait_for(|state| state.credentials.is_some());
        tokio::time::timeout(at_most, some).await.is_ok_and(|some| some.is_ok())
    }

    /// Uses these for ever.
    pub(super) fn set(&self, credentials: Credentials) {
        self.0.state.send_replace(State { credentials: Some(credentials), trouble: None });
    }

    /// Asks for new ones now: the cloud did not accept these.
    pub(super) fn refresh(&self) {
        self.0.refresh.notify_one();
    }

    /// Fetches from `source` ahead of need, for ever; nothing to do without a source.
    pub(super) async fn keep(&self, source: Option<SharedCredentialsProvider>) {
        let Some(source) = source else { return };
        let mut random = Random::new(getrandom::u64().unwrap_or(0));
        let mut retry = FIRST_RETRY;
        loop {
            let pause = match self.fetch(&source).await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    pause_after(self.left())
                }
                Err(trouble) => {
                    tracing::warn!(error = %trouble, "credentials could not be fetched");
                    self.0.state.send_modify(|state| state.trouble = Some(trouble.into()));
                    let pause = retry / 2 + random.up_to(retry / 2);
                    retry = (retry * 2).min(LONGEST_RETRY);
                    pause
                }
            };
            tokio::time::sleep(FIRST_RETRY.min(pause)).await;
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(FIRST_RETRY)) => {}
                () = self.0.refresh.notified() => {}
            }
        }
    }

    async fn fetch(&self, source: &SharedCredentialsProvider) -> Result<(), String> {
        let fetched = tokio::time::timeout(FETCH, source.provide_credentials()).await;
        let fetched = fetched.map_err(|_| format!("no answer within {FETCH:?}"))?;
        self.set(fetched.map_err(|error| chain(&error))?);
        Ok(())
    }
}

/// The pause before credentials with so much life left are fetched anew.
fn pause_after(left: Option<Duration>) -> Duration {
    let half = left.map_or(LONGEST_PAUSE, |left| left / 2);
    half.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

impl ProvideCredentials for Ahead {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let credentials = self.0.state.borrow().credentials.clone();
        future::ProvideCredentials::ready(
            credentials.ok_or_else(|| CredentialsError::not_loaded("no credentials yet")),
        )
    }
}

#[allow(clippy::disallowed_methods, reason = "an expiry is a time of day, and nothing rests on it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Fails at first, and then gives credentials that last a quarter of an hour.
    #[derive(Debug)]
    struct Source {
        asked: AtomicUsize,
        fails: usize,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::ready(if asked < self.fails {
                Err(CredentialsError::provider_error("metadata is down"))
            } else {
                let key = format!("key-{asked}");
                let expiry = wall_clock() + Duration::from_secs(900);
                Ok(Credentials::new(key, "secret", None, Some(expiry), "test"))
            })
        }
    }

    async fn key(ahead: &Ahead) -> Option<String> {
        let credentials = ahead.provide_credentials().await.ok()?;
        Some(credentials.access_key_id().to_owned())
    }

    #[test]
    fn they_are_fetched_at_half_of_their_life() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(pause_after(Some(minutes(20))), minutes(10));
        assert_eq!(pause_after(Some(minutes(360))), LONGEST_PAUSE);
        assert_eq!(pause_after(Some(Duration::ZERO)), SHORTEST_PAUSE);
        assert_eq!(pause_after(None), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn a_failing_source_is_asked_again_and_a_call_never_waits_for_it() {
        // Given a source that fails once,
        let ahead = Ahead::default();
        let source = Source { asked: AtomicUsize::new(0), fails: 1 };
        let source = SharedCredentialsProvider::new(source);
        let keeper = ahead.clone();
        let keeping = tokio::spawn(async move { keeper.keep(Some(source)).await });
        // when a call asks, then it hears no at once,
        assert_eq!(key(&ahead).await, None);
        // and gets some once the source has recovered.
        assert!(ahead.loaded(Duration::from_secs(10)).await);
        assert_eq!(key(&ahead).await.as_deref(), Some("key-1"));
        assert_eq!(ahead.trouble(), None);
        assert!(ahead.left().is_some_and(|left| left > Duration::from_secs(800)));
        // When the cloud does not accept them, then others are fetched.
        ahead.refresh();
        let wait = async {
            while key(&ahead).await.as_deref() != Some("key-2") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
        keeping.abort();
    }

    #[tokio::test]
    async fn what_cannot_be_renewed_is_used_on() {
        let ahead = Ahead::default();
        let past = wall_clock() - Duration::from_secs(60);
        ahead.set(Credentials::new("old", "secret", None, Some(past), "test"));
        let source = Source { asked: AtomicUsize::new(0), fails: usize::MAX };
        let source = SharedCredentialsProvider::new(source);
        let failed = ahead.fetch(&source).await;
        assert!(failed.unwrap_err().contains("metadata is down"));
        assert_eq!(key(&ahead).await.as_deref(), Some("old"));
        assert_eq!(ahead.left(), Some(Duration::ZERO));
    }
}
