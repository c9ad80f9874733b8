//! The front door: what every call passes, and how it is answered while the server drains.
//!
//! A call costs here what hyper costs, two entries in its extensions, and no box, copy or task more than
//! its service needs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::Service as _;

use super::body::{Arriving, Watched};
use super::preface::Open;
use crate::deadline::{CallLimits, Deadline};
use crate::grpc::error::tonic_status::made_ours;
use crate::grpc::method_names::{CANCELLED, STATUS, UNAVAILABLE, code_name, method_of};
use crate::grpc::services::database_service;
use crate::grpc::timeout_header::timeout_in;
use crate::telemetry;
use crate::telemetry::Telemetry;
use crate::value::proto::database_service_server::{DatabaseServiceServer, SERVICE_NAME};

/// All services, and what is checked before them.
pub(crate) struct Services {
    /// Not among the routes: nearly all calls go there, and what finds a route allocates.
    pub(crate) database: DatabaseServiceServer<database_service::Service>,
    pub(crate) routes: Routes,
    pub(crate) telemetry: Telemetry,
    /// Until when a request must have come whole.
    pub(crate) arrival: CallLimits,
    pub(crate) max_request_size: usize,
}

/// The services as one connection's calls see them.
#[derive(Clone)]
pub(crate) struct Dispatch {
    services: Arc<Services>,
    calls: Arc<AtomicUsize>,
    draining: watch::Receiver<bool>,
    /// What `Request::remote_addr` reads.
    peer: TcpConnectInfo,
}

/// What a call is to a server that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It is served, and waited for.
    Call,
    /// A new one is refused; the engine ends those that are open.
    Transaction,
    /// It never ends by itself, so it is ended.
    Watch,
}

impl Kind {
    fn of(path: &str) -> Self {
        match path {
            "/rowgate.v1.DatabaseService/Transact" => Self::Transaction,
            "/grpc.health.v1.Health/Watch" | "/rowgate.v1.PoolService/WatchPoolStats" => {
                Self::Watch
            }
            other if other.starts_with("/grpc.reflection.") => Self::Watch,
            _ => Self::Call,
        }
    }
}

impl Dispatch {
    /// `calls` counts those that are waited for; `draining` turns true when clients are told to go.
    pub(crate) fn new(
        services: Arc<Services>,
        calls: Arc<AtomicUsize>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let peer = TcpConnectInfo { local_addr: None, remote_addr: None };
        Self { services, calls, draining, peer }
    }

    /// The same for the calls of one connection.
    pub(crate) fn of(&self, peer: Option<SocketAddr>) -> Self {
        Self { peer: TcpConnectInfo { local_addr: None, remote_addr: peer }, ..self.clone() }
    }

    /// Returns when the server drains.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.draining.clone();
        async move { drop(draining.wait_for(|draining| *draining).await) }
    }
}

impl hyper::service::Service<Request<Incoming>> for Dispatch {
    type Response = Response<Answer>;
    type Error = h2::Error;
    type Future = Call;

    fn call(&self, mut request: Request<Incoming>) -> Call {
        let arrived = Instant::now();
        let services = &*self.services;
        let kind = Kind::of(request.uri().path());
        let method = method_of(request.uri().path());
        let call = Arc::new(services.telemetry.call(method, request.headers(), arrived));
        call.set_peers(request.uri(), self.peer.remote_addr.map(|peer| peer.ip()));
        let served = Served::new(Arc::clone(&call));
        let (open, watched) = match kind {
            Kind::Call => (Some(Open::count(&self.calls)), None),
            Kind::Transaction if *self.draining.borrow() => return Call::refused(served),
            Kind::Transaction => (None, None),
            Kind::Watch => (None, Some(self.drained().boxed())),
        };
        request.extensions_mut().insert(Arc::clone(&call));
        request.extensions_mut().insert(self.peer.clone());
        let until = (kind == Kind::Call).then(|| services.arrives_until(arrived, &request));
        let request = request.map(|body| Arriving::new(call, body, until));
        let stage = if is_of_the_database(request.uri().path()) {
            Stage::Database(services.database.clone().call(request))
        } else {
            Stage::Other(Box::new(services.routes.clone().call(request)))
        };
        let max_request_size = services.max_request_size;
        Call { stage, has_come: false, served: Some(served), open, watched, max_request_size }
    }
}

impl Services {
    /// Until when all of a request must have come: what is late is answered here, as no service has
    /// seen it.
    fn arrives_until(&self, arrived: Instant, request: &Request<Incoming>) -> Deadline {
        let timeout = timeout_in(request.headers());
        Deadline::of_call(arrived, timeout, None, self.arrival)
    }
}

fn is_of_the_database(path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// A call until its response begins.
pub(crate) struct Call {
    stage: Stage,
    has_come: bool,
    served: Option<Served>,
    open: Option<Open>,
    watched: Option<BoxFuture<'static, ()>>,
    max_request_size: usize,
}

enum Stage {
    /// It is safe to send it elsewhere, and clients of gRPC do so by themselves.
    Refused,
    Database(BoxFuture<'static, Result<Response<Body>, Infallible>>),
    Other(Box<<Routes as tower::Service<Request<Arriving>>>::Future>),
}

impl Call {
    fn refused(served: Served) -> Self {
        let (stage, served) = (Stage::Refused, Some(served));
        Self { stage, has_come: true, served, open: None, watched: None, max_request_size: 0 }
    }
}

impl Future for Call {
    type Output = Result<Response<Answer>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.has_come {
            // hyper sees a reset only while a call waits. One turn later it knows of calls that were
            // given up before they were looked at, as happens to a process that was stopped and goes
            // on: they are dropped before anything of them runs.
            this.has_come = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let answered = match &mut this.stage {
            Stage::Refused => {
                if let Some(mut served) = this.served.take() {
                    served.ended(UNAVAILABLE);
                }
                return Poll::Ready(Err(Reason::REFUSED_STREAM.into()));
            }
            Stage::Database(call) => ready!(call.as_mut().poll(cx)),
            Stage::Other(call) => ready!(Pin::new(call).poll(cx)),
        };
        let mut served = this.served.take().unwrap_or_default();
        let response = match answered {
            Ok(response) => made_ours(&served.call, response, this.max_request_size),
            Err(never) => match never {},
        };
        // An answer of an error alone has its status where others have their metadata.
        served.read(response.headers());
        let (open, watched) = (this.open.take(), this.watched.take());
        Poll::Ready(Ok(response.map(|body| {
            let body = match watched {
                Some(drained) => Body::new(Watched::new(Arc::clone(&served.call), body, drained)),
                None => body,
            };
            Answer { body, served, _open: open }
        })))
    }
}

/// The body of a response: its call is open until it ends.
pub(crate) struct Answer {
    body: Body,
    served: Served,
    _open: Option<Open>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, served, .. } = self.get_mut();
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            served.read(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A call as it is seen from outside: how it ended is the status that its caller is sent, if it is sent one.
#[derive(Default)]
struct Served {
    call: Arc<telemetry::RpcCall>,
    over: bool,
}

impl Served {
    fn new(call: Arc<telemetry::RpcCall>) -> Self {
        Self { call, over: false }
    }

    /// Ends it if there is a status among these.
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(STATUS) {
            self.ended(code_name(Code::from_bytes(code.as_bytes())));
        }
    }

    fn ended(&mut self, code: &'static str) {
        if !self.over {
            self.over = true;
            self.call.ended(code);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It was reset, or its connection is gone.
        self.ended(CANCELLED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_their_paths() {
        let cases = [
            ("/rowgate.v1.DatabaseService/Query", Kind::Call, true),
            ("/rowgate.v1.DatabaseService/StreamQuery", Kind::Call, true),
            ("/rowgate.v1.DatabaseService/Transact", Kind::Transaction, true),
            ("/rowgate.v1.DatabaseServices/Query", Kind::Call, false),
            ("/rowgate.v1.PoolService/WatchPoolStats", Kind::Watch, false),
            ("/rowgate.v1.PoolService/ListPoolStats", Kind::Call, false),
            ("/grpc.health.v1.Health/Watch", Kind::Watch, false),
            ("/grpc.health.v1.Health/Check", Kind::Call, false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Watch, false),
            ("", Kind::Call, false),
        ];
        for (path, kind, of_the_database) in cases {
            assert_eq!(Kind::of(path), kind, "{path}");
            assert_eq!(is_of_the_database(path), of_the_database, "{path}");
        }
    }
}
