//! Connections to servers over a network, for every backend whose database is one: addresses, sockets, TLS, the
//! credentials and their rotation, and the order in which servers are tried.
//!
//! It knows no protocol: a backend logs in by itself (`LogIn`).

mod connect_failures;
mod credentials;
mod credentials_command;
mod dialer;
mod login;
mod server_address;
mod slow_servers;
mod socket;
mod targets;
mod tls;

pub(crate) use connect_failures::{AttemptFailure, ConnectFailures};
pub(crate) use credentials::Credentials;
pub(crate) use dialer::{Dialer, LogIn};
pub(crate) use login::Login;
pub(crate) use server_address::ServerAddress;
pub(crate) use socket::{Socket, SocketWatch, open as open_socket};
