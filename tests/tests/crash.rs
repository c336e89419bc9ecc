#![allow(missing_docs)]
use countersign_tests::sim::{plan::*, run, scenarios};
use std::time::{Duration, Instant};
#[test]
fn crash() {
    for tls in [false, true] {
        let keys = tls.then(|| Keys::new(1));
        for s in scenarios::all() {
            let begin = Instant::now();
            let mut n = 0;
            let mut steps = 0;
            let mut lost = 0;
            let mut bad = std::collections::BTreeMap::<String, (u64, String)>::new();
            let mut plan = s.plan.clone();
            plan.keys = keys.clone();
            plan.lasting = false;
            plan.net.piece = 24;
            plan.net.rate = Some(24);
            for p in &mut plan.patience {
                p.retain = Duration::from_secs(20)
            }
            for end in [0, 1] {
                for told in [false, true] {
                    for step in 1.. {
                        plan.crash = Some(Crash { step, end, told });
                        n += 1;
                        match run::run(&plan) {
                            Ok(r) => {
                                steps += r.steps;
                                lost += r.lost_sessions;
                                if !r.crashed {
                                    break;
                                }
                            }
                            Err(e) => {
                                let key: String =
                                    e.chars().filter(|c| !c.is_ascii_digit()).collect();
                                let en = bad
                                    .entry(key)
                                    .or_insert((0, format!("{end} {told} {step}: {e}")));
                                en.0 += 1;
                                if step > 6000 {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
            println!(
                "{} tls {tls} runs {n} steps {steps} lost {lost} {:?}",
                s.name,
                begin.elapsed()
            );
            for (_, v) in bad {
                println!("   BAD {v:?}");
            }
        }
    }
}
