//! What a process uses, as Linux tells it.

use std::fs;
use std::time::Duration;

use crate::peers::Failure;

/// Sockets, pollers and wakers that a server may need for each link, at most.
const FILES_PER_LINK: usize = 4;
/// Files for anything else.
const OTHER_FILES: usize = 200;
/// Linux counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What this process has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Bytes in memory.
    pub(super) resident: u64,
    /// Processor time, of all threads.
    pub(super) cpu: Duration,
    /// How often its threads went to sleep, to be woken again.
    pub(super) switches: u64,
}

impl Usage {
    /// What it is now.
    pub(super) fn now() -> Result<Self, Failure> {
        let stat = fs::read_to_string("/proc/self/stat")
            .map_err(|_| "only Linux tells what a process uses")?;
        // Behind the name, which may contain anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let ticks = |at: usize| -> Result<u32, Failure> {
            Ok(fields.get(at).ok_or("a short /proc/self/stat")?.parse()?)
        };
        let mut switches = 0;
        for task in fs::read_dir("/proc/self/task")? {
            let status = fs::read_to_string(task?.path().join("status"));
            // A thread may have ended meanwhile.
            switches += status.map_or(Ok(0), |text| figure(&text, "voluntary_ctxt_switches:"))?;
        }
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Self {
            resident: figure(&status, "VmRSS:")? * 1024,
            cpu: TICK * (ticks(11)? + ticks(12)?),
            switches,
        })
    }
}

fn figure(status: &str, name: &str) -> Result<u64, Failure> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure
        .ok_or_else(|| format!("no {name} in /proc"))?
        .parse()?)
}

/// Lets this process open as many files as that many links need.
pub(super) fn raise_file_limit(links: usize) -> Result<(), Failure> {
    let needed = (links * FILES_PER_LINK + OTHER_FILES) as u64;
    let least = (links + OTHER_FILES) as u64;
    let got = rlimit::increase_nofile_limit(needed)?;
    if got < least {
        return Err(format!(
            "{links} links need {least} open files, and {got} are allowed: raise the hard limit with `ulimit -Hn`"
        )
        .into());
    }
    Ok(())
}
