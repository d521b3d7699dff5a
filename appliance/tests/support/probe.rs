//! What FFmpeg's own programs say of a file.

use std::path::Path;
use std::process::Command;

/// Pictures that ffprobe counts, without a complaint.
pub(crate) fn pictures_in(file: &Path) -> usize {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-count_packets", "-show_entries", "stream=nb_read_packets"])
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", file.display());
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').parse().unwrap()
}
