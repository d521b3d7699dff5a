//! Which process holds one end of a TCP connection, as the kernel tells.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Whether the process `pid` holds the IPv4 connection whose near end is `address`.
pub(crate) fn holds(pid: u32, address: SocketAddr) -> bool {
    let Some(inode) = inode(address) else { return false };
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == wanted))
}

/// proc(5): the second column is the near end, address and port in hexadecimal; the tenth the inode.
fn inode(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let near = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(near.as_str()))?;
    line.split_whitespace().nth(9).map(str::to_owned)
}
