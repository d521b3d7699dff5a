//! What a camera's picture looks like when nothing moves, in cells of a few pixels.

use std::time::Duration;

use aivms_contract::time::MediaTime;

use crate::letterbox::PackedImage;

/// Pixels of a cell's side. A person at the edge of what detectors find is a dozen pixels wide: three cells.
const CELL: usize = 4;
/// Least change of a cell's brightness, in grey levels of 0 to 255, that is not noise. The encoder's own changes from
/// one key picture to the next stay below 4 on means of 16 pixels.
const LEAST_CHANGE: f32 = 8.0;
/// How many times its usual deviation a cell must change.
const TIMES_NOISE: f32 = 4.0;
/// Most deviation that counts as noise, in grey levels: a waving tree is noisier and stays motion.
const MOST_NOISE: f32 = 6.0;
/// A changed cell counts when so many of its eight neighbours have changed too: noise is scattered, objects are not.
const NEIGHBOURS: usize = 2;
/// Cells that must count.
const LEAST_CELLS: usize = 3;
/// Part of all cells from which on a change is one of the light, or of the view.
const WHOLE_PICTURE: f32 = 0.5;
/// Time in which the background takes on slow changes: the sun, the clouds.
const LEARN: Duration = Duration::from_secs(10);
/// Time in which it takes on what has come to stay.
const ABSORB: Duration = Duration::from_secs(60);

/// What has changed in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing but noise.
    None,
    /// Something moves.
    Motion,
    /// Everything is different: the first picture, other light, or another view.
    Everything,
}

/// The background of one camera.
#[derive(Debug, Default)]
pub(super) struct Background {
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
    /// Brightness of the present picture's cells; kept for its memory.
    seen: Vec<f32>,
    changed: Vec<bool>,
    at: Option<MediaTime>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Brightness, 0 to 255.
    usual: f32,
    /// Mean deviation from it.
    noise: f32,
}

impl Background {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Compares a picture with the background and learns from it.
    pub(super) fn change(&mut self, at: MediaTime, image: &PackedImage<'_>) -> Change {
        let (columns, rows) = (image.width as usize / CELL, image.height as usize / CELL);
        shrink(image, columns, rows, &mut self.seen);
        let known = self.at.is_some() && (columns, rows) == (self.columns, self.rows);
        let passed = self.at.map_or(Duration::ZERO, |last| at.since(last));
        self.at = Some(at);
        if !known {
            (self.columns, self.rows) = (columns, rows);
            self.begin();
            return Change::Everything;
        }
        let count = self.mark();
        if count as f32 > self.cells.len() as f32 * WHOLE_PICTURE {
            self.begin();
            return Change::Everything;
        }
        self.learn(passed);
        if count >= LEAST_CELLS && self.clustered() >= LEAST_CELLS { Change::Motion } else { Change::None }
    }

    fn begin(&mut self) {
        self.cells.clear();
        self.cells.extend(self.seen.iter().map(|&usual| Cell { usual, noise: 0.0 }));
    }

    /// Marks the cells that differ from the background; gives their number.
    fn mark(&mut self) -> usize {
        self.changed.clear();
        self.changed.extend(self.cells.iter().zip(&self.seen).map(|(cell, seen)| cell.differs(*seen)));
        self.changed.iter().filter(|&&changed| changed).count()
    }

    /// Changed cells that have changed neighbours.
    fn clustered(&self) -> usize {
        let is_clustered = |index: usize| {
            let (row, column) = (index / self.columns, index % self.columns);
            let rows = row.saturating_sub(1)..=(row + 1).min(self.rows - 1);
            let columns = column.saturating_sub(1)..=(column + 1).min(self.columns - 1);
            let around = rows.flat_map(|row| columns.clone().map(move |column| row * self.columns + column));
            around.filter(|&near| self.changed[near]).count() > NEIGHBOURS
        };
        let changed = self.changed.iter().enumerate().filter(|(_, changed)| **changed);
        changed.filter(|(index, _)| is_clustered(*index)).count()
    }

    fn learn(&mut self, passed: Duration) {
        let (learn, absorb) = (part(passed, LEARN), part(passed, ABSORB));
        for ((cell, &seen), &changed) in self.cells.iter_mut().zip(&self.seen).zip(&self.changed) {
            let difference = seen - cell.usual;
            if changed {
                cell.usual += difference * absorb;
            } else {
                cell.usual += difference * learn;
                cell.noise += (difference.abs() - cell.noise) * learn;
            }
        }
    }
}

impl Cell {
    fn differs(self, seen: f32) -> bool {
        (seen - self.usual).abs() > (self.noise.min(MOST_NOISE) * TIMES_NOISE).max(LEAST_CHANGE)
    }
}

/// The part of a difference that is taken over when `passed` of the time constant `of` is over.
fn part(passed: Duration, of: Duration) -> f32 {
    1.0 - (-passed.as_secs_f32() / of.as_secs_f32()).exp()
}

/// Fills `cells` with the mean brightness of each cell; pixels beyond the last whole cell are left out.
fn shrink(image: &PackedImage<'_>, columns: usize, rows: usize, cells: &mut Vec<f32>) {
    /// Pixels times the weights of the three channels.
    const WEIGHT: f32 = (CELL * CELL * 4) as f32;
    cells.clear();
    let mut sums = vec![0_u32; columns];
    for row in 0..rows {
        sums.fill(0);
        for line in row * CELL..(row + 1) * CELL {
            let start = line * image.stride;
            let Some(pixels) = image.data.get(start..start + columns * CELL * 3) else { continue };
            for (sum, cell) in sums.iter_mut().zip(pixels.chunks_exact(CELL * 3)) {
                // Green counts twice, which is near enough to brightness whichever of red and blue comes first.
                *sum +=
                    cell.chunks_exact(3).map(|p| u32::from(p[0]) + 2 * u32::from(p[1]) + u32::from(p[2])).sum::<u32>();
            }
        }
        cells.extend(sums.iter().map(|&sum| sum as f32 / WEIGHT));
    }
}
