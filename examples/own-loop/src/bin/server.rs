//! Accepts links, takes orders and reports what came of them, all in one thread.
//!
//! ```sh
//! cargo run -- keygen server
//! cargo run -- keygen client
//! cargo run -p own-loop --bin server -- 127.0.0.1:3000 server.crt server.key client.crt
//! ```
//!
//! and in another terminal the client: see there.

use std::error::Error;
use std::time::Instant as StdInstant;

use countersign_core::{ChannelConfig, Config, Escaped, Event, Instant, ReceiveError};
use countersign_endpoint::{Identity, Pins, Security};
use own_loop::{Happened, Limits, LinkId, OwnLoop};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, certificate, key, peer] = arguments.as_slice() else {
        return Err("usage: server ADDRESS CERTIFICATE KEY PEER-CERTIFICATE".into());
    };
    let identity = Identity::from_pem_files(certificate, key)?;
    let security = Security::tls(identity, Pins::from_files([peer])?).build()?;
    let config = Config::new()
        .channel(ChannelConfig::receive("orders").manual())
        .channel(ChannelConfig::send("reports"));

    let mut links = OwnLoop::new()?;
    let limits = Limits::default();
    let listener = links.listen(address.parse()?, &config, &security, limits)?;
    println!("listening on {:?}", links.address(listener));

    // Our clock. All that the loop knows of time is what it is told.
    let begun = StdInstant::now();
    let clock = || Instant::ZERO + begun.elapsed();
    let mut happened = Vec::new();
    loop {
        let now = clock();
        links.service(now, &mut happened)?;
        for what in happened.drain(..) {
            tell(&what);
            match what {
                Happened::Event {
                    link,
                    event: Event::Readable(_),
                } => obey(&mut links, now, link)?,
                Happened::Ended { link, .. } => links.forget(now, link),
                _ => {}
            }
        }
        // Whatever else this program does in its loop would be done here.
        let limit = links
            .deadline()
            .map(|deadline| deadline.saturating_since(clock()));
        links.wait(limit)?;
    }
}

/// Carries out the orders that have come.
fn obey(links: &mut OwnLoop, now: Instant, id: LinkId) -> Result<(), ReceiveError> {
    let Some(link) = links.link_mut(id) else {
        return Ok(());
    };
    let (Some(orders), Some(reports)) = (link.channel_id("orders"), link.channel_id("reports"))
    else {
        return Ok(());
    };
    loop {
        let order = match link.take(now, orders) {
            Ok(Some(order)) => order,
            Ok(None) => return Ok(()),
            Err(border @ ReceiveError::SessionBorder(_)) => {
                println!("{id:?}: {border}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let words = String::from_utf8_lossy(&order.payload).into_owned();
        println!("{id:?}: {}", Escaped::new(&words));
        if words.starts_with("stop") {
            link.reject(now, orders, order.sequence, 1, "this one never stops")?;
            continue;
        }
        link.handle(now, orders, order.sequence)?;
        // A channel without room, or a link that is being closed, goes without a report.
        if let Err(not_sent) = link.send(now, reports, format!("did {words}"), None) {
            println!("{id:?}: no report: {}", not_sent.why);
        }
    }
}

fn tell(what: &Happened) {
    match what {
        Happened::Accepted { link, from, .. } => println!("{link:?} from {from}"),
        Happened::Refused { from, error, .. } => println!("refused {from}: {error}"),
        Happened::Lost { link, error } => println!("{link:?} waits for its peer: {error}"),
        Happened::Ended { link, error } => println!("{link:?} has ended: {error}"),
        Happened::Event {
            link,
            event: Event::Resumed,
        } => println!("{link:?} is back"),
        _ => {}
    }
}
