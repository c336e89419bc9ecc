//! All interleavings of small worlds.

use countersign_tests::model::{End, Lane, Setup, search};

#[test]
fn probe() {
    let get = |name: &str, default: u8| std::env::var(name).map_or(default, |v| v.parse().unwrap());
    let up = get("UP", 1);
    let down = get("DOWN", 0);
    let mut lanes = vec![];
    for from in [(End::Opener, up), (End::Acceptor, down)] {
        if from.1 > 0 {
            let mut lane = Lane::new(from.0, from.1);
            lane.manual = get("MANUAL", 0) > 0;
            lane.latest = get("LATEST", 0) > 0;
            lane.expires = get("EXPIRES", 0) > 0;
            lane.window = get("WINDOW", 2).into();
            lane.length = get("LENGTH", 1).into();
            lanes.push(lane);
        }
    }
    let setup = Setup {
        cuts: get("CUTS", 0),
        restarts: get("RESTARTS", 0),
        evictions: get("EVICTIONS", 0),
        closes: get("CLOSES", 0),
        pieces: get("PIECES", 0) > 0,
        buffer: get("BUFFER", 16).into(),
        late_hello: get("LATE", 0) > 0,
        ..Setup::new(lanes)
    };
    let found = search(&setup, get("THREADS", 1).into(), get("STEPS", 0) > 0);
    println!("{found:?}");
    assert!(found.complete);
}
