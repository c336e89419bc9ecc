#![allow(missing_docs)]
use countersign_tests::sim::{World, plan::*, run, scenarios};
use std::time::Instant;
#[test]
fn uncut() {
    for tls in [false, true] {
        let keys = tls.then(|| Keys::new(1));
        for s in scenarios::all() {
            let begin = Instant::now();
            let mut n = 0;
            let mut steps = 0;
            let mut bad = std::collections::BTreeMap::<String, (u64, String)>::new();
            let mut plan = s.plan.clone();
            plan.keys = keys.clone();
            for from in [0, 1] {
                for learn in Learn::ALL {
                    for k in 0.. {
                        if tls && learn != Learn::Both {
                            break;
                        }
                        plan.cuts = vec![Cut {
                            connection: 0,
                            from,
                            after: k,
                            learn,
                        }];
                        n += 1;
                        match run::run(&plan) {
                            Ok(r) => {
                                steps += r.steps;
                                if r.cuts == 0 {
                                    break;
                                }
                            }
                            Err(e) => {
                                let key: String =
                                    e.chars().filter(|c| !c.is_ascii_digit()).collect();
                                let en = bad
                                    .entry(key)
                                    .or_insert((0, format!("{from} {learn:?} {k}: {e}")));
                                en.0 += 1;
                                if k > 6000 {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
            println!(
                "{} tls {tls} runs {n} steps {steps} {:?}",
                s.name,
                begin.elapsed()
            );
            for (_, v) in bad {
                println!("   BAD {v:?}");
            }
        }
    }
}
