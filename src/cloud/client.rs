//! From settings to a client of the SDK: region, credential chain, endpoint, and nothing hidden.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{
    Builder, Config, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider as Tls, TlsContext, TrustStore};
use hyper::Uri;
use vipward_core::Random;

use super::connections::Connections;
use super::{Provider, Settings, Shared};

/// How long opening a connection may take. A call's own deadline runs beside it; connections
/// that are opened ahead have only this one.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one reading of region and credential chain may take.
const LOAD: Duration = Duration::from_secs(20);
/// The longest pause between two readings.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// Settings that cannot work whatever the cloud does.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CloudStartError {
    /// The endpoint is no URL of a server.
    #[error(
        "cloud.endpoint_url = \"{url}\" is not the URL of a server: \
         write it as http://HOST:PORT or https://HOST"
    )]
    EndpointUrl {
        /// What was given.
        url: String,
    },
    /// The simulated cloud has no default address.
    #[error(
        "cloud.provider = \"simulated\" needs cloud.endpoint_url: \
         the address that `vipward simulated-cloud --listen` was given"
    )]
    NoEndpoint,
    /// The region cannot be part of a host name.
    #[error("cloud.region = \"{region}\" is not a region: write it as eu-west-1")]
    Region {
        /// What was given.
        region: String,
    },
}

/// Finds settings that cannot work.
pub(super) fn check(settings: &Settings) -> Result<(), CloudStartError> {
    if let Some(url) = &settings.endpoint_url {
        let server = url.parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        server.ok_or_else(|| CloudStartError::EndpointUrl { url: url.clone() })?;
    } else if settings.provider == Provider::Simulated {
        return Err(CloudStartError::NoEndpoint);
    }
    if let Some(region) = &settings.region
        && (region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    {
        return Err(CloudStartError::Region { region: region.clone() });
    }
    Ok(())
}

/// A client for HTTP with a pool of its own; `tls` only where a certificate is to be verified,
/// because each one costs the parsing of all the machine's root certificates.
pub(super) fn http_client(tls: bool) -> SharedHttpClient {
    let builder =
        aws_smithy_http_client::Builder::new().tls_provider(Tls::Rustls(CryptoMode::Ring));
    if tls {
        return builder.build_https();
    }
    let nobody = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
    match nobody {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_) => builder.build_https(),
    }
}

/// Sets up the connections as soon as region and credential chain are known, and tells where
/// credentials come from, if they are to be renewed.
pub(super) async fn start(shared: &Arc<Shared>) -> Option<SharedCredentialsProvider> {
    let (config, source) = match shared.settings.provider {
        Provider::Simulated => {
            shared.credentials.set(
                Credentials::builder()
                    .access_key_id("simulated")
                    .secret_access_key("simulated")
                    .provider_name("simulated")
                    .build(),
            );
            let region = shared.settings.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
            (Config::builder().region(Region::new(region)), None)
        }
        Provider::Aws => {
            let config = load(&shared.settings).await;
            (Builder::from(&config), config.credentials_provider())
        }
    };
    let config = ours(shared, config);
    // Root certificates are read from disk and parsed.
    let plain = shared.settings.endpoint_url.as_ref().is_some_and(|url| url.starts_with("http:"));
    let connections = tokio::task::spawn_blocking(move || Connections::new(config, !plain)).await;
    match connections {
        Ok(connections) => {
            shared.connections.send_replace(Some(Arc::new(connections)));
        }
        Err(error) => tracing::error!(%error, "the cloud's client could not be built"),
    }
    source
}

/// What every call has: no retries, no time-outs of the SDK's beside the connection's, no
/// credentials fetched on its way.
fn ours(shared: &Shared, mut config: Builder) -> Config {
    config.set_app_name(AppName::new("vipward").ok());
    if let Some(url) = &shared.settings.endpoint_url {
        config.set_endpoint_url(Some(url.clone()));
    }
    config
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::no_cache())
        .credentials_provider(shared.credentials.clone())
        .build()
}

/// Reads environment, profiles and, for the region, instance metadata, until there is a region.
async fn load(settings: &Settings) -> SdkConfig {
    let mut random = Random::new(getrandom::u64().unwrap_or(0));
    let mut retry = Duration::from_secs(1);
    loop {
        // Its client also serves the credential chain, which may have to reach STS by TLS.
        let http = tokio::task::spawn_blocking(|| http_client(true)).await;
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Ok(http) = http {
            loader = loader.http_client(http);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        match tokio::time::timeout(LOAD, loader.load()).await {
            Ok(config) if config.region().is_some() => return config,
            Ok(_) => tracing::warn!("no region: set cloud.region, or make metadata reachable"),
            Err(_) => tracing::warn!("reading the AWS configuration took longer than {LOAD:?}"),
        }
        tokio::time::sleep(retry / 2 + random.up_to(retry / 2)).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}
