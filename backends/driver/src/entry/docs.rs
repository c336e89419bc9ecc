//! What the documentation of functions says that async and blocking crates have alike.
//!
//! Links begin at `crate`, which is the crate that the text appears in. Where a function and a
//! module have the same name, `()` says that the function is meant.

/// The documentation of a function that this crate's name for it stands for, as a literal:
/// `#[doc = countersign_driver::shared_doc!(connect)]`.
///
/// Examples are given the crate's name, a parameter for the runtime and how it is handed on, and
/// how to wait: `"async "` and `".await"`, or nothing where functions block.
#[macro_export]
macro_rules! shared_doc {
    (connect) => {
        "Connects to a listening peer over TCP, and waits until it has accepted this end.

A connection that can't be had, or is lost later, is tried again as
[`Reconnect`](countersign_core::Reconnect) says: for ever by default, so this waits for a peer that is
not there yet. What another attempt can't heal, a pin that does not match or declarations that don't
fit, ends it at once. The log tells of each kind of failure, and once a minute of what is still
waited for.

A name is looked up again for each attempt. Of several addresses the first that answers is taken
(RFC 8305); where that does not lead to the peer, does not get on with the handshake or refuses for
now, the others have their turn. Looking the name up, the TCP connection and the handshake may each
take [`Timeouts::handshake`](countersign_core::Timeouts::handshake). The sockets are set to what links
need.
"
    };
    (connect_errors) => {
        "# Errors

[`LinkError`](crate::LinkError) tells who refused whom and what to change; its
[`can_retry`](crate::LinkError::can_retry) whether trying again can help. What is no address
([`AddressError`](crate::AddressError)) is its [`usage`](crate::LinkError::usage).
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
        "Begins to connect as [`connect`](crate::connect()) does, and gives what can be waited for,
asked for its failures, hastened and given up.
"
    };
    (start_connect_errors) => {
        "# Errors

What is no address, as for [`connect`](crate::connect()). What the system does not give: randomness,
or a thread where links have threads.
"
    };
    (connect_unix) => {
        "Connects to a listening peer over a Unix socket, as [`connect`](crate::connect()) does over TCP.
"
    };
    (start_connect_unix) => {
        "Begins to connect as [`connect_unix`](crate::connect_unix()) does, and gives what can be waited
for, asked for its failures, hastened and given up.
"
    };
    (start_errors) => {
        "# Errors

What the system does not give: randomness, or a thread where links have threads.
"
    };
    (as_connect_errors) => {
        "# Errors

As for [`connect`](crate::connect()).
"
    };
    (pair) => {
        "Makes a link between two declarations in one process, over a connection in memory: for tests,
and for parts that may move apart some day.
"
    };
    (link_over) => {
        "Makes a link over a stream that is already open, and waits until the peer has accepted this end.
Of the two ends one must be the opener and one the acceptor. The link ends with the stream.

The stream may have carried other bytes before, of a protocol that the two ends spoke until now.
"
    };
    (listen) => {
        "Listens on a TCP address; port 0 lets the system choose one. Where a name has several addresses,
it listens on all of them, at the same port.

[`Limits`](crate::Limits) are the default ones; [`listen_with`](crate::listen_with()) takes others.
"
    };
    (listen_errors) => {
        "# Errors

What the operating system says, that the address is in use, say; of the kind
[`InvalidInput`](std::io::ErrorKind::InvalidInput), with an [`AddressError`](crate::AddressError)
inside, for what is none.
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
        // It is about one peer: there are others.
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
        "Listens as [`listen`](crate::listen()) does, with other limits than the default ones.
"
    };
    (as_listen_errors) => {
        "# Errors

As for [`listen`](crate::listen()).
"
    };
    (listen_unix) => {
        "Listens on a Unix socket. Its file is removed with the listener; one that is left from a process
which is gone is replaced.

# Errors

What the operating system says, that somebody listens there already, say.
"
    };
    (secure_connect) => {
        "Opens a TCP connection and secures it, as its opener: see
[`secure_over`](crate::secure_over()).

Of several addresses the first that answers is taken (RFC 8305). Looking the name up, the TCP
connection and the handshake may each take
[`StreamSetup::handshake_limit`](crate::StreamSetup::handshake_limit). Records go out at once
(`TCP_NODELAY`). There is one attempt.
"
    };
    (secure_connect_errors) => {
        "# Errors

What the operating system says of each address, and as for
[`secure_over`](crate::secure_over()).
"
    };
    (secure_over) => {
        "Secures a stream that is open: of the two ends, one is the opener and one the acceptor.

An accepting program calls it with [`Role::Acceptor`](countersign_core::Role::Acceptor) for what its
listening socket has accepted, in a task or thread for each, so that a peer that stalls holds up
nobody else.

The stream may have carried other bytes before, until the two agreed to go on in TLS. What a
buffered reader has read too far belongs to TLS already: see
[`secure_over_with`](crate::secure_over_with()).

Done when this end has accepted the peer. An opener may still be refused after that, since in TLS
1.3 the acceptor judges last: then the first read fails, and tells why. Where this end refuses the
peer, the peer is told, and is given [`StreamSetup::shutdown_limit`](crate::StreamSetup::shutdown_limit)
to hear it.
"
    };
    (secure_over_errors) => {
        "# Errors

Inside of the [`io::Error`](std::io::Error) is a
[`SecurityError`](countersign_endpoint::SecurityError) with one line that says what to change: of the kind
[`PermissionDenied`](std::io::ErrorKind::PermissionDenied) where one end has refused the other's
certificate, [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) where the stream ended, and
[`InvalidData`](std::io::ErrorKind::InvalidData) where what came is not what TLS 1.3 asks for.
[`TimedOut`](std::io::ErrorKind::TimedOut) after
[`StreamSetup::handshake_limit`](crate::StreamSetup::handshake_limit). Else what the stream says.
"
    };
    (secure_over_with) => {
        "Secures a stream as [`secure_over`](crate::secure_over()) does, where `already_read` is what the
caller has read from the stream beyond the point where TLS begins.

# Errors

As for [`secure_over`](crate::secure_over()).
"
    };
    (secure_close) => {
        "Ends this end's direction, and waits until the peer has ended the other. What still comes is
thrown away: to have it, end this end's direction alone and read to the end first.
"
    };
    (secure_close_errors) => {
        "# Errors

[`TimedOut`](std::io::ErrorKind::TimedOut) after
[`StreamSetup::shutdown_limit`](crate::StreamSetup::shutdown_limit); otherwise as for reading, and
what the stream below says if data could not be sent.
"
    };
}
