//! Which row goes with which column: the pairing of least total cost.

/// What a row without a partner costs; no pair that costs more is ever made.
const UNPAIRED: f64 = 1.0;

/// A possible pair: row, column and its cost from 0 to 1.
pub(super) type Pair = (usize, usize, f64);

/// Pairs rows and columns so that the sum of costs is least, where a row without a partner costs 1.
///
/// `pairs` lists each possible pair once; what is not listed is impossible. The result is ordered by row. Rows and
/// columns that compete fall into small groups which are solved one by one: in most frames nearly every object is alone.
pub(super) fn assign(rows: usize, columns: usize, pairs: &[Pair]) -> Vec<(usize, usize)> {
    let mut groups = Groups::new(rows + columns);
    let possible = || pairs.iter().filter(|pair| pair.2 <= UNPAIRED);
    for &(row, column, _) in possible() {
        groups.join(row, rows + column);
    }
    let mut by_group: Vec<(usize, Pair)> = possible().map(|&pair| (groups.find(pair.0), pair)).collect();
    by_group.sort_unstable_by_key(|&(group, (row, column, _))| (group, row, column));
    let mut chosen = Vec::new();
    for group in by_group.chunk_by(|a, b| a.0 == b.0) {
        match group {
            [(_, (row, column, _))] => chosen.push((*row, *column)),
            _ => solve_group(group, &mut chosen),
        }
    }
    chosen.sort_unstable();
    chosen
}

/// Sets of rows and columns that are joined by possible pairs.
struct Groups(Vec<usize>);

impl Groups {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn find(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Solves one group of competing rows and columns; each row also gets a column of its own that stands for no partner.
fn solve_group(group: &[(usize, Pair)], chosen: &mut Vec<(usize, usize)>) {
    let mut rows: Vec<usize> = group.iter().map(|(_, pair)| pair.0).collect();
    let mut columns: Vec<usize> = group.iter().map(|(_, pair)| pair.1).collect();
    rows.dedup();
    columns.sort_unstable();
    columns.dedup();
    let width = columns.len() + rows.len();
    // An impossible pair costs more than leaving every row without a partner.
    let impossible = UNPAIRED * (rows.len() + 1) as f64;
    let mut costs = vec![impossible; rows.len() * width];
    let index = |list: &[usize], wanted: usize| list.binary_search(&wanted).expect("collected from the same pairs");
    for &(_, (row, column, cost)) in group {
        costs[index(&rows, row) * width + index(&columns, column)] = cost;
    }
    for row in 0..rows.len() {
        costs[row * width + columns.len() + row] = UNPAIRED;
    }
    let partners = least_cost(&costs, rows.len(), width).into_iter().zip(&rows);
    chosen.extend(partners.filter_map(|(column, &row)| Some((row, *columns.get(column)?))));
}

/// The column of each row in the assignment of least total cost, for `rows <= columns` and finite costs.
///
/// Shortest augmenting paths with potentials (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
/// sparse linear assignment problems", 1987): rows² x columns steps.
fn least_cost(costs: &[f64], rows: usize, columns: usize) -> Vec<usize> {
    let mut paths = Paths {
        costs,
        columns,
        row_potential: vec![0.0; rows + 1],
        column_potential: vec![0.0; columns + 1],
        row_of: vec![0; columns + 1],
        previous: vec![0; columns + 1],
    };
    for row in 1..=rows {
        paths.augment(row);
    }
    let mut column_of = vec![0; rows];
    for column in 1..=columns {
        if let Some(row) = paths.row_of[column].checked_sub(1) {
            column_of[row] = column - 1;
        }
    }
    column_of
}

/// The assignment so far; rows and columns count from 1, and 0 stands for none.
struct Paths<'a> {
    costs: &'a [f64],
    columns: usize,
    row_potential: Vec<f64>,
    column_potential: Vec<f64>,
    row_of: Vec<usize>,
    /// The column before each on the shortest path that was searched last.
    previous: Vec<usize>,
}

impl Paths<'_> {
    /// Adds one row, moving others along the cheapest chain of changes.
    fn augment(&mut self, row: usize) {
        self.row_of[0] = row;
        let mut least = vec![f64::INFINITY; self.columns + 1];
        let mut visited = vec![false; self.columns + 1];
        let mut column = 0;
        while self.row_of[column] != 0 {
            visited[column] = true;
            column = self.step(column, &mut least, &visited);
        }
        while column != 0 {
            self.row_of[column] = self.row_of[self.previous[column]];
            column = self.previous[column];
        }
    }

    /// Extends the search from a visited column and returns the nearest column not yet visited.
    fn step(&mut self, from: usize, least: &mut [f64], visited: &[bool]) -> usize {
        let row = self.row_of[from];
        let (mut distance, mut nearest) = (f64::INFINITY, 0);
        for column in (1..=self.columns).filter(|&column| !visited[column]) {
            let cost = self.costs[(row - 1) * self.columns + column - 1];
            let reduced = cost - self.row_potential[row] - self.column_potential[column];
            if reduced < least[column] {
                (least[column], self.previous[column]) = (reduced, from);
            }
            if least[column] < distance {
                (distance, nearest) = (least[column], column);
            }
        }
        for column in 0..=self.columns {
            if visited[column] {
                self.row_potential[self.row_of[column]] += distance;
                self.column_potential[column] -= distance;
            } else {
                least[column] -= distance;
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_rows_share_out_what_the_first_would_take_greedily() {
        let pairs = [(0, 0, 0.1), (0, 1, 0.2), (1, 0, 0.15)];
        assert_eq!(assign(2, 2, &pairs), [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_row_stays_alone_when_its_partner_is_worth_more_to_another() {
        let pairs = [(0, 0, 0.1), (1, 0, 0.2), (1, 1, 1.5)];
        assert_eq!(assign(2, 2, &pairs), [(0, 0)]);
        assert_eq!(assign(0, 3, &[]), []);
    }

    proptest! {
        #[test]
        fn no_other_pairing_costs_less(pairs in pairs()) {
            let chosen = assign(5, 5, &pairs);
            let mut rows: Vec<_> = chosen.iter().map(|pair| pair.0).collect();
            let mut columns: Vec<_> = chosen.iter().map(|pair| pair.1).collect();
            rows.dedup();
            columns.sort_unstable();
            columns.dedup();
            prop_assert!(rows.len() == chosen.len() && columns.len() == chosen.len(), "each is used once: {chosen:?}");
            let cost = |&(row, column): &(usize, usize)| pairs.iter().find(|p| (p.0, p.1) == (row, column)).unwrap().2;
            let total = chosen.iter().map(cost).sum::<f64>() + (5 - chosen.len()) as f64 * UNPAIRED;
            prop_assert!((total - cheapest(&pairs, 0, &mut [false; 5])).abs() < 1e-9);
        }
    }

    /// Least total cost from `row` on, by trying everything.
    fn cheapest(pairs: &[Pair], row: usize, used: &mut [bool; 5]) -> f64 {
        if row == 5 {
            return 0.0;
        }
        let mut best = UNPAIRED + cheapest(pairs, row + 1, used);
        for &(_, column, cost) in pairs.iter().filter(|pair| pair.0 == row) {
            if !used[column] {
                used[column] = true;
                best = best.min(cost + cheapest(pairs, row + 1, used));
                used[column] = false;
            }
        }
        best
    }

    fn pairs() -> impl Strategy<Value = Vec<Pair>> {
        let one = prop::option::of(prop_oneof![0.0f64..1.2, Just(0.5), Just(1.0)]);
        prop::collection::vec(one, 25).prop_map(|costs| {
            let listed = costs.into_iter().enumerate();
            listed.filter_map(|(index, cost)| Some((index / 5, index % 5, cost?))).collect()
        })
    }
}
