//! A virtual machine whose power can be cut: a kernel, a program of ours and a disk of its own, and nothing else.
//!
//! What the machine's kernel holds in memory is gone when the emulator is killed; what it has written to its disk is in
//! the image. The files come out of the image as the next start would find them: journal replayed, nothing mended.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest time for a line of the console; an emulated kernel takes some 20 s to start on a quiet machine.
const LINE_WITHIN: Duration = Duration::from_secs(180);
/// Size of the machine's disk.
const DISK_BYTES: u64 = 512 * 1024 * 1024;
/// What the program has said is told from the kernel's words by this.
pub(crate) const SAYS: &str = "SAYS ";
/// What is said when the program has ended.
const ENDED: &str = "ended";

/// A machine that can be started again and again on one disk.
pub(crate) struct Machine {
    kernel: PathBuf,
    initrd: PathBuf,
    disk: PathBuf,
}

/// A machine that runs.
pub(crate) struct Running {
    emulator: Child,
    lines: Receiver<String>,
}

/// Where `scripts/fetch-vm` has put kernel and shell; `None` when they were left out on purpose.
pub(crate) fn guest() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/vm");
    let is_wanted = std::env::var_os("AIVMS_WITHOUT_VM").is_none() && cfg!(target_arch = "x86_64");
    assert!(!is_wanted || folder.join("ready").exists(), "run scripts/fetch-vm, or set AIVMS_WITHOUT_VM=1");
    is_wanted.then_some(folder)
}

impl Machine {
    /// Makes a machine in `folder` that runs this very program with `arguments` and `environment`; its disk is mounted
    /// at `/data` and holds what `content` does.
    pub(crate) fn new(
        folder: &Path,
        guest: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        content: &Path,
    ) -> Self {
        let program = folder.join("program");
        run(Command::new("strip").arg("-s").arg("-o").arg(&program).arg(std::env::current_exe().unwrap()));
        let mut archive = Archive(File::create(folder.join("initrd")).unwrap(), 0);
        for dir in ["bin", "dev", "proc", "sys", "data", "tmp", "modules"] {
            archive.folder(dir);
        }
        archive.file("bin/busybox", &guest.join("busybox"), 0o755);
        archive.file("bin/program", &program, 0o755);
        for library in libraries(&program) {
            archive.with_parents(&library, 0o755);
        }
        for module in fs::read_dir(guest.join("modules")).unwrap() {
            let path = module.unwrap().path();
            archive.file(&format!("modules/{}", path.file_name().unwrap().to_str().unwrap()), &path, 0o644);
        }
        archive.entry("init", 0o100_755, init(arguments, environment).as_bytes());
        archive.entry("TRAILER!!!", 0, &[]);
        let disk = folder.join("disk.img");
        File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        run(Command::new("/sbin/mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(content).arg(&disk));
        Self { kernel: guest.join("vmlinuz"), initrd: folder.join("initrd"), disk }
    }

    /// Switches the machine on.
    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "768"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd);
        command.args(["-append", "console=ttyS0 quiet panic=-1"]);
        // What the guest's kernel believes to be on the disk is in the image when the emulator dies.
        command.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=writethrough", self.disk.display()));
        command.args(["-nographic", "-no-reboot", "-net", "none"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut emulator = command.spawn().expect("qemu-system-x86_64; run scripts/fetch-vm");
        let console = BufReader::new(emulator.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in console.lines().map_while(Result::ok) {
                if !line.contains(SAYS) {
                    eprintln!("machine: {line}");
                }
                if send.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Running { emulator, lines }
    }

    /// The files on the machine's disk, copied into `folder`, as its next start would find them.
    pub(crate) fn files(&self, folder: &Path) {
        let checked = Command::new("/sbin/e2fsck").args(["-f", "-y"]).arg(&self.disk).output().unwrap();
        // 1 says that the journal was replayed or something was mended.
        assert!(checked.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&checked.stdout));
        fs::remove_dir_all(folder).unwrap();
        fs::create_dir_all(folder).unwrap();
        run(Command::new("/sbin/debugfs").arg("-R").arg(format!("rdump / {}", folder.display())).arg(&self.disk));
    }
}

impl Running {
    /// The next thing that the program says, without [`SAYS`]; `None` when it says nothing within `wait`.
    pub(crate) fn says(&self, wait: Duration) -> Option<String> {
        let deadline = Instant::now() + wait;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, said)) = line.split_once(SAYS) {
                        return Some(said.to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the machine has ended by itself"),
            }
        }
    }

    /// Waits until the program has said what begins with `start`.
    pub(crate) fn until_says(&self, start: &str) -> String {
        let deadline = Instant::now() + LINE_WITHIN;
        while let Some(said) = self.says(deadline.saturating_duration_since(Instant::now())) {
            if said.starts_with(start) {
                return said;
            }
            assert_ne!(said, ENDED, "the program has ended without {start:?}");
        }
        panic!("the machine has not said {start:?}");
    }

    /// All that the program says for `time`.
    pub(crate) fn says_for(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        std::iter::from_fn(|| self.says(deadline.saturating_duration_since(Instant::now()))).collect()
    }

    /// Cuts the power, and gives what the program had said until then.
    pub(crate) fn cut(mut self) -> Vec<String> {
        self.emulator.kill().unwrap();
        self.emulator.wait().unwrap();
        let lines = std::mem::replace(&mut self.lines, channel().1);
        lines.iter().filter_map(|line| Some(line.split_once(SAYS)?.1.to_owned())).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// What the machine does first. One module needs the other: those that come too early go in at the next round.
fn init(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let variables: String = environment.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         for round in 1 2 3; do for m in /modules/*.ko; do insmod $m 2>/dev/null; done; done\n\
         mount -t ext4 /dev/vda /data || echo '{SAYS}no disk'\n\
         {variables}\
         /bin/program {}\n\
         echo '{SAYS}{ENDED}'\n\
         sleep 100000\n",
        arguments.join(" ")
    )
}

/// The shared libraries that a program loads at its start, by the loader's own word.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(Into::into)
        .collect()
}

/// A file system for the machine's memory, in the kernel's cpio form (`newc`).
struct Archive(File, u32);

impl Archive {
    fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, path: &Path, mode: u32) {
        self.entry(name, 0o100_000 | mode, &fs::read(path).unwrap());
    }

    /// A file at its own place.
    fn with_parents(&mut self, path: &Path, mode: u32) {
        let name = path.strip_prefix("/").unwrap();
        let mut parents: Vec<_> = name.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        parents.reverse();
        // A folder that is named twice is there once.
        parents.into_iter().for_each(|parent| self.folder(parent.to_str().unwrap()));
        self.file(name.to_str().unwrap(), path, mode);
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.1 += 1;
        let length = u32::try_from(data.len()).unwrap();
        let fields = [self.1, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, u32::try_from(name.len() + 1).unwrap(), 0];
        let mut head = String::from("070701");
        fields.iter().for_each(|field| head.push_str(&format!("{field:08x}")));
        head.push_str(name);
        head.push('\0');
        self.padded(head.as_bytes()).and_then(|()| self.padded(data)).unwrap();
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Files that came out of an image belong to the machine's root and may be read by nobody else.
pub(crate) fn make_readable(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let is_folder = entry.file_type().unwrap().is_dir();
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(if is_folder { 0o700 } else { 0o600 })).unwrap();
        if is_folder {
            make_readable(&entry.path());
        }
    }
}
