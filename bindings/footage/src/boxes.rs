//! Boxes of ISO/IEC 14496-12: writing them into a growing buffer, and reading them without trusting a size.

/// Kind of a box: four characters.
pub(crate) type Kind = [u8; 4];

/// Bytes of a box's size and kind.
pub(crate) const HEADER_BYTES: usize = 8;

/// Numbers as boxes hold them: big-endian.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);
    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }
    fn zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.u8(0);
        }
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Writes a box around what `body` writes. Bodies larger than 4 GiB are the caller's: only media has them.
pub(crate) fn boxed(out: &mut Vec<u8>, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.u32(0);
    out.put(&kind);
    body(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Writes a box with version and flags.
pub(crate) fn full(out: &mut Vec<u8>, kind: Kind, version: u8, flags: u32, body: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, kind, |out| {
        out.u32(u32::from(version) << 24 | flags);
        body(out);
    });
}

/// Writes one of our own boxes: kind `uuid`, then the sixteen bytes that say whose it is.
pub(crate) fn own(out: &mut Vec<u8>, id: &[u8; 16], body: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, *b"uuid", |out| {
        out.put(id);
        body(out);
    });
}

/// Takes numbers from the front of bytes; `None` where there are too few.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taker<'a>(pub(crate) &'a [u8]);

impl<'a> Taker<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags.
    pub(crate) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// A number of 32 bits in version 0 and of 64 bits in version 1.
    pub(crate) fn wide(&mut self, version: u8) -> Option<u64> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }
}

/// Size of the box that begins with `header`, its kind, and the bytes of its header. `None` when the size is less than
/// the header, or the header is not whole.
pub(crate) fn header(header: &[u8]) -> Option<(u64, Kind, usize)> {
    let mut taker = Taker(header);
    let (size, kind) = (taker.u32()?, taker.array()?);
    match size {
        1 => taker.u64().filter(|size| *size >= 16).map(|size| (size, kind, 16)),
        size if size as usize >= HEADER_BYTES => Some((u64::from(size), kind, HEADER_BYTES)),
        _ => None,
    }
}

/// Goes over the boxes in `bytes`; ends at the first that is not whole.
pub(crate) fn each(bytes: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (size, kind, head) = header(rest)?;
        let size = usize::try_from(size).ok()?;
        let (whole, after) = rest.split_at_checked(size)?;
        rest = after;
        Some((kind, &whole[head..]))
    })
}

/// The body of the first box of `kind` in `bytes`.
pub(crate) fn find(bytes: &[u8], kind: Kind) -> Option<&[u8]> {
    each(bytes).find_map(|(found, body)| (found == kind).then_some(body))
}

/// The body of the box that lies along `path` in `bytes`.
pub(crate) fn find_path<'a>(bytes: &'a [u8], path: &[&Kind]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| find(bytes, **kind))
}

/// The body of our own box `id` among `bytes`.
pub(crate) fn find_own<'a>(bytes: &'a [u8], id: &[u8; 16]) -> Option<&'a [u8]> {
    each(bytes).find_map(|(kind, body)| (kind == *b"uuid").then(|| body.strip_prefix(id.as_slice())).flatten())
}
