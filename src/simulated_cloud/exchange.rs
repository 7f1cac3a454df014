//! One exchange: reads a query, waits as long as the engine says, writes the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request as HttpRequest, Response, StatusCode};

use super::call::{Parameters, Request};
use super::ec2_error::Ec2Error;
use super::engine::{Effect, Plan, PlannedAnswer};
use super::record::Caller;
use super::reply::Reply;
use super::server::{Shared, boot_time};

/// How many calls can be on their way to taking effect, connections counted in.
const TASKS_MAX: usize = 10_000;

/// The largest body that is read.
const BODY_MAX: usize = 1024 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call stays unanswered that is never answered: no client waits as long.
const NEVER: Duration = Duration::from_secs(600);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(crate) struct Closed;

/// Answers one EC2 call.
pub(crate) async fn answer(
    request: HttpRequest<Incoming>,
    source: IpAddr,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Closed> {
    let caller =
        Caller { access_key: access_key(request.headers()), source: Some(source.to_canonical()) };
    let parameters = match parameters(request).await {
        Ok(parameters) => parameters,
        Err(status) => return Ok(plain(status)),
    };
    let plan = shared.engine().arrive(boot_time(), &caller, Request::parse(parameters));
    carry_out(plan, shared).await
}

async fn carry_out(plan: Plan, shared: Arc<Shared>) -> Result<Response<Body>, Closed> {
    let Plan { request_id, action, sequence, effect, answer } = plan;
    let effect_after = effect.as_ref().map(|effect| effect.after);
    let mut landing = Box::pin(land(effect, sequence, Arc::clone(&shared)));
    let result = match answer {
        PlannedAnswer::OfEffect => landing.await,
        PlannedAnswer::Error { after, error } => {
            wait(after, effect_after, &mut landing).await;
            Err(error)
        }
        PlannedAnswer::Closed { after } => {
            wait(after, effect_after, &mut landing).await;
            shared.engine().answered(boot_time(), sequence, "closed");
            return Err(Closed);
        }
        PlannedAnswer::Never => {
            let _effect = tokio::join!(landing, tokio::time::sleep(NEVER));
            return Err(Closed);
        }
    };
    let (status, told, xml) = match &result {
        Ok(reply) => (200, "ok", reply.to_xml(&action, &request_id)),
        Err(error) => (error.status, error.code.as_ref(), error.to_xml(&request_id)),
    };
    shared.engine().answered(boot_time(), sequence, told);
    Ok(document(status, &request_id, xml))
}

/// Waits until the answer is due. An effect that is due by then comes first, so that who is told
/// of an error and looks sees what the call did; a later one is left on its way.
async fn wait(
    after: Duration,
    effect_after: Option<Duration>,
    landing: &mut (impl Future<Output = Result<Reply, Ec2Error>> + Unpin),
) {
    match effect_after {
        Some(effect_after) if effect_after <= after => {
            let _told_otherwise = landing.await;
        }
        Some(_) => {
            let _still_on_its_way = tokio::time::timeout(after, landing).await;
        }
        None => tokio::time::sleep(after).await,
    }
}

/// Lets a call take effect when it is due, also if its caller has gone by then: from its first
/// poll on, a call that waits does so in a task of its own.
async fn land(
    effect: Option<Effect>,
    sequence: Option<u64>,
    shared: Arc<Shared>,
) -> Result<Reply, Ec2Error> {
    let Some(effect) = effect else { return Err(Ec2Error::internal()) };
    if effect.after.is_zero() {
        return shared.land(sequence, &effect);
    }
    if shared.tasks.len() > TASKS_MAX {
        let error = Ec2Error::unavailable();
        shared.engine().refused(boot_time(), sequence, &error);
        return Err(error);
    }
    let stop = shared.stop.clone();
    let tasks = shared.tasks.clone();
    let landing = stop.run_until_cancelled_owned(async move {
        tokio::time::sleep(effect.after).await;
        shared.land(sequence, &effect)
    });
    match tasks.spawn(landing).await {
        Ok(Some(result)) => result,
        Ok(None) | Err(_) => Err(Ec2Error::unavailable()),
    }
}

/// The parameters of the query string and of the form in the body.
async fn parameters(request: HttpRequest<Incoming>) -> Result<Parameters, StatusCode> {
    if request.method() != Method::POST && request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let read = Limited::new(request.into_body(), BODY_MAX).collect();
    let body: Bytes = match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
    };
    let read = |text| form_urlencoded::parse(text).into_owned();
    Ok(read(query.as_bytes()).chain(read(&body)).collect())
}

/// The access key id of a signature of version 4: its secret is not known here, so nothing is
/// verified.
fn access_key(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let credential = header.split_once("Credential=")?.1;
    let key = credential.split(['/', ',', ' ']).next()?;
    Some(key.to_owned())
}

fn document(status: u16, request_id: &str, xml: String) -> Response<Body> {
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml;charset=UTF-8"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
