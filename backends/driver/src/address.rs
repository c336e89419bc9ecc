//! The address of a peer, or to listen on: a host and a port.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::str::FromStr;

use crate::open::with_address;

/// The longest host name, in bytes (RFC 1035, section 2.3.4), with a trailing dot.
const LONGEST_HOST: usize = 254;

/// The address of a peer, or to listen on: a host and a port, or socket addresses.
///
/// Written as `robot.local:4433`, `192.0.2.1:4433`, `[2001:db8::1]:4433` or, with an interface,
/// `[fe80::1%eth0]:4433`. Functions that connect or listen take anything that converts into one:
/// text, a pair of host and port, socket addresses.
///
/// ```
/// use countersign_driver::{Address, AddressFault};
///
/// let robot: Address = "robot.local:4433".parse()?;
/// assert_eq!(robot.to_string(), "robot.local:4433");
/// let error = "https://robot.local".parse::<Address>().unwrap_err();
/// assert_eq!(error.fault(), AddressFault::Url);
/// # Ok::<(), countersign_driver::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(Target);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// To be looked up.
    Name {
        host: String,
        port: u16,
    },
    Known(Vec<SocketAddr>),
}

/// An invalid address, and what is wrong with it. No attempt was made to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    fault: AddressFault,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressFault {
    /// The text is empty.
    Empty,
    /// There is no port.
    NoPort,
    /// The port is not a number up to 65535.
    Port,
    /// The port to connect to is zero, which only listeners can use, for any free port.
    PortZero,
    /// There is no host, or `*` in its place.
    NoHost,
    /// No host can have this name.
    Host,
    /// An IPv6 address without brackets around it, or brackets around something else.
    Brackets,
    /// A URL.
    Url,
    /// A user name precedes the host.
    User,
}

impl AddressError {
    fn new(text: impl fmt::Display, fault: AddressFault) -> Self {
        let text = text.to_string();
        Self { text, fault }
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn fault(&self) -> AddressFault {
        self.fault
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.escape_debug();
        match self.fault {
            AddressFault::Empty => {
                f.write_str("an address is empty; name a host and a port, as in robot.local:4433")
            }
            AddressFault::NoPort => {
                write!(f, "'{text}' has no port; add one, as in robot.local:4433")
            }
            AddressFault::Port => {
                write!(f, "the port of '{text}' is not a number from 0 to 65535")
            }
            AddressFault::PortZero => write!(
                f,
                "nobody can be reached at port 0 of '{text}'; name the port on which the peer listens"
            ),
            AddressFault::NoHost => {
                let port = self.text.rsplit(':').next().unwrap_or_default();
                write!(
                    f,
                    "'{text}' has no host; all addresses of this machine are [::]:{port}, those of \
                     IPv4 0.0.0.0:{port}"
                )
            }
            AddressFault::Host => write!(f, "no host can have the name in '{text}'"),
            AddressFault::Brackets => write!(
                f,
                "'{text}': an IPv6 address, and nothing else, has brackets around it, as in \
                 [fe80::1%eth0]:4433"
            ),
            AddressFault::Url => write!(
                f,
                "'{text}' is a URL; leave the host and the port, as in robot.local:4433"
            ),
            AddressFault::User => write!(
                f,
                "'{text}' has a user in front of the host; leave the host and the port, as in \
                 robot.local:4433"
            ),
        }
    }
}

impl Error for AddressError {}

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Makes an [`InvalidInput`](io::ErrorKind::InvalidInput) with this error inside, for functions
/// that return errors of the operating system.
impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl Address {
    /// Converts anything that can be an address.
    ///
    /// # Errors
    ///
    /// The address is invalid.
    pub fn of(
        address: impl TryInto<Self, Error: Into<AddressError>>,
    ) -> Result<Self, AddressError> {
        address.try_into().map_err(Into::into)
    }

    /// As [`Address::of`], for an address to connect to.
    ///
    /// # Errors
    ///
    /// The address is invalid, or its port is zero.
    pub fn of_peer(
        address: impl TryInto<Self, Error: Into<AddressError>>,
    ) -> Result<Self, AddressError> {
        let address = Self::of(address)?;
        let is_zero = match &address.0 {
            Target::Name { port, .. } => *port == 0,
            Target::Known(known) => known.iter().any(|known| known.port() == 0),
        };
        if is_zero {
            return Err(AddressError::new(&address, AddressFault::PortZero));
        }
        Ok(address)
    }

    /// Returns the addresses that `lookup` finds for the host and the port, in the order in which
    /// the system prefers them. Socket addresses are returned without a look-up.
    ///
    /// # Errors
    ///
    /// The error of `lookup`, with the name.
    pub async fn resolve<F, I>(
        &self,
        lookup: impl FnOnce(String, u16) -> F,
    ) -> io::Result<Vec<SocketAddr>>
    where
        F: Future<Output = io::Result<I>>,
        I: IntoIterator<Item = SocketAddr>,
    {
        match &self.0 {
            Target::Known(known) => Ok(known.clone()),
            Target::Name { host, port } => match lookup(host.clone(), *port).await {
                Ok(found) => Ok(found.into_iter().collect()),
                Err(error) => Err(with_address(self, &error)),
            },
        }
    }

    fn parse(text: &str) -> Result<Self, AddressFault> {
        if let Ok(known) = text.parse::<SocketAddr>() {
            return Ok(known.into());
        }
        if text.is_empty() {
            return Err(AddressFault::Empty);
        }
        if is_number(text) && text.parse::<u16>().is_ok() {
            return Err(AddressFault::NoHost);
        }
        if text.contains("://") {
            return Err(AddressFault::Url);
        }
        if text.contains('@') {
            return Err(AddressFault::User);
        }
        if is_ipv6(text) {
            // Without brackets, the last group may be a port or a part of the address.
            return Err(AddressFault::Brackets);
        }
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            None => text.rsplit_once(':').ok_or(AddressFault::NoPort)?,
            Some(None) => return Err(AddressFault::Brackets),
            Some(Some((host, rest))) if is_ipv6(host) => {
                (host, rest.strip_prefix(':').ok_or(AddressFault::NoPort)?)
            }
            Some(Some(_)) => return Err(AddressFault::Brackets),
        };
        let port = port.parse().ok().filter(|_| is_number(port));
        let port = port.ok_or(if text.ends_with(':') {
            AddressFault::NoPort
        } else {
            AddressFault::Port
        })?;
        Self::at(host, port)
    }

    fn at(host: &str, port: u16) -> Result<Self, AddressFault> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok((address, port).into());
        }
        if host.is_empty() || host == "*" {
            return Err(AddressFault::NoHost);
        }
        if host.contains(':') && !is_ipv6(host) {
            return Err(AddressFault::Brackets);
        }
        let is_foreign = |c: char| c.is_whitespace() || c.is_control() || "/\\?#[]@".contains(c);
        let is_name = !host.contains(':');
        if host.len() > LONGEST_HOST
            || host.contains(is_foreign)
            || (is_name && !is_resolvable(host))
        {
            return Err(AddressFault::Host);
        }
        let host = host.to_owned();
        Ok(Self(Target::Name { host, port }))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether this name can be resolved at all. No label of a name is empty, except after a trailing
/// dot; and four numbers or more were meant as an IPv4 address. Fewer numbers are an old notation
/// for one, which some systems accept.
fn is_resolvable(host: &str) -> bool {
    let mut parts = host.strip_suffix('.').unwrap_or(host).split('.');
    let numbers = parts.clone().take_while(|part| is_number(part)).count();
    let is_address = numbers >= 4 && numbers == parts.clone().count();
    !is_address && !host.contains('*') && parts.all(|part| !part.is_empty())
}

/// Whether this is an IPv6 address, with or without an interface.
fn is_ipv6(text: &str) -> bool {
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().is_ok()
        && interface.is_none_or(|name| !name.is_empty() && !name.contains(':'))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Name { host, port } => write!(f, "{host}:{port}"),
            Target::Known(known) => {
                for (index, known) in known.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{known}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text).map_err(|fault| AddressError::new(text, fault))
    }
}

/// Implements the conversions from text.
macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl TryFrom<$text> for Address {
            type Error = AddressError;

            fn try_from(text: $text) -> Result<Self, AddressError> {
                text.parse()
            }
        }

        impl TryFrom<($text, u16)> for Address {
            type Error = AddressError;

            fn try_from((host, port): ($text, u16)) -> Result<Self, AddressError> {
                let address = Self::at(&host, port);
                address.map_err(|fault| AddressError::new(format_args!("{host}:{port}"), fault))
            }
        }
    )*};
}

from_text!(&str, String, &String);

/// Implements the conversions from one socket address.
macro_rules! from_known {
    ($($known:ty),*) => {$(
        impl From<$known> for Address {
            fn from(known: $known) -> Self {
                Self(Target::Known(vec![known.into()]))
            }
        }
    )*};
}

from_known!(SocketAddr, SocketAddrV4, SocketAddrV6);
from_known!((IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl From<&[SocketAddr]> for Address {
    fn from(known: &[SocketAddr]) -> Self {
        Self(Target::Known(known.to_vec()))
    }
}

impl From<Vec<SocketAddr>> for Address {
    fn from(known: Vec<SocketAddr>) -> Self {
        Self(Target::Known(known))
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn fault(text: &str) -> AddressFault {
        text.parse::<Address>().unwrap_err().fault()
    }

    /// Returns what is looked up for this address, if anything is.
    fn asked(address: &Address) -> Option<(String, u16)> {
        let mut asked = None;
        let lookup = |host, port| {
            asked = Some((host, port));
            ready(Ok(None))
        };
        let resolved = pin!(address.resolve(lookup)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(resolved, Poll::Ready(Ok(_))));
        asked
    }

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("robot.local:4433", "robot.local", 4433),
            ("localhost:0", "localhost", 0),
            ("a_b:65535", "a_b", 65535),
            ("robot.:1", "robot.", 1),
            ("127.1:1", "127.1", 1),
            ("1.2.3.4.example:1", "1.2.3.4.example", 1),
            ("[fe80::1%eth0]:4433", "fe80::1%eth0", 4433),
            ("fe80::1%eth0:4433", "fe80::1%eth0", 4433),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(asked(&address), Some((host.to_owned(), port)), "{text}");
        }
        for (text, shown) in [
            ("192.0.2.1:4433", "192.0.2.1:4433"),
            ("[::1]:1", "[::1]:1"),
            ("[fe80::1%2]:1", "[fe80::1%2]:1"),
            ("2001:db8:0:0:0:0:0:1:4433", "[2001:db8::1]:4433"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((asked(&address), address.to_string()), (None, shown.into()));
        }
        let shown = "fe80::1%eth0:4433".parse::<Address>().unwrap().to_string();
        assert_eq!(shown, "[fe80::1%eth0]:4433");
    }

    #[test]
    fn what_is_no_address() {
        use AddressFault::{Brackets, Empty, Host, NoHost, NoPort, Port, Url, User};
        for (text, expected) in [
            ("", Empty),
            ("4433", NoHost),
            ("65536", NoPort),
            ("*:4433", NoHost),
            ("*.local:4433", Host),
            ("256.1.1.1:80", Host),
            ("127.0.0.1.5:3", Host),
            ("a..b:33", Host),
            (".b:33", Host),
            (".:33", Host),
            ("robot", NoPort),
            ("robot:", NoPort),
            ("192.0.2.1", NoPort),
            ("[::1]", NoPort),
            ("[::1]4433", NoPort),
            ("robot:http", Port),
            ("robot:65536", Port),
            ("robot:-1", Port),
            ("robot:+1", Port),
            (":4433", NoHost),
            ("::1", Brackets),
            ("fe80::1:4433", Brackets),
            ("fe80::1%eth0", Brackets),
            ("[robot]:1", Brackets),
            ("[::1:1", Brackets),
            ("[::1%]:1", Brackets),
            ("a:b:1", Brackets),
            ("https://robot:4433", Url),
            ("me@robot:4433", User),
            ("robot/path:1", Host),
            ("two words:1", Host),
            ("line\n:1", Host),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        for text in ["4433", ":4433", "*:4433"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            let instead = "are [::]:4433, those of IPv4 0.0.0.0:4433";
            assert!(error.ends_with(instead), "{error}");
        }
        let long = format!("{}:1", "x".repeat(LONGEST_HOST));
        assert!(long.parse::<Address>().is_ok());
        assert_eq!(fault(&format!("x{long}")), Host);
        let error = "a\u{1b}[2J b:1".parse::<Address>().unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
    }

    #[test]
    fn nobody_connects_to_port_zero() {
        let error = Address::of_peer("robot:0").unwrap_err();
        assert_eq!(error.fault(), AddressFault::PortZero);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert!(Address::of_peer(any).is_err() && Address::of(any).is_ok());
        assert!(Address::of_peer(("robot", 1)).is_ok());
        assert!(Address::of_peer(&[][..]).is_ok());
    }

    #[test]
    fn a_name_that_is_not_found_is_named() {
        let address: Address = "robot.invalid:4433".parse().unwrap();
        let lookup = |_, _| ready(Err::<Vec<_>, _>(io::Error::other("no such name")));
        let resolved = pin!(address.resolve(lookup)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = resolved else {
            panic!("{resolved:?}");
        };
        assert_eq!(error.to_string(), "robot.invalid:4433: no such name");
    }
}
