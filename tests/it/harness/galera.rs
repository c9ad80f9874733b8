//! Three MariaDB servers that are one Galera cluster, on loopback.
//!
//! All begin with the same data, and whoever was away gets what it lacks from another's cache: no node ever needs a
//! copy of another's data, nor the programs that make one.

use std::time::Duration;

use super::mariadb::{Mariadb, PASSWORD, ROLE};
use super::private_server::free_port;
use super::programs::galera_library;
use super::wait::eventually;

/// The longest time until a node has joined.
const JOINED: Duration = Duration::from_secs(60);

/// Tells a node that joins the position from which on it gets what it lacks, through a file, and copies nothing. The
/// name of a method has only letters.
const TRANSFER: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2 ;;
    --address) address=$2 ;;
    --gtid) position=$2 ;;
    --bypass) bypass=1 ;;
  esac
  shift
done
file=${0%/*}/../transfer-${address##*:}
if [ "$role" = joiner ]; then
  rm -f "$file"
  echo "ready $address"
  until [ -s "$file" ]; do sleep 0.02; done
  cat "$file"
  rm -f "$file"
else
  [ -n "$bypass" ] || exit 1
  echo "$position" >"$file.new"
  mv "$file.new" "$file"
  echo "done $position"
fi
"#;

/// Variables of each node, besides its places.
const SETTINGS: [&str; 6] = [
    "wsrep-on=ON",
    "wsrep-sst-method=position",
    "binlog-format=ROW",
    "innodb-autoinc-lock-mode=2",
    "max-connections=100",
    "wsrep-slave-threads=2",
];

/// The cluster.
pub(crate) struct Galera {
    /// The nodes, of which some may be away.
    pub(crate) nodes: [Mariadb; 3],
    settings: [Vec<String>; 3],
}

impl Galera {
    /// A cluster with an empty database `test` on all nodes.
    pub(crate) fn start() -> Self {
        let mut nodes = [(); 3].map(|()| Mariadb::stopped(&[]));
        let settings = settings();
        for node in &nodes {
            node.add_program("wsrep_sst_position", TRANSFER);
        }
        // The first start gives the data a position, which all have in common then.
        nodes[0].set_settings(begins_the_cluster(&settings[0]));
        nodes[0].resume();
        nodes[0].stop();
        for node in &nodes[1..] {
            node.take_data_of(&nodes[0]);
        }
        for (node, settings) in nodes.iter_mut().zip(&settings) {
            node.set_settings(settings.clone());
        }
        nodes[0].set_settings(begins_the_cluster(&settings[0]));
        let mut cluster = Self { nodes, settings };
        for number in 0..3 {
            cluster.nodes[number].resume();
            cluster.await_members(number, number + 1);
        }
        cluster
    }

    /// The URL of all nodes, tried in this order, or in any order with `load_balance_hosts=random` as the query.
    pub(crate) fn url(&self, query: &str) -> String {
        let place = |node: &Mariadb| format!("127.0.0.1:{}", node.port());
        let places: Vec<_> = self.nodes.iter().map(place).collect();
        let password = PASSWORD.replace(' ', "%20");
        format!("mysql://{ROLE}:{password}@{}/test?{query}", places.join(","))
    }

    /// Kills a node as a crash does.
    pub(crate) fn crash(&mut self, number: usize) {
        self.nodes[number].crash();
    }

    /// Lets a node that crashed come back.
    pub(crate) fn rejoin(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let printed = node.run_to_its_end("wsrep-recover");
        let position = printed.lines().find_map(|line| line.split("Recovered position: ").nth(1));
        let position = position.unwrap_or_else(|| panic!("no position is told: {printed}"));
        let mut settings = self.settings[number].clone();
        settings.push(format!("wsrep-start-position={}", position.trim()));
        node.set_settings(settings);
        node.resume();
        self.await_members(number, 3);
    }

    /// Waits until a node has all that the others have, and there are so many of them.
    pub(crate) fn await_members(&self, number: usize, members: usize) {
        let status = "select group_concat(variable_value order by variable_name) \
                      from information_schema.global_status \
                      where variable_name in ('wsrep_cluster_size', 'wsrep_local_state_comment')";
        let expected = format!("{members},Synced");
        eventually("the node has joined", JOINED, || {
            (self.nodes[number].sql(status) == expected).then_some(())
        });
    }
}

/// The settings of each node.
fn settings() -> [Vec<String>; 3] {
    let library = galera_library().expect("galera-4 is installed (scripts/verify galera tells)");
    let groups = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let everybody = groups.join(",");
    groups.map(|group| {
        let mut settings: Vec<_> = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
        settings.extend([
            format!("wsrep-provider={}", library.display()),
            format!("wsrep-cluster-address=gcomm://{everybody}"),
            format!("wsrep-node-address={group}"),
            format!("wsrep-sst-receive-address=127.0.0.1:{}", free_port()),
            format!(
                "wsrep-provider-options=gmcast.listen_addr=tcp://{group};\
                 ist.recv_addr=127.0.0.1:{};gcache.size=64M",
                free_port()
            ),
        ]);
        settings
    })
}

fn begins_the_cluster(settings: &[String]) -> Vec<String> {
    let mut settings = settings.to_vec();
    settings.push("wsrep-new-cluster".to_owned());
    settings
}
