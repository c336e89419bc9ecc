//! The documentation that the functions of async and blocking crates share.
//!
//! Doc links begin at `crate`, which is the crate that the text appears in. Where a function and a
//! module have the same name, `()` selects the function.

/// Expands to the shared documentation of the function named, as a literal: `#[doc =
/// countersign_driver::shared_doc!(connect)]`.
///
/// Examples take the crate's name, a parameter for the runtime and the argument that passes it on,
/// and how to wait: `"async "` and `".await"`, or empty strings where functions block.
#[macro_export]
macro_rules! shared_doc {
    (connect) => {
        "Connects to a listening peer over TCP, and waits until it has accepted this end.

A connection that cannot be opened, or is lost later, is retried as
[`Reconnect`](countersign_core::Reconnect) specifies: for ever by default, so this waits for a peer
that is not reachable yet. A failure that a retry cannot mend, such as a pin that does not match or
declarations that do not fit, ends the wait at once. Each kind of failure is logged, with a reminder
once a minute while the link is still waiting.

The name is looked up again for each attempt. If it has several addresses, the first one that
answers is used (RFC 8305); if that one is not the peer, stalls in the handshake or refuses for now,
the others are tried. The look-up, the TCP connection and the handshake may each take
[`Timeouts::handshake`](countersign_core::Timeouts::handshake). Sockets get the options that links
need.
"
    };
    (connect_errors) => {
        "# Errors

[`LinkError`](crate::LinkError) says which end refused the other and what to change;
[`can_retry`](crate::LinkError::can_retry) returns whether trying again can help. An invalid address
([`AddressError`](crate::AddressError)) is reported as [`usage`](crate::LinkError::usage).
"
    };
    (connect_example, $name:literal, $given:literal, $argument:literal, $async:literal, $await:literal) => {
        concat!(
            "# Example

```no_run
use ",
            $name,
            "::{CloseMode, Config, Identity, Pins, Security, SendChannel, Setup, connect};

# ",
            $async,
            "fn operate(",
            $given,
            ") -> Result<(), Box<dyn std::error::Error>> {
// Made by `countersign keygen operator` and `countersign keygen robot`.
let identity = Identity::from_pem_files(\"operator.crt\", \"operator.key\")?;
let security = Security::tls(identity, Pins::from_files([\"robot.crt\"])?).build()?;
let config = Config::new().channel(SendChannel::new(\"commands\"));
let setup = Setup::new(config, security)?;

let link = connect(",
            $argument,
            "\"robot.local:4433\", &setup)",
            $await,
            "?;
let receipt = link.sender(\"commands\")?.send(\"forward\")",
            $await,
            "?;
println!(\"{}\", link.close(CloseMode::Drain)",
            $await,
            ");
println!(\"forward: {:?}\", receipt.verdict());
# Ok(())
# }
```
"
        )
    };
    (start_connect) => {
        "Begins to connect as [`connect`](crate::connect()) does, and returns a handle to wait for the
link, to inspect failed attempts, to retry at once and to cancel.
"
    };
    (start_connect_errors) => {
        "# Errors

An invalid address, as for [`connect`](crate::connect()). The system provides no randomness, or no
thread where links run on threads.
"
    };
    (connect_unix) => {
        "Connects to a listening peer over a Unix socket, as [`connect`](crate::connect()) does over
TCP.
"
    };
    (start_connect_unix) => {
        "Begins to connect as [`connect_unix`](crate::connect_unix()) does, and returns a handle to
wait for the link, to inspect failed attempts, to retry at once and to cancel.
"
    };
    (start_errors) => {
        "# Errors

The system provides no randomness, or no thread where links run on threads.
"
    };
    (as_connect_errors) => {
        "# Errors

As for [`connect`](crate::connect()).
"
    };
    (pair) => {
        "Makes a link between two declarations in one process, over an in-memory connection: for tests,
and for components that may move to separate machines later.
"
    };
    (link_over) => {
        "Makes a link over a stream that is already open, and waits until the peer has accepted this
end. One end must be the opener and the other the acceptor. The link ends with the stream.

The stream may have carried another protocol until now.
"
    };
    (listen) => {
        "Listens on a TCP address; port 0 lets the system choose a port. If a name has several
addresses, the listener uses all of them, with the same port.

Uses the default [`Limits`](crate::Limits); [`listen_with`](crate::listen_with()) takes others.
"
    };
    (listen_errors) => {
        "# Errors

The operating system's error, for example when the address is in use. An invalid address is
[`InvalidInput`](std::io::ErrorKind::InvalidInput) with an [`AddressError`](crate::AddressError)
inside.
"
    };
    (listen_example, $name:literal, $given:literal, $argument:literal, $async:literal, $await:literal) => {
        concat!(
            "# Example

```no_run
use ",
            $name,
            "::{Config, Identity, Pins, ReceiveChannel, Security, Setup, listen};

# ",
            $async,
            "fn obey(",
            $given,
            ") -> Result<(), Box<dyn std::error::Error>> {
let identity = Identity::from_pem_files(\"robot.crt\", \"robot.key\")?;
let security = Security::tls(identity, Pins::from_files([\"operator.crt\"])?).build()?;
let config = Config::new().channel(ReceiveChannel::new(\"commands\"));

let listener = listen(",
            $argument,
            "\"0.0.0.0:4433\", Setup::new(config, security)?)",
            $await,
            "?;
loop {
    let link = match listener.accept()",
            $await,
            " {
        Ok(link) => link,
        Err(error) if error.is_closed() => return Ok(()),
        // The error concerns one peer only: go on accepting.
        Err(error) => {
            listener.log(&error);
            continue;
        }
    };
    let mut commands = link.receiver(\"commands\")?;
    while let Some(command) = commands.recv()",
            $await,
            "? {
        println!(\"{} bytes\", command.len());
    }
}
# }
```
"
        )
    };
    (listen_with) => {
        "Listens as [`listen`](crate::listen()) does, with the given limits.
"
    };
    (as_listen_errors) => {
        "# Errors

As for [`listen`](crate::listen()).
"
    };
    (listen_unix) => {
        "Listens on a Unix socket. Its file is removed with the listener; a file left behind by a
process that has exited is replaced.

# Errors

The operating system's error, for example when another process is listening there already.
"
    };
    (secure_connect) => {
        "Opens a TCP connection and secures it as the opener: see
[`secure_over`](crate::secure_over()).

If the name has several addresses, the first one that answers is used (RFC 8305). The look-up, the
TCP connection and the handshake may each take
[`StreamSetup::handshake_limit`](crate::StreamSetup::handshake_limit). Records are sent at once
(`TCP_NODELAY`). A failed attempt is not retried.
"
    };
    (secure_connect_errors) => {
        "# Errors

The operating system's error for each address, and the errors of
[`secure_over`](crate::secure_over()).
"
    };
    (secure_over) => {
        "Secures a stream that is already open. One end must be the opener and the other the acceptor.

A server calls this with [`Role::Acceptor`](countersign_core::Role::Acceptor) for each stream that
its listening socket has accepted, in a separate task or thread, so that a peer that stalls does not
hold up the others.

The stream may have carried another protocol until both ends switched to TLS. Bytes that a buffered
reader has read beyond that point belong to TLS: pass them to
[`secure_over_with`](crate::secure_over_with()).

Returns once this end has accepted the peer. An opener may still be refused afterwards, since in TLS
1.3 the acceptor verifies last: the first read then fails with the reason. If this end refuses the
peer, it sends an alert and gives the peer
[`StreamSetup::shutdown_limit`](crate::StreamSetup::shutdown_limit) to receive it.
"
    };
    (secure_over_errors) => {
        "# Errors

The [`io::Error`](std::io::Error) contains a
[`SecurityError`](countersign_endpoint::SecurityError) with one line that says what to change. Its
kind is

- [`PermissionDenied`](std::io::ErrorKind::PermissionDenied) if one end has refused the other's
  certificate,
- [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) if the stream ended,
- [`InvalidData`](std::io::ErrorKind::InvalidData) if the peer's data does not conform to TLS 1.3.

After [`StreamSetup::handshake_limit`](crate::StreamSetup::handshake_limit) the error is
[`TimedOut`](std::io::ErrorKind::TimedOut). Otherwise it is the stream's error.
"
    };
    (secure_over_with) => {
        "Secures a stream as [`secure_over`](crate::secure_over()) does, where `already_read` holds the
bytes that the caller has read from the stream beyond the point where TLS begins.

# Errors

As for [`secure_over`](crate::secure_over()).
"
    };
    (secure_close) => {
        "Ends this end's direction, and waits until the peer has ended the other. Data that still
arrives is discarded: to keep it, shut down this end's direction alone and read to the end first.
"
    };
    (secure_close_errors) => {
        "# Errors

[`TimedOut`](std::io::ErrorKind::TimedOut) after
[`StreamSetup::shutdown_limit`](crate::StreamSetup::shutdown_limit); otherwise as for reading, and
the underlying stream's error if data could not be sent.
"
    };
}
