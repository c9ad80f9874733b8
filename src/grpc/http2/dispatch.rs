//! The dispatch of calls to services: telemetry, deadlines of requests, and the drain.
//!
//! Beyond hyper and the service, a call costs two entries in its extensions here, and no further box, copy
//! or task.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use h2::Reason;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service as _;

use super::bodies::{CallBody, PiecewiseBody, RequestBody, WatchBody};
use super::gate::{Admitted, Arrival, Gate};
use super::preface::CountGuard;
use super::refusal::{Refusal, read_on, refused};
use super::status_recorder::StatusRecorder;
use super::unary::{self, UnaryLimits};
use super::unread::UnreadAnswers;
use crate::access::{CallPermit, ConnectionCallers, Identity, revoked_error};
use crate::deadline::{CallLimits, Deadline};
use crate::error::{Error, ErrorKind};
use crate::grpc::method_names::method_of;
use crate::grpc::request_context::{self, Peer};
use crate::grpc::respond::{answer, replace_status};
use crate::grpc::services::database_service::DatabaseHandler;
use crate::grpc::services::reflection_service::ReflectionServices;

use crate::telemetry::{RpcCall, Telemetry};
use crate::value::proto::database_service_server::DatabaseServiceServer;

/// The watch that is not of our own services.
const WATCHED_HEALTH: &str = "/grpc.health.v1.Health/Watch";
/// The start of the paths of server reflection, in both versions.
const REFLECTION: &str = "/grpc.reflection.";

/// All services, and the settings of the dispatch.
pub(crate) struct Services {
    pub(crate) handler: Arc<DatabaseHandler>,
    /// Not among the routes: it gets nearly all calls, and routing allocates.
    pub(crate) database: DatabaseServiceServer<DatabaseHandler>,
    pub(crate) routes: Routes,
    pub(crate) reflection: Option<ReflectionServices>,
    pub(crate) telemetry: Telemetry,
    pub(crate) receive_limits: CallLimits,
    pub(crate) limits: UnaryLimits,
    pub(crate) gate: Gate,
    pub(crate) unread: Arc<UnreadAnswers>,
}

/// The services for the calls of one connection.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) services: Arc<Services>,
    /// The number of plain calls.
    pub(crate) calls: Arc<AtomicUsize>,
    /// It turns true once.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) peer: Peer,
    /// Those of this connection.
    pub(crate) callers: Arc<ConnectionCallers>,
}

/// The kinds of calls, by their end when the server drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKind {
    /// It has one answer. The drain waits for its end.
    Unary,
    /// It has a stream of answers. The drain waits for its end.
    Stream,
    /// It has a stream of requests, whose parts have a limit of their own. The drain waits for its end.
    Upload,
    /// A new one is refused; the engine ends the open ones.
    Transaction,
    /// It has one request and never ends by itself, so the drain ends it.
    Watch,
    /// It has a stream of requests and never ends by itself, so the drain ends it.
    Reflection,
}

impl CallKind {
    fn of(path: &str) -> Self {
        match path {
            "/rowgate.v1.DatabaseService/Transact" => Self::Transaction,
            "/rowgate.v1.DatabaseService/StreamQuery" | "/rowgate.v1.DatabaseService/CopyOut" => {
                Self::Stream
            }
            "/rowgate.v1.DatabaseService/CopyIn" => Self::Upload,
            WATCHED_HEALTH
            | "/rowgate.v1.DatabaseService/Listen"
            | "/rowgate.v1.PoolService/WatchPoolStats" => Self::Watch,
            other if other.starts_with(REFLECTION) => Self::Reflection,
            _ => Self::Unary,
        }
    }

    /// True for a call that the drain waits for.
    fn ends_by_itself(self) -> bool {
        matches!(self, Self::Unary | Self::Stream | Self::Upload)
    }

    /// True for a call whose whole request must come in time.
    fn has_one_request(self) -> bool {
        matches!(self, Self::Unary | Self::Stream | Self::Watch)
    }

    /// True for a call that the drain ends.
    fn is_ended(self) -> bool {
        matches!(self, Self::Watch | Self::Reflection)
    }
}

impl Dispatch {
    /// Returns once the server drains.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.draining.clone();
        async move { drop(draining.wait_for(|draining| *draining).await) }
    }

    /// Returns once a watch must end, with the reason. Those of our own services see to their timeouts themselves.
    fn watch_end(
        &self,
        identity: &Identity,
        arrived: Instant,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Error> + Send + use<> {
        let drained = self.drained();
        let revoked = identity.revocation.revoked();
        let late = async move {
            match timeout {
                Some(timeout) => sleep_until(watch_deadline(arrived, timeout).into()).await,
                None => pending().await,
            }
        };
        async move {
            tokio::select! {
                () = late => {
                    let message = "the deadline of the watch has passed";
                    Error::new(ErrorKind::DeadlineExceeded, message)
                }
                () = drained => Error::new(ErrorKind::ShuttingDown, "the server is shutting down"),
                () = revoked => revoked_error(),
            }
        }
    }

    /// Lets a call in, or answers it.
    fn admit(
        &self,
        call: &Arc<RpcCall>,
        request: &Request<CallBody>,
        arrival: Arrival<'_>,
    ) -> Result<Admitted, Box<Response<Body>>> {
        let gate = &self.services.gate;
        let identified = gate.identify(request.headers(), &self.peer, arrival.method);
        let admitted = identified.and_then(|identity| {
            let name = Arc::clone(&identity.name);
            call.set_identity(&name, identity.kind.as_str());
            gate.admit(identity, arrival).inspect_err(|_refused| {
                call.set_labels(&Arc::default(), &name, &Arc::default());
            })
        });
        admitted.map_err(|error| Box::new(answer(call, &error).into_http()))
    }
}

impl Dispatch {
    /// Starts a call. `system` is the name of its protocol in telemetry.
    pub(crate) fn start(
        &self,
        mut request: Request<CallBody>,
        system: &'static str,
        refusal: Option<Refusal>,
    ) -> ResponseFuture {
        let arrived = Instant::now();
        let services = &*self.services;
        let kind = CallKind::of(request.uri().path());
        let method = method_of(request.uri().path());
        let call = Arc::new(services.telemetry.call(system, method, request.headers(), arrived));
        call.set_peers(request.uri(), self.peer.address);
        services.gate.audit(&call, &self.peer);
        let recorder = StatusRecorder::new(&call);
        let is_transaction = kind == CallKind::Transaction;
        let is_refused = is_transaction && refusal.is_none() && *self.draining.borrow();
        let count = kind.ends_by_itself().then(|| CountGuard::new(&self.calls));
        // No service has seen a late request, so it is answered here.
        let timeout = request_context::timeout(request.headers());
        let arrival = Arrival { method, is_transaction, at: arrived, connection: &self.callers };
        let admitted = match refused(&call, refusal, &timeout) {
            Some(response) => Err(Box::new(response)),
            None => self.admit(&call, &request, arrival),
        };
        let timeout = timeout.unwrap_or_default();
        let deadline = Deadline::of_call(arrived, timeout, None, services.receive_limits);
        let deadline = kind.has_one_request().then_some(deadline);
        let is_health = request.uri().path() == WATCHED_HEALTH;
        let watch_timeout = timeout.filter(|_| is_health);
        request.extensions_mut().insert(Arc::clone(&call));
        request.extensions_mut().insert(self.peer.clone());
        let mut permit = None;
        let mut end = None;
        let service = match admitted {
            _ if is_refused => None,
            Err(response) => {
                read_on(request, &call);
                Some(future::ready(Ok(*response)).boxed())
            }
            Ok(admitted) => {
                end = kind
                    .is_ended()
                    .then(|| self.watch_end(&admitted.identity, arrived, watch_timeout).boxed());
                request.extensions_mut().insert(admitted.identity);
                permit = admitted.permit;
                let request = request.map(|body| RequestBody::new(call, body, deadline));
                Some(services.serve(request))
            }
        };
        ResponseFuture {
            service,
            permit,
            has_yielded: false,
            recorder: Some(recorder),
            count,
            end,
            kind,
            services: Arc::clone(&self.services),
        }
    }
}

/// The moment at which a watch ends whose caller has named a timeout.
fn watch_deadline(arrived: Instant, timeout: Duration) -> Instant {
    let limits = CallLimits { default: timeout, cap: timeout };
    Deadline::of_call(arrived, Some(timeout), None, limits).instant()
}

impl Services {
    fn serve(&self, request: Request<RequestBody>) -> ServiceFuture {
        let path = request.uri().path();
        let is_plain = !unary::may_be_compressed(request.headers());
        if path == "/rowgate.v1.DatabaseService/Query" && is_plain {
            let handler = Arc::clone(&self.handler);
            let query = |request| async move { handler.query(request).await };
            return unary::serve(request, self.limits, query).map(Ok).boxed();
        }
        if path == "/rowgate.v1.DatabaseService/ExecuteBatch" && is_plain {
            let handler = Arc::clone(&self.handler);
            let execute = |request| async move { handler.execute_batch(request).await };
            return unary::serve(request, self.limits, execute).map(Ok).boxed();
        }
        if is_for_database_service(path) {
            return self.database.clone().call(request);
        }
        let routes = match (&self.reflection, request.extensions().get::<Arc<Identity>>()) {
            (Some(reflection), Some(caller)) if path.starts_with(REFLECTION) => {
                reflection.of(caller)
            }
            _ => None,
        };
        routes.unwrap_or(&self.routes).clone().call(request).boxed()
    }
}

fn is_for_database_service(path: &str) -> bool {
    path.starts_with("/rowgate.v1.DatabaseService/")
}

/// The answer of a service.
type ServiceFuture = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// A call until its response begins.
pub(crate) struct ResponseFuture {
    /// The service; `None` for a refused call, which gRPC clients send elsewhere by themselves.
    service: Option<ServiceFuture>,
    has_yielded: bool,
    recorder: Option<StatusRecorder>,
    count: Option<CountGuard>,
    /// The event that ends a watch.
    end: Option<BoxFuture<'static, Error>>,
    permit: Option<CallPermit>,
    kind: CallKind,
    services: Arc<Services>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.has_yielded {
            // hyper sees a reset only while a call waits. After a process was stopped and goes on, this
            // drops the calls that clients have cancelled meanwhile, before any of them runs.
            this.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(service) = &mut this.service else {
            this.recorder.take().unwrap_or_default().record(Code::Unavailable);
            return Poll::Ready(Err(Reason::REFUSED_STREAM.into()));
        };
        let Ok(response) = ready!(service.as_mut().poll(cx));
        let mut recorder = this.recorder.take().unwrap_or_default();
        let response = replace_status(recorder.call(), response, this.services.limits.request);
        // The answer of an error alone has its status among the headers.
        recorder.read(response.headers());
        if response.status() != StatusCode::OK {
            // As clients of gRPC read it (HTTP to gRPC Status Code Mapping).
            recorder.record(Code::Unknown);
        }
        let count = this.count.take();
        let end = this.end.take();
        let permit = this.permit.take();
        // What a stream has done when a part of it is lost is not known here.
        let outcome = recorder.call().outcome();
        Poll::Ready(Ok(response.map(|body| {
            let body = match end {
                Some(end) => {
                    let call = Arc::clone(recorder.call());
                    Body::new(WatchBody { call, body, end, has_ended: false })
                }
                None => body,
            };
            let unread = &this.services.unread;
            let mut body = PiecewiseBody::new(body, recorder.call(), outcome, unread);
            if this.kind == CallKind::Unary {
                body.encode(cx);
            }
            ResponseBody { body, recorder, _count: count, _permit: permit }
        })))
    }
}

/// The body of a response: its call lasts until it ends.
pub(crate) struct ResponseBody {
    body: PiecewiseBody,
    recorder: StatusRecorder,
    _count: Option<CountGuard>,
    _permit: Option<CallPermit>,
}

impl ResponseBody {
    /// Takes over the record of the call's end, for a body that takes the place of this one.
    pub(crate) fn take_recorder(&mut self) -> StatusRecorder {
        std::mem::take(&mut self.recorder)
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, recorder, .. } = self.get_mut();
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            recorder.read(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_call_is_known_by_its_path() {
        let cases = [
            ("/rowgate.v1.DatabaseService/Query", CallKind::Unary, true),
            ("/rowgate.v1.DatabaseService/StreamQuery", CallKind::Stream, true),
            ("/rowgate.v1.DatabaseService/Transact", CallKind::Transaction, true),
            ("/rowgate.v1.DatabaseService/Listen", CallKind::Watch, true),
            ("/rowgate.v1.DatabaseServices/Query", CallKind::Unary, false),
            ("/rowgate.v1.PoolService/WatchPoolStats", CallKind::Watch, false),
            ("/rowgate.v1.PoolService/ListPoolStats", CallKind::Unary, false),
            ("/grpc.health.v1.Health/Watch", CallKind::Watch, false),
            ("/grpc.health.v1.Health/Check", CallKind::Unary, false),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                CallKind::Reflection,
                false,
            ),
            ("", CallKind::Unary, false),
        ];
        for (path, kind, for_database_service) in cases {
            assert_eq!(CallKind::of(path), kind, "{path}");
            assert_eq!(is_for_database_service(path), for_database_service, "{path}");
        }
    }
}
