//! Takes orders over any number of links, in one thread: what `countersign pipe send` sends.
//! `cargo run -p own-loop -- 127.0.0.1:3000 server.crt server.key client.crt`
//! (`countersign keygen` makes these files.)

use std::error::Error;
use std::time::Instant as StdInstant;

use countersign_core::{
    Config, DEFAULT_CHANNEL, Escaped, Event, Instant, ReceiveChannel, ReceiveError,
};
use countersign_endpoint::{Identity, Pins, Security};
use own_loop::{Limits, LinkId, LinksEvent, OwnLoop};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, certificate, key, peer] = arguments.as_slice() else {
        return Err("usage: own-loop ADDRESS CERTIFICATE KEY PEER-CERTIFICATE".into());
    };
    let identity = Identity::from_pem_files(certificate, key)?;
    let security = Security::tls(identity, Pins::from_files([peer])?).build()?;
    let config = Config::new().channel(ReceiveChannel::new(DEFAULT_CHANNEL));
    let mut links = OwnLoop::new()?;
    links.listen(address.parse()?, &config, &security, Limits::default())?;
    // The program's clock. The loop knows only the times that are passed to it.
    let begun = StdInstant::now();
    let clock = || Instant::ZERO + begun.elapsed();
    let mut events = Vec::new();
    loop {
        links.service(clock, &mut events)?;
        for event in events.drain(..) {
            println!("{event:?}");
            match event {
                LinksEvent::Event { link, event } => obey(&mut links, clock(), link, &event)?,
                LinksEvent::Ended { link, .. } => links.forget(clock(), link),
                _ => {}
            }
        }
        // Anything else that this program does in its loop would go here.
        let deadline = links.deadline();
        links.wait(deadline.map(|deadline| deadline.saturating_since(clock())))?;
    }
}

fn obey(links: &mut OwnLoop, now: Instant, id: LinkId, event: &Event) -> Result<(), ReceiveError> {
    if let Event::Readable(orders) = *event
        && let Some(link) = links.link_mut(id)
    {
        while let Some(order) = link.take(now, orders)? {
            println!("{}", Escaped::new(String::from_utf8_lossy(&order.payload)));
        }
    }
    Ok(())
}
