//! How much of a box lies inside a zone.

use aivms_contract::geometry::Point;

/// The area that a polygon, given by its sides, and the box from `low` to `high` share; exact, for any plain polygon.
///
/// A level line through the polygon is inside between its crossings with rising and falling sides, so the area is the
/// sum over all sides of x dy; with each x held within the box, it is the area of the shared part.
pub(super) fn shared_area(sides: impl Iterator<Item = (Point, Point)>, low: Point, high: Point) -> f64 {
    sides.map(|(a, b)| swept(a, b, low, high)).sum::<f64>().abs()
}

/// The integral of x - low.x over y along the side from `a` to `b`, with y cut to the box and x held within it.
fn swept(a: Point, b: Point, low: Point, high: Point) -> f64 {
    let (top, bottom) = if a.y <= b.y { (a, b) } else { (b, a) };
    let (y1, y2) = (top.y.max(low.y), bottom.y.min(high.y));
    if y1 >= y2 {
        return 0.0;
    }
    let slope = (bottom.x - top.x) / (bottom.y - top.y);
    let x_at = |y: f64| top.x + slope * (y - top.y);
    let area = held(x_at(y1) - low.x, x_at(y2) - low.x, high.x - low.x) * (y2 - y1);
    if a.y <= b.y { area } else { -area }
}

/// The mean of a value that runs evenly from `from` to `to`, held within 0 and `most`.
fn held(from: f64, to: f64, most: f64) -> f64 {
    let (low, high) = if from <= to { (from, to) } else { (to, from) };
    let span = high - low;
    if high <= 0.0 {
        return 0.0;
    }
    if low >= most {
        return most;
    }
    if span == 0.0 {
        return low;
    }
    // Between 0 and `most` it runs; above, it stays.
    let (start, end) = (low.max(0.0), high.min(most));
    (f64::midpoint(start, end) * (end - start) + most * (high - end)) / span
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::geometry::Polygon;
    use proptest::prelude::*;

    fn shared(polygon: &Polygon, [x1, y1, x2, y2]: [f64; 4]) -> f64 {
        shared_area(polygon.sides(), Point { x: x1, y: y1 }, Point { x: x2, y: y2 })
    }

    #[test]
    fn the_shared_area_of_plain_shapes_is_what_a_ruler_says() {
        let polygon = |corners: &[[f64; 2]]| Polygon::new(corners.iter().map(|&c| c.into()).collect()).unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        let square = polygon(&[[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]);
        close(shared(&square, [0.0, 0.0, 1.0, 1.0]), 0.04);
        close(shared(&square, [0.5, 0.5, 0.9, 0.9]), 0.01);
        close(shared(&square, [0.45, 0.45, 0.55, 0.55]), 0.01);
        close(shared(&square, [0.7, 0.7, 0.9, 0.9]), 0.0);
        let triangle = polygon(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        close(shared(&triangle, [0.0, 0.0, 0.5, 0.5]), 0.25);
        close(shared(&triangle, [0.5, 0.0, 1.0, 0.5]), 0.125);
        let u =
            polygon(&[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.6, 0.9], [0.6, 0.3], [0.4, 0.3], [0.4, 0.9], [0.1, 0.9]]);
        close(shared(&u, [0.0, 0.5, 1.0, 0.7]), 0.12);
        close(shared(&u, [0.45, 0.5, 0.55, 0.7]), 0.0);
    }

    proptest! {
        #[test]
        fn the_shared_area_agrees_with_counting_points(
            corners in proptest::collection::vec((0.0..1.0f64, 0.0..1.0f64), 3..8),
            (x, y, width, height) in (0.0..0.8f64, 0.0..0.8f64, 0.05..0.5f64, 0.05..0.5f64),
        ) {
            const GRID: u32 = 60;
            let corners: Vec<_> = corners.into_iter().map(|(x, y)| Point { x, y }).collect();
            if let Ok(polygon) = Polygon::new(corners) {
                let at = |part: u32, from: f64, span: f64| from + span * (f64::from(part) + 0.5) / f64::from(GRID);
                let points = (0..GRID * GRID).map(|i| Point { x: at(i % GRID, x, width), y: at(i / GRID, y, height) });
                let hits = u32::try_from(points.filter(|point| polygon.contains(*point)).count()).unwrap();
                let counted = f64::from(hits) / f64::from(GRID * GRID);
                let found = shared(&polygon, [x, y, x + width, y + height]) / (width * height);
                // Each side of the polygon may cut through a row and a column of the grid's cells.
                let most = 8.0 * 2.0 / f64::from(GRID);
                prop_assert!((found - counted).abs() < most, "{found} {counted}");
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&found));
            }
        }
    }
}
