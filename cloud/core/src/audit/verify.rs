//! Walks a chain and names what is wrong with it.

use std::fmt;

use aivms_contract::id::TenantId;

use super::entry::{Entry, Hash, NOTHING_BEFORE};

/// Most findings that are named; a chain that was cut in the middle has as many as it has entries.
pub const MAX_FINDINGS: usize = 100;

/// An entry with what its row says of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The entry.
    pub entry: Entry,
    /// The predecessor's hash.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Entries there are.
    pub seq: u64,
    /// Hash of the last one; [`NOTHING_BEFORE`] of an empty chain.
    pub hash: Hash,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The entry it is about.
    pub seq: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// It is not there.
    Missing,
    /// Its number was there before, or comes too late.
    OutOfOrder,
    /// It is of another tenant's chain.
    Foreign,
    /// Its content is not what its hash was made of.
    Edited,
    /// It does not follow the entry before it.
    Unlinked,
    /// The chain goes on after its head.
    AfterHead,
    /// It is not the entry that the head, or a head noted earlier, speaks of.
    NotTheHead,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries looked at.
    pub entries: u64,
    /// The end of the chain as found.
    pub head: Head,
    /// What is wrong, by number, at most [`MAX_FINDINGS`]; empty when nothing is.
    pub findings: Vec<Finding>,
}

/// Walks one tenant's chain from its first entry on.
#[derive(Debug)]
pub struct Verifier {
    tenant: TenantId,
    /// The head that the database names, and heads that were noted outside.
    expected: Vec<Head>,
    end: u64,
    entries: u64,
    last: Head,
    findings: Vec<Finding>,
}

impl Flaw {
    /// The name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OutOfOrder => "out_of_order",
            Self::Foreign => "foreign",
            Self::Edited => "edited",
            Self::Unlinked => "unlinked",
            Self::AfterHead => "after_head",
            Self::NotTheHead => "not_the_head",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.flaw {
            Flaw::Missing => "is missing",
            Flaw::OutOfOrder => "is there twice or out of order",
            Flaw::Foreign => "belongs to another tenant",
            Flaw::Edited => "was changed after it was written",
            Flaw::Unlinked => "does not follow the entry before it: one was removed, inserted or swapped",
            Flaw::AfterHead => "comes after the end of the chain",
            Flaw::NotTheHead => "is not the entry that was noted",
        };
        write!(f, "entry {} {text}", self.seq)
    }
}

impl Verifier {
    /// Begins with `tenant`'s chain, whose end the database says is `head`; `noted` is a head that somebody kept
    /// outside the database.
    #[must_use]
    pub fn new(tenant: TenantId, head: Head, noted: Option<Head>) -> Self {
        let last = Head { seq: 0, hash: NOTHING_BEFORE };
        let expected = noted.into_iter().chain([head]).collect();
        let mut verifier = Self { tenant, expected, end: head.seq, entries: 0, last, findings: Vec::new() };
        // A head of nothing can't come from an entry.
        verifier.compare_with_heads();
        verifier
    }

    /// Looks at the next row, in the order of their numbers.
    pub fn take(&mut self, row: &Sealed) {
        self.entries += 1;
        let seq = row.entry.seq;
        if seq <= self.last.seq {
            self.find(seq, Flaw::OutOfOrder);
            return;
        }
        for missing in self.last.seq + 1..seq {
            if self.findings.len() >= MAX_FINDINGS {
                break;
            }
            self.find(missing, Flaw::Missing);
        }
        if row.entry.tenant != self.tenant {
            self.find(seq, Flaw::Foreign);
        }
        if row.entry.hash(&row.previous) != row.hash {
            self.find(seq, Flaw::Edited);
        }
        if row.previous != self.last.hash {
            self.find(seq, Flaw::Unlinked);
        }
        if seq > self.end {
            self.find(seq, Flaw::AfterHead);
        }
        self.last = Head { seq, hash: row.hash };
        self.compare_with_heads();
    }

    /// Ends the walk after the last row.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let ends: Vec<u64> = self.expected.iter().map(|head| head.seq).collect();
        for end in ends {
            for missing in self.last.seq + 1..=end {
                if self.findings.len() >= MAX_FINDINGS {
                    break;
                }
                self.find(missing, Flaw::Missing);
            }
        }
        self.findings.sort_by_key(|finding| (finding.seq, finding.flaw));
        self.findings.dedup();
        Report { entries: self.entries, head: self.last, findings: self.findings }
    }

    fn compare_with_heads(&mut self) {
        let wrong = self.expected.iter().any(|head| head.seq == self.last.seq && head.hash != self.last.hash);
        if wrong {
            self.find(self.last.seq, Flaw::NotTheHead);
        }
    }

    fn find(&mut self, seq: u64, flaw: Flaw) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { seq, flaw });
        }
    }
}
