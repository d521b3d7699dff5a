//! Somebody else's reader of MP4 finds in our boxes what we put there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::io::Cursor;

use aivms_footage::FragmentHead;
use mp4_atom::{Any, ReadFrom};
use support::{closed_segment, fragment};

#[test]
fn every_box_of_a_segment_is_read_by_another_reader() {
    let (file, infos) = closed_segment(3, 5, true);
    let mut cursor = Cursor::new(file.as_slice());
    let mut names = Vec::new();
    let mut moofs = Vec::new();
    while cursor.position() < file.len() as u64 {
        let at = cursor.position();
        let found = Any::read_from(&mut cursor).unwrap_or_else(|error| panic!("at {at}: {error}"));
        match found {
            Any::Ftyp(_) => names.push("ftyp"),
            Any::Moof(moof) => moofs.push(moof),
            Any::Mdat(_) => names.push("mdat"),
            _ => {}
        }
    }
    assert_eq!((names, moofs.len()), (vec!["ftyp", "mdat", "mdat", "mdat"], 3));
    for (number, moof) in moofs.iter().enumerate() {
        let wrote = fragment(number as u64, 5, true);
        let head = FragmentHead::parse(&file[infos[number].offset as usize..]).unwrap();
        assert_eq!(moof.mfhd.sequence_number, head.sequence);
        let [video, audio] = moof.traf.as_slice() else { panic!("{} tracks", moof.traf.len()) };
        assert_eq!(video.tfdt.as_ref().unwrap().base_media_decode_time, wrote.video[0].dts);
        assert_eq!(audio.tfdt.as_ref().unwrap().base_media_decode_time, wrote.audio[0].dts);
        let entries = &video.trun[0].samples;
        let read: Vec<_> = entries.iter().map(|entry| (entry.size, entry.duration, entry.cts)).collect();
        let meant =
            wrote.video.iter().map(|s| (Some(s.data.len() as u32), Some(s.duration), Some(s.composition.into())));
        assert_eq!(read, meant.collect::<Vec<_>>());
    }
}
