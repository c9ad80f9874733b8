//! Processes of this machine as /proc shows them: their processor time and memory, and the time that went to others.

use crate::{Result, fail};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// The unit of processor times in /proc, USER_HZ, which is 100 on every platform of Linux's.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes whose time is told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Gateway,
    Pooler,
    Database,
}

#[derive(Clone, Copy)]
struct Process {
    parent: u32,
    /// Its own time and that of its children which have ended.
    ticks: u64,
}

/// The processor times at one moment.
pub struct Snapshot {
    at: Instant,
    processes: HashMap<u32, Process>,
    stolen: u64,
}

/// The processor seconds between two moments.
pub struct Spent {
    pub seconds: f64,
    pub gateway: f64,
    pub pooler: f64,
    pub database: f64,
    pub loader: f64,
    /// The share of all processors that went to processes which are not ours.
    pub foreign: f64,
}

impl Snapshot {
    pub fn take() -> Result<Self> {
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(process) = process(&entry.path()) {
                processes.insert(id, process);
            }
        }
        Ok(Self { at: Instant::now(), processes, stolen: stolen().unwrap_or_default() })
    }

    pub fn until(&self, end: &Self, known: &[(Role, u32)]) -> Spent {
        let spent = |role| {
            let roots =
                known.iter().filter(|(one, _)| *one == role).map(|(_, id)| *id).collect::<Vec<_>>();
            difference(self.of(&roots), end.of(&roots))
        };
        let own = std::process::id();
        let own_ticks = |at: &Self| at.processes.get(&own).map_or(0, |process| process.ticks);
        let all = |at: &Self| at.processes.values().map(|process| process.ticks).sum::<u64>();
        let seconds = end.at.duration_since(self.at).as_secs_f64();
        let gateway = spent(Role::Gateway);
        let pooler = spent(Role::Pooler);
        let database = spent(Role::Database);
        let loader = difference(own_ticks(self), own_ticks(end));
        let others = difference(all(self), all(end)) - gateway - pooler - database - loader
            + difference(self.stolen, end.stolen);
        let foreign = others.max(0.0) / (seconds * cores() as f64);
        Spent { seconds, gateway, pooler, database, loader, foreign }
    }

    /// The time of the processes and of all that descend from them.
    fn of(&self, roots: &[u32]) -> u64 {
        let descends = |mut id: u32| {
            while let Some(process) = self.processes.get(&id) {
                if roots.contains(&id) {
                    return true;
                }
                id = process.parent;
            }
            false
        };
        self.processes
            .iter()
            .filter(|(id, _)| descends(**id))
            .map(|(_, process)| process.ticks)
            .sum()
    }
}

fn difference(start: u64, end: u64) -> f64 {
    end.saturating_sub(start) as f64 / TICKS_PER_SECOND
}

/// The fields behind the command, which stands in parentheses and may contain anything: proc_pid_stat(5).
fn process(directory: &Path) -> Option<Process> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Process { parent: fields.get(1)?.parse().ok()?, ticks })
}

/// The time that other machines on the same hardware took.
fn stolen() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The resident memory of a process in bytes.
pub fn resident(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    match line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()) {
        Some(kib) => Ok(kib * 1024),
        None => fail("/proc shows no VmRSS"),
    }
}

/// The name of the processor's model.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned())
}
