//! Opens a few links, gives orders over each and prints what became of them, all in one thread.
//!
//! ```sh
//! cargo run -p own-loop --bin client -- 127.0.0.1:3000 client.crt client.key server.crt
//! ```
//!
//! It may be started before the server: see there for that one. Stop the server and start it again
//! meanwhile to see what becomes of links whose peer has forgotten them.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant as StdInstant};

use countersign_core::{ChannelConfig, CloseMode, Config, Escaped, Event, Instant, ReceiveError};
use countersign_endpoint::{Identity, Pins, Security};
use own_loop::{Happened, LinkId, OwnLoop};

const LINKS: usize = 3;
/// One after the other, on each link.
const ORDERS: [&str; 4] = ["forward", "left", "stop", "back"];
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, certificate, key, peer] = arguments.as_slice() else {
        return Err("usage: client ADDRESS CERTIFICATE KEY PEER-CERTIFICATE".into());
    };
    let identity = Identity::from_pem_files(certificate, key)?;
    let security = Security::tls(identity, Pins::from_files([peer])?).build()?;
    let config = Config::new()
        .channel(ChannelConfig::send("orders"))
        .channel(ChannelConfig::receive("reports"));

    let mut links = OwnLoop::new()?;
    let mut given = BTreeMap::new();
    for _ in 0..LINKS {
        given.insert(links.connect(address.parse()?, &config, &security)?, 0);
    }

    let begun = StdInstant::now();
    let clock = || Instant::ZERO + begun.elapsed();
    let mut next_orders = Instant::ZERO;
    let mut happened = Vec::new();
    while !links.is_empty() {
        let now = clock();
        // A timer of our own, beside those of the links.
        if now >= next_orders {
            next_orders = now + PAUSE;
            for (id, given) in &mut given {
                order(&mut links, now, *id, given);
            }
        }
        links.service(now, &mut happened)?;
        for what in happened.drain(..) {
            tell(&what);
            match what {
                Happened::Event {
                    link,
                    event: Event::Readable(_),
                } => read(&mut links, now, link)?,
                Happened::Ended { link, .. } => {
                    given.remove(&link);
                    links.forget(now, link);
                }
                _ => {}
            }
        }
        let ours = (!given.is_empty()).then_some(next_orders);
        let deadline = links.deadline().into_iter().chain(ours).min();
        let limit = deadline.map(|deadline| deadline.saturating_since(clock()));
        links.wait(limit)?;
    }
    Ok(())
}

/// Gives a link's next order, or closes it in order after the last. Also without a connection: it
/// goes out when there is one.
fn order(links: &mut OwnLoop, now: Instant, id: LinkId, given: &mut usize) {
    let Some(link) = links.link_mut(id) else {
        return;
    };
    let (Some(order), Some(orders)) = (ORDERS.get(*given), link.channel_id("orders")) else {
        link.close(now, CloseMode::Drain);
        return;
    };
    match link.send(now, orders, *order, None) {
        Ok(_) => *given += 1,
        Err(not_sent) => println!("{id:?}: {order}: {}", not_sent.why),
    }
}

fn read(links: &mut OwnLoop, now: Instant, id: LinkId) -> Result<(), ReceiveError> {
    let Some(link) = links.link_mut(id) else {
        return Ok(());
    };
    if let Some(reports) = link.channel_id("reports") {
        loop {
            match link.take(now, reports) {
                Ok(Some(report)) => {
                    let words = String::from_utf8_lossy(&report.payload);
                    println!("{id:?}: {}", Escaped::new(words));
                }
                Ok(None) => break,
                Err(border @ ReceiveError::SessionBorder(_)) => println!("{id:?}: {border}"),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn tell(what: &Happened) {
    match what {
        Happened::Lost { link, error } => println!("{link:?} connects again: {error}"),
        Happened::NotConnected { link, error } => println!("{link:?} tries again: {error}"),
        Happened::Ended { link, error } => println!("{link:?} has ended: {error}"),
        Happened::Event { link, event } => match event {
            Event::Connected => println!("{link:?} is up"),
            Event::Resumed => println!("{link:?} goes on"),
            Event::SessionLost(why) => println!("{link:?} begins anew: {why}"),
            Event::Handled { first, last, .. } => println!("{link:?}: {first} to {last} handled"),
            Event::Verdict {
                sequence, verdict, ..
            } => println!("{link:?}: {sequence} {verdict}"),
            _ => {}
        },
        _ => {}
    }
}
