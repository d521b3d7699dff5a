//! What a power cut at some moment of a recording leaves on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Unit in which unsynced data reaches the disk or does not.
const BLOCK: usize = 4096;

/// How a drive treats what was not synced; what was synced is there in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// It survives in order up to some moment.
    InOrder,
    /// Each block of 4 KiB survives, in any version it had since the sync, or not; a file's length and a directory's
    /// entries independently of it, but each in its own order.
    Blocks,
}

type Node = usize;

/// A file or directory as it was when the recording began.
#[derive(Debug, Clone)]
enum Start {
    Dir(BTreeMap<String, Node>),
    File(Vec<u8>),
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug)]
enum Event {
    /// Entries of directories that change at once; the first one's directory orders it.
    Names(Vec<(Node, String, Option<Node>)>),
    Data(Node, Change),
    SyncBegin(Node, u64),
    SyncEnd(u64),
    /// What was written since the last sync is forgotten as if it had been: no later sync brings it back.
    SyncFailure(Node),
}

/// The events below one directory, in order.
#[derive(Debug)]
pub(crate) struct Recording {
    root: PathBuf,
    starts: Vec<Start>,
    events: Vec<Event>,
    /// The entries of each directory now.
    names: HashMap<Node, BTreeMap<String, Node>>,
    nodes: HashMap<u64, Node>,
    read: usize,
}

impl Recording {
    /// Begins with what lies in `root`, taken as synced.
    pub(crate) fn begin(root: &Path) -> Self {
        let mut recording = Self {
            root: root.to_owned(),
            starts: Vec::new(),
            events: Vec::new(),
            names: HashMap::new(),
            nodes: HashMap::new(),
            read: 0,
        };
        recording.load(root);
        recording
    }

    /// Takes in what the recorder has added to its log, and cuts off a record that a kill left unfinished.
    pub(crate) fn follow(&mut self, log: &Path) {
        let bytes = fs::read(log).unwrap();
        while let Some((raw, next)) = Raw::at(&bytes, self.read) {
            self.take(&raw);
            self.read = next;
        }
        fs::OpenOptions::new().write(true).open(log).unwrap().set_len(self.read as u64).unwrap();
    }

    /// Number of moments at which a cut can be made.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Content of the file `name` in the root just before event `cut`, as the program saw it.
    pub(crate) fn seen(&self, name: &str, cut: usize) -> Vec<u8> {
        let mut node = self.entry_at_start(0, name);
        let mut bytes = Vec::new();
        for event in &self.events[..cut] {
            match event {
                Event::Names(changes) => {
                    for (dir, changed, target) in changes {
                        if *dir == 0 && changed == name {
                            node = *target;
                        }
                    }
                }
                Event::Data(written, change) if Some(*written) == node => apply(&mut bytes, change),
                _ => {}
            }
        }
        bytes
    }

    /// Makes in `target` what a cut just before event `cut` may have left.
    pub(crate) fn rebuild(&self, cut: usize, model: Model, random: &mut fastrand::Rng, target: &Path) {
        let synced = self.synced(cut);
        let last = match model {
            Model::InOrder => random.usize(synced.values().copied().max().unwrap_or(0)..=cut),
            Model::Blocks => cut,
        };
        let names = self.surviving_names(last, model, &synced, random);
        let mut changes: HashMap<Node, Vec<(usize, &Change)>> = HashMap::new();
        let synced_at = |node: &Node, at: usize| self.synced(at).get(node).copied().unwrap_or(0);
        for (at, event) in self.events[..last].iter().enumerate() {
            match event {
                Event::Data(node, change) => changes.entry(*node).or_default().push((at, change)),
                Event::SyncFailure(node) => {
                    let synced = synced_at(node, at);
                    let of_node = changes.entry(*node).or_default();
                    of_node.retain(|(at, change)| *at < synced || matches!(change, Change::Truncate(_)));
                }
                _ => {}
            }
        }
        let bias = [0.1, 0.5, 0.9][random.usize(0..3)];
        let mut content = |node: Node| {
            let changes = changes.remove(&node).unwrap_or_default();
            let from = if model == Model::InOrder { last } else { synced.get(&node).copied().unwrap_or(0) };
            self.surviving_content(node, &changes, from, bias, random)
        };
        self.write_out(0, &names, &mut content, target);
    }

    /// For each node, the beginning of the last sync of it that had ended.
    fn synced(&self, cut: usize) -> HashMap<Node, usize> {
        let (mut begun, mut synced) = (HashMap::new(), HashMap::new());
        for (at, event) in self.events[..cut].iter().enumerate() {
            match event {
                Event::SyncBegin(node, number) => {
                    begun.insert(*number, (*node, at));
                }
                Event::SyncEnd(number) => {
                    let (node, at) = begun[number];
                    let best = synced.entry(node).or_insert(at);
                    *best = at.max(*best);
                }
                _ => {}
            }
        }
        synced
    }

    fn surviving_names(
        &self,
        last: usize,
        model: Model,
        synced: &HashMap<Node, usize>,
        random: &mut fastrand::Rng,
    ) -> HashMap<Node, BTreeMap<String, Node>> {
        let mut per_dir: BTreeMap<Node, Vec<usize>> = BTreeMap::new();
        for (at, event) in self.events[..last].iter().enumerate() {
            if let Event::Names(changes) = event {
                per_dir.entry(changes[0].0).or_default().push(at);
            }
        }
        let mut surviving: BTreeSet<usize> = BTreeSet::new();
        for (dir, events) in per_dir {
            let stable = match model {
                Model::InOrder => events.len(),
                Model::Blocks => events.partition_point(|at| *at < synced.get(&dir).copied().unwrap_or(0)),
            };
            surviving.extend(&events[..random.usize(stable..=events.len())]);
        }
        let mut names: HashMap<Node, BTreeMap<String, Node>> = HashMap::new();
        for (node, start) in self.starts.iter().enumerate() {
            if let Start::Dir(entries) = start {
                names.insert(node, entries.clone());
            }
        }
        for at in surviving {
            if let Event::Names(changes) = &self.events[at] {
                for (dir, name, target) in changes {
                    let entries = names.entry(*dir).or_default();
                    match target {
                        Some(node) => entries.insert(name.clone(), *node),
                        None => entries.remove(name),
                    };
                }
            }
        }
        names
    }

    fn surviving_content(
        &self,
        node: Node,
        changes: &[(usize, &Change)],
        synced: usize,
        bias: f64,
        random: &mut fastrand::Rng,
    ) -> Vec<u8> {
        let mut bytes = match self.starts.get(node) {
            Some(Start::File(start)) => start.clone(),
            _ => Vec::new(),
        };
        let stable = changes.partition_point(|(at, _)| *at < synced);
        for (_, change) in &changes[..stable] {
            apply(&mut bytes, change);
        }
        let open = &changes[stable..];
        let version = |random: &mut fastrand::Rng| match random.f64() {
            roll if roll < bias * 0.9 => open.len(),
            roll if roll < 0.9 => 0,
            _ => random.usize(0..=open.len()),
        };
        let size = open[..version(random)].iter().fold(bytes.len(), |size, (_, change)| match change {
            Change::Write(offset, data) => size.max(offset + data.len()),
            Change::Truncate(size) => *size,
        });
        bytes.resize(size, 0);
        if open.is_empty() {
            return bytes;
        }
        for (block, window) in bytes.chunks_mut(BLOCK).enumerate() {
            for (_, change) in &open[..version(random)] {
                apply_to_block(window, block * BLOCK, change);
            }
        }
        bytes
    }

    fn write_out(
        &self,
        dir: Node,
        names: &HashMap<Node, BTreeMap<String, Node>>,
        content: &mut impl FnMut(Node) -> Vec<u8>,
        target: &Path,
    ) {
        fs::create_dir_all(target).unwrap();
        for (name, node) in names.get(&dir).into_iter().flatten() {
            let path = target.join(name);
            if names.contains_key(node) || self.names.contains_key(node) {
                self.write_out(*node, names, content, &path);
            } else {
                fs::write(path, content(*node)).unwrap();
            }
        }
    }

    fn load(&mut self, path: &Path) -> Node {
        let metadata = fs::metadata(path).unwrap();
        let node = self.starts.len();
        self.nodes.insert(metadata.ino(), node);
        if metadata.is_file() {
            self.starts.push(Start::File(fs::read(path).unwrap()));
            return node;
        }
        self.starts.push(Start::Dir(BTreeMap::new()));
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            entries.insert(entry.file_name().into_string().unwrap(), self.load(&entry.path()));
        }
        self.names.insert(node, entries.clone());
        self.starts[node] = Start::Dir(entries);
        node
    }

    fn entry_at_start(&self, dir: Node, name: &str) -> Option<Node> {
        match &self.starts[dir] {
            Start::Dir(entries) => entries.get(name).copied(),
            Start::File(_) => None,
        }
    }

    fn take(&mut self, raw: &Raw<'_>) {
        let event = match raw.operation {
            b'C' | b'D' => {
                let node = self.starts.len() + self.events.len() + 1_000_000;
                self.nodes.insert(raw.number, node);
                if raw.operation == b'D' {
                    self.names.insert(node, BTreeMap::new());
                }
                let (dir, name) = self.place(raw.first);
                Event::Names(vec![(dir, name, Some(node))])
            }
            b'U' | b'X' => {
                let (dir, name) = self.place(raw.first);
                Event::Names(vec![(dir, name, None)])
            }
            b'R' => {
                let (from, to) = (self.place(raw.first), self.place(raw.second));
                let node = self.names[&from.0][&from.1];
                Event::Names(vec![(to.0, to.1, Some(node)), (from.0, from.1, None)])
            }
            b'W' => Event::Data(self.nodes[&raw.number], Change::Write(raw.offset_usize(), raw.first.to_vec())),
            b'T' => Event::Data(self.nodes[&raw.number], Change::Truncate(raw.offset_usize())),
            b'B' => Event::SyncBegin(self.nodes[&raw.number], raw.offset),
            b'E' => Event::SyncEnd(raw.offset),
            b'F' => Event::SyncFailure(self.nodes[&raw.number]),
            other => panic!("unknown operation {other}"),
        };
        if let Event::Names(changes) = &event {
            for (dir, name, target) in changes {
                let entries = self.names.get_mut(dir).unwrap();
                match target {
                    Some(node) => entries.insert(name.clone(), *node),
                    None => entries.remove(name),
                };
            }
        }
        self.events.push(event);
    }

    /// The directory and the name in it that a recorded path stands for.
    fn place(&self, path: &[u8]) -> (Node, String) {
        let path = Path::new(std::str::from_utf8(path).unwrap()).strip_prefix(&self.root).unwrap();
        let parent = path.parent().unwrap();
        let dir = parent.iter().fold(0, |dir, name| self.names[&dir][name.to_str().unwrap()]);
        (dir, path.file_name().unwrap().to_str().unwrap().to_owned())
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
        Change::Truncate(size) => bytes.resize(*size, 0),
    }
}

/// What a change does to the bytes of a file that begin at `start`.
fn apply_to_block(window: &mut [u8], start: usize, change: &Change) {
    let end = start + window.len();
    match change {
        Change::Write(offset, data) => {
            let (from, to) = (start.max(*offset), end.min(offset + data.len()));
            if from < to {
                window[from - start..to - start].copy_from_slice(&data[from - offset..to - offset]);
            }
        }
        Change::Truncate(size) => window[size.saturating_sub(start).min(end - start)..].fill(0),
    }
}

/// One record of the log, as the recorder describes it.
struct Raw<'a> {
    operation: u8,
    number: u64,
    offset: u64,
    first: &'a [u8],
    second: &'a [u8],
}

impl<'a> Raw<'a> {
    fn at(bytes: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let head = bytes.get(at..at + 25)?;
        let long = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().unwrap());
        let short = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().unwrap()) as usize;
        let (middle, end) = (at + 25 + short(17), at + 25 + short(17) + short(21));
        let (first, second) = (bytes.get(at + 25..middle)?, bytes.get(middle..end)?);
        Some((Self { operation: head[0], number: long(1), offset: long(9), first, second }, end))
    }

    fn offset_usize(&self) -> usize {
        usize::try_from(self.offset).unwrap()
    }
}
