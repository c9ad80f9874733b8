//! The other services: health, reflection, pools, the server itself, and HTTP for operators.

use std::time::Duration;

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::{
    DataType, DescribeStatementRequest, GetServerInfoRequest, ListPoolStatsRequest,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use super::contract;
use crate::harness::client::Failure;
use crate::harness::wait::eventually_async;
use crate::harness::{Service, http};

contract! {
    health_knows_its_names
    health_is_watched
    reflection_lists_the_services
    the_older_reflection_lists_the_services
    reflection_knows_the_details_of_errors
    operators_are_told_the_state
    unknown_paths_are_not_found
    pools_are_counted
    an_unknown_pool_is_not_found
    the_server_describes_itself
    a_statement_is_described_and_not_run
    a_statement_that_cannot_be_described_fails_as_a_query_does
    sigterm_ends_it_after_the_last_call
}

/// Health follows the first probe.
const SOON: Duration = Duration::from_secs(10);

const SERVICES: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "rowgate.v1.DatabaseService",
    "rowgate.v1.PoolService",
    "rowgate.v1.ServerService",
];

async fn health_of(service: &Service, name: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: name.to_owned() };
    let answer = HealthClient::new(service.client.channel()).check(request).await;
    answer.map(|answer| answer.get_ref().status()).map_err(|status| status.code())
}

async fn health_knows_its_names(service: Service) {
    for name in ["", "readiness", "liveness", "rowgate.v1.DatabaseService", "database.main"] {
        eventually_async(&format!("`{name}` is SERVING"), SOON, async || {
            let status = health_of(&service, name).await.expect(name);
            (status == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    assert_eq!(health_of(&service, "database.mian").await, Err(Code::NotFound));
}

async fn health_is_watched(service: Service) {
    let request = HealthCheckRequest { service: "readiness".to_owned() };
    let stream = HealthClient::new(service.client.channel()).watch(request).await;
    let mut stream = stream.expect("it is known").into_inner();
    let watch = async {
        while let Some(answer) = stream.message().await.expect("it goes on") {
            if answer.status() == ServingStatus::Serving {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(SOON, watch).await.expect("it serves soon");
}

async fn reflection_lists_the_services(service: Service) {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let list = MessageRequest::ListServices(String::new());
    let Some(MessageResponse::ListServicesResponse(list)) = reflect(&service, list).await else {
        panic!("not a list");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{service} is not among {names:?}");
    }
}

async fn reflect(
    service: &Service,
    message: v1::server_reflection_request::MessageRequest,
) -> Option<v1::server_reflection_response::MessageResponse> {
    use v1::server_reflection_client::ServerReflectionClient;
    let request =
        v1::ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let mut client = ServerReflectionClient::new(service.client.channel());
    let answer = client.server_reflection_info(tokio_stream::once(request)).await;
    let mut stream = answer.expect("it is served").into_inner();
    stream.message().await.expect("it answers").and_then(|answer| answer.message_response)
}

async fn the_older_reflection_lists_the_services(service: Service) {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let list = Some(MessageRequest::ListServices(String::new()));
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: list };
    let mut client = ServerReflectionClient::new(service.client.channel());
    let answer = client.server_reflection_info(tokio_stream::once(request)).await;
    let mut stream = answer.expect("it is served").into_inner();
    let answer = stream.message().await.expect("it answers").expect("one answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"rowgate.v1.DatabaseService"), "{names:?}");
}

async fn reflection_knows_the_details_of_errors(service: Service) {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    for symbol in [
        "rowgate.v1.DatabaseError",
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
        "google.rpc.Status",
    ] {
        let request = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let answer = reflect(&service, request).await;
        let file = matches!(answer, Some(MessageResponse::FileDescriptorResponse(_)));
        assert!(file, "{symbol}: {answer:?}");
    }
}

async fn operators_are_told_the_state(service: Service) {
    assert_eq!(http::get(service.server.ops(), "/livez").await.status, 200);
    eventually_async("/readyz is 200", SOON, async || {
        let answer = http::get(service.server.ops(), "/readyz").await;
        (answer.status == 200).then_some(())
    })
    .await;
    let status = http::get(service.server.ops(), "/status").await;
    assert_eq!(status.status, 200);
    let json = status.json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"), "{json}");
    let text = json["databases"].to_string();
    assert!(text.contains("main") && text.contains("pool"), "{json}");
}

async fn unknown_paths_are_not_found(service: Service) {
    assert_eq!(http::get(service.server.ops(), "/debug").await.status, 404);
}

async fn pools_are_counted(service: Service) {
    service.client.must("select 1", &[]).await;
    let mut client = PoolServiceClient::new(service.client.channel());
    let answer = client.list_pool_stats(ListPoolStatsRequest::default()).await.expect("it runs");
    let answer = answer.into_inner();
    assert!(!answer.instance.is_empty());
    let [pool] = answer.pools.as_slice() else { panic!("not one pool: {answer:?}") };
    assert_eq!(
        (pool.pool.as_str(), pool.backend.as_str()),
        ("main", service.pick("sqlite", "postgres", "mysql"))
    );
    assert!(pool.acquired >= 1 && pool.statements >= 1 && pool.opened >= 1, "{pool:?}");
    assert!(pool.open >= 1 && pool.open <= pool.max, "{pool:?}");
    assert_eq!((pool.in_use + pool.idle, pool.waiting), (pool.open, 0), "{pool:?}");
}

async fn an_unknown_pool_is_not_found(service: Service) {
    let mut client = PoolServiceClient::new(service.client.channel());
    let request = ListPoolStatsRequest { pool: "mian".to_owned() };
    let failure = Failure::from(client.list_pool_stats(request).await.expect_err("no such pool"));
    assert_eq!(failure.what(), (Code::NotFound, "POOL_NOT_FOUND"));
}

async fn the_server_describes_itself(service: Service) {
    let mut client = ServerServiceClient::new(service.client.channel());
    let info = client.get_server_info(GetServerInfoRequest {}).await.expect("it runs").into_inner();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.default_database, "main");
    assert_eq!((info.max_request_size, info.max_response_size), (4 << 20, 4 << 20));
    assert!((5..100).contains(&info.tasks), "{} tasks", info.tasks);
    let [database] = info.databases.as_slice() else { panic!("not one database: {info:?}") };
    assert_eq!(database.backend, service.pick("sqlite", "postgres", "mysql"));
    assert_eq!((database.max_rows, database.max_bytes), (10_000, 3 << 20));
    assert_eq!(database.default_deadline.map(|d| d.seconds), Some(30));
    assert_eq!(database.max_deadline.map(|d| d.seconds), Some(300));
}

async fn a_statement_is_described_and_not_run(service: Service) {
    service.client.must("create table t (id bigint primary key, name text)", &[]).await;
    let describe = async |sql: &str, include_plan| {
        let request =
            DescribeStatementRequest { database: String::new(), sql: sql.to_owned(), include_plan };
        let answer = service.client.raw().describe_statement(request).await;
        answer.map(tonic::Response::into_inner).map_err(Failure::from).expect(sql)
    };
    let read = describe("select id, name from t where id = $1", false).await;
    assert!(read.has_columns && read.read_only, "{read:?}");
    let types: Vec<_> = read.columns.iter().map(rowgate::value::Column::r#type).collect();
    assert_eq!(types, [DataType::Int64, DataType::Text]);
    assert_eq!(read.parameter_types.len(), 1);
    let write = describe("insert into t values (1, 'a')", false).await;
    assert!(!write.has_columns && !write.read_only, "{write:?}");
    let planned = describe("select * from t", true).await;
    // MariaDB calls the access to a whole table ALL.
    let is_mariadb = service.pick(false, false, true) && !service.mariadb().is_mysql();
    let scan = if is_mariadb { "all" } else { "scan" };
    assert!(planned.plan.to_lowercase().contains(scan), "{planned:?}");
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
}

async fn a_statement_that_cannot_be_described_fails_as_a_query_does(service: Service) {
    for (sql, what) in [
        ("select * from nowhere", (Code::InvalidArgument, "UNDEFINED_TABLE")),
        ("begin", (Code::InvalidArgument, "TRANSACTION_CONTROL")),
    ] {
        let request = DescribeStatementRequest { sql: sql.to_owned(), ..Default::default() };
        let status = service.client.raw().describe_statement(request).await.expect_err(sql);
        assert_eq!(Failure::from(status).what(), what, "{sql}");
    }
}

async fn sigterm_ends_it_after_the_last_call(mut service: Service) {
    let slow = service.pick(
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000000) \
         select count(*) from c",
        "select count(*) from (select pg_sleep(1.5)) as slept",
        "select sleep(1.5)",
    );
    let client = service.client.clone();
    let call = tokio::spawn(async move { client.query(slow, &[]).await });
    let mut pools = PoolServiceClient::new(service.client.channel());
    eventually_async("the call runs", SOON, async || {
        let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await.ok()?;
        (answer.get_ref().pools[0].in_use > 0).then_some(())
    })
    .await;
    service.server.signal("TERM");
    let result = call.await.expect("no panic").expect("a call that runs is finished");
    assert_eq!(result.rows.len(), 1);
    let status = service.server.wait_for_exit(Duration::from_secs(10));
    assert!(status.success(), "{status}");
}
