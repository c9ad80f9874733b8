//! Connect and gRPC-Web, by hand, over HTTP/1.1 and HTTP/2: the cases that their specifications name.

mod browsers;
mod connections;
mod forms;
mod gets;
mod json_results;
mod messages;
mod page_examples;
mod ports;
mod web_errors;
mod web_streams;
