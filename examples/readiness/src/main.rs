//! `cargo run -p readiness -- 127.0.0.1:3000 server.crt server.key client.crt`

use std::error::Error;
use std::time::{Duration, Instant as StdInstant};

use countersign_core::Instant;
use countersign_endpoint::{Identity, Pins, Security};
use readiness::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, certificate, key, peers @ ..] = arguments.as_slice() else {
        return Err("usage: readiness ADDRESS CERTIFICATE KEY PEER-CERTIFICATE...".into());
    };
    let identity = Identity::from_pem_files(certificate, key)?;
    let security = Security::tls(identity, Pins::from_files(peers)?).build()?;
    let mut server = Server::new(address.parse()?, &security)?;
    let begun = StdInstant::now();
    loop {
        server.service(|| Instant::ZERO + begun.elapsed(), &mut |what| {
            println!("{what:?}");
        });
        std::thread::sleep(Duration::from_millis(5)); // or the rest of the program's loop
    }
}
