//! Server reflection: a caller is told of its own methods.

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::Status;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::Guarded;
use crate::harness::Backend;
use crate::harness::client::Client;

async fn reflect(client: &Client, message: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let mut reflection = ServerReflectionClient::new(client.wire());
    let answer = reflection.server_reflection_info(tokio_stream::once(request)).await;
    let answer = answer.expect("it is listed").into_inner().message().await?;
    Ok(answer.and_then(|it| it.message_response).expect("it answers"))
}

/// Returns the methods of a service; `None` if there is none for this caller.
async fn methods_of(client: &Client, service: &str) -> Option<Vec<String>> {
    let asked = reflect(client, MessageRequest::FileContainingSymbol(service.to_owned())).await;
    let Ok(MessageResponse::FileDescriptorResponse(files)) = asked else { return None };
    let files = files.file_descriptor_proto.iter();
    let files = files.map(|file| FileDescriptorProto::decode(&**file).expect("it is one"));
    let services = files.flat_map(|file| file.service);
    let found = services.filter(|found| service.ends_with(found.name()));
    Some(found.flat_map(|it| it.method).map(|method| method.name().to_owned()).collect())
}

#[tokio::test]
async fn reflection_tells_a_caller_of_the_methods_that_it_may_call() {
    let callers = [
        ("reader", "databases = ['main']\nrpcs = ['Query', 'ServerReflectionInfo']"),
        ("operator", "databases = ['main']\nrpcs = METHODS"),
    ];
    let guarded = Guarded::start(Backend::Sqlite, &callers).await;
    let reader = guarded.client("reader");
    let operator = guarded.client("operator");
    let database = "rowgate.v1.DatabaseService";
    let pool = "rowgate.v1.PoolService";
    assert_eq!(methods_of(&reader, database).await, Some(vec!["Query".to_owned()]));
    assert_eq!(methods_of(&reader, pool).await, None);
    assert!(methods_of(&operator, database).await.is_some_and(|found| found.len() > 4));
    assert!(methods_of(&operator, pool).await.is_some_and(|found| found.len() > 4));
    let listed = reflect(&reader, MessageRequest::ListServices(String::new())).await;
    let Ok(MessageResponse::ListServicesResponse(listed)) = listed else { panic!("{listed:?}") };
    let listed: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(listed.contains(&"grpc.health.v1.Health"), "{listed:?}");
    assert!(listed.contains(&database), "{listed:?}");
    assert!(!listed.contains(&pool), "{listed:?}");
}
