//! Opening a connection: the servers and their addresses, TLS, authentication, session attributes.

mod baseline;
mod cancel_request;
pub(crate) mod capabilities;
mod connect_errors;
mod connector;
mod driver_login;
mod driver_stream;
mod driver_task;
mod opened_connection;
mod pooler;
mod role_settings;
mod server_engine;
mod server_probes;
mod server_traits;
mod settings_script;

pub(crate) use connector::Connector;
pub(crate) use opened_connection::OpenedConnection;
