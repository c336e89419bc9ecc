//! What an idle connection holds.

use super::*;

#[test]
fn an_idle_connection_holds_no_buffers() {
    let (securities, _) = securities();
    for mut ends in [pair(), secure_pair(&securities)] {
        ends[0].send("one");
        run(&mut ends);
        assert_eq!(ends[1].take(), [b"one"]);
        run(&mut ends);
        for end in &mut ends {
            end.1.release();
            assert_eq!(held(end), 0, "{:?}", end.1);
        }
        // What is on its way stays.
        ends[0].send("two");
        let _ = ends[0].shows();
        ends[0].1.release();
        assert_eq!(held(&ends[0]), 1, "{:?}", ends[0].1);
    }
}
