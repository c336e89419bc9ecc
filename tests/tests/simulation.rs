#![allow(missing_docs)]
use countersign_tests::sim::{generate, run};
use std::time::Instant;
#[test]
fn seeds() {
    let begin = Instant::now();
    let mut bad = std::collections::BTreeMap::<String, (u64, String)>::new();
    let mut steps = 0;
    let mut n = 0;
    let mut stale = 0;
    let mut ev = 0;
    let mut v = [0; 6];
    let mut res = 0;
    let mut lost = 0;
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    for seed in run::range("COUNTERSIGN_SEEDS", 0..2000) {
        let mut plan = generate::plan(seed, None);
        plan.trace = std::env::var("TRACE").is_ok();
        n += 1;
        match run::run(&plan) {
            Ok(r) => {
                steps += r.steps;
                stale += r.stale;
                ev += r.evicted;
                res += r.resumes;
                lost += r.lost_sessions;
                for i in 0..6 {
                    v[i] += r.verdicts[i]
                }
                for (k, c) in r.ends {
                    *ends.entry(k).or_default() += c
                }
            }
            Err(e) => {
                let key: String = e.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
                let en = bad.entry(key).or_insert((0, format!("{seed}: {e}")));
                en.0 += 1;
            }
        }
    }
    println!(
        "{n} steps {steps} stale {stale} evicted {ev} {v:?} resumes {res} lost {lost} {:?}",
        begin.elapsed()
    );
    println!("{ends:#?}");
    for (_, v) in bad {
        println!("   BAD {v:?}");
    }
}
