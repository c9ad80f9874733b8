//! Listeners: how they are bound, and the file of a Unix socket.

use std::fs;
use std::io::{self, ErrorKind as IoErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::ListenAddress;
use crate::error::{Error, ErrorKind, Result};

/// The listener's backlog, where the system allows it: std's 128 are too few for the clients of a replica that has
/// ended, and a client that does not fit retries after a second.
const BACKLOG: i32 = 4096;

/// The permissions of a socket: those who may write to it may connect.
const MODE: u32 = 0o660;

/// The listener for services.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file is removed first: as long as the socket is open, nobody else's file can have its inode.
    Unix(SocketFile, UnixListener),
}

impl Listener {
    /// Binds an address; returns the one that it got, which has its port.
    pub(crate) fn bind(address: &ListenAddress) -> Result<(Self, ListenAddress)> {
        match address {
            ListenAddress::Tcp(address) => {
                let (listener, address) = bind_tcp(*address)?;
                Ok((Self::Tcp(listener), ListenAddress::Tcp(address)))
            }
            ListenAddress::Unix(path) => {
                let bound = unix_listener(path).map_err(|error| cannot_listen(address, error));
                let (file, listener) = bound?;
                Ok((Self::Unix(file, listener), address.clone()))
            }
        }
    }
}

/// Binds an address of TCP; returns the one that it got, which has its port.
pub(crate) fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    tcp_listener(address).map_err(|error| cannot_listen(&ListenAddress::Tcp(address), error))
}

fn cannot_listen(address: &ListenAddress, cause: io::Error) -> Error {
    let hint = match address {
        ListenAddress::Tcp(_) => "Choose another address with --listen or --ops-listen.",
        ListenAddress::Unix(_) => {
            "Choose a path in a directory that this process may write to, with --listen."
        }
    };
    Error::new(ErrorKind::Internal, format!("cannot listen on {address}"))
        .with_cause(cause)
        .with_hint(hint)
}

fn tcp_listener(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As std does: a restarted server gets its address at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn unix_listener(path: &Path) -> io::Result<(SocketFile, UnixListener)> {
    let address = SockAddr::unix(path)?;
    remove_dead(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile::of(path)?;
    // Before it listens: until then nobody can connect, whatever the umask allows.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((file, UnixListener::from(socket)))
}

/// Removes the socket of a server that has ended. Whatever else is there stays, and is an error.
fn remove_dead(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            IoErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full must not be waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == IoErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) => Err(io::Error::new(IoErrorKind::AddrInUse, "another server listens there")),
        Err(error) if error.kind() == IoErrorKind::WouldBlock => {
            Err(io::Error::new(IoErrorKind::AddrInUse, "another server listens there"))
        }
        Err(error) => Err(error),
    }
}

/// The file of a socket; dropped, it is removed, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and the inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "socket not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_everything_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let (file, listener) = unix_listener(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        UnixStream::connect(&path).unwrap();
        assert_eq!(unix_listener(&path).unwrap_err().kind(), IoErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
        let later = unix_listener(&path).unwrap();
        drop((file, listener));
        UnixStream::connect(&path).expect("the file is that of the later one");
        drop(later);
        assert!(!path.exists(), "it was removed");
        fs::write(&path, "no socket").unwrap();
        assert_eq!(unix_listener(&path).unwrap_err().kind(), IoErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "no socket");
    }
}
