#![allow(missing_docs)]
use countersign_tests::sim::{plan::*, run, scenarios};
#[test]
fn one() {
    let s = scenarios::all()
        .into_iter()
        .find(|s| s.name == "close")
        .unwrap();
    let mut plan = s.plan;
    plan.keys = Some(Keys::new(1));
    plan.trace = true;
    plan.cuts = vec![Cut {
        connection: 0,
        from: 0,
        after: 2137,
        learn: Learn::Both,
    }];
    println!("{:?}", run::run(&plan));
}
