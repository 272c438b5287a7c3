//! Where the boxes of a picture are: in layers, so that every value flows downwards.
//!
//! A value that crosses layers has a bend in each of them, shared by all who read it. The order
//! within layers comes from medians of neighbours, and the places from least squares.

use super::scene::{Box, Scene};

/// Between boxes of a layer, and between layers.
const GAP: f64 = 24.0;
const DEEP: f64 = 36.0;
/// The room that a bend takes.
const BEND: f64 = 10.0;

/// Passes down and up over the layers, to order them and to place them.
const ORDERINGS: usize = 12;
const PLACEMENTS: usize = 24;
/// How much rather a line stays straight than a box is centred.
const STRAIGHT: f64 = 8.0;

const LINE: f64 = 15.0;
/// What characters take of a line; the picture cuts what is longer than a box.
const LETTER: f64 = 6.6;
const LONGEST: usize = 30;

/// Where a box is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// The middle.
    pub(super) x: f64,
    /// The upper edge.
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The places of everything.
#[derive(Debug)]
pub(super) struct Layout {
    /// Of each box.
    pub(super) boxes: Vec<Place>,
    /// Of each flow: pieces from a point to one below it.
    pub(super) flows: Vec<Vec<[(f64, f64); 2]>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A text as long as a box can show it.
pub(super) fn fitted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn size(one: &Box) -> (f64, f64) {
    // Letters beyond ASCII may be twice as wide.
    let width = |text: &str| -> f64 {
        fitted(text).chars().map(|c| if c.is_ascii() { LETTER } else { 2.0 * LETTER }).sum()
    };
    let longest = one.lines.iter().map(|line| width(line)).fold(1.15 * width(&one.title), f64::max);
    ((longest + 20.0).max(60.0), LINE * (1 + one.lines.len()) as f64 + 12.0)
}

/// What stands in a layer: a box, or a value that passes through.
struct Layers {
    /// The vertices of each layer, from the left.
    order: Vec<Vec<usize>>,
    layer: Vec<usize>,
    /// Vertices above and below that a vertex is joined with.
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    width: Vec<f64>,
    boxes: usize,
    /// The joints of each flow.
    joints: Vec<Vec<(usize, usize)>>,
}

/// Places a scene. Works in any order of its boxes in which flows go forward.
pub(super) fn place(scene: &Scene) -> Layout {
    let sizes: Vec<(f64, f64)> = scene.boxes.iter().map(size).collect();
    let mut layers = Layers::of(scene, &sizes);
    layers.sort();
    let x = layers.places();
    let count = layers.order.len();
    let mut heights = vec![0.0_f64; count];
    for (at, (_, height)) in sizes.iter().enumerate() {
        heights[layers.layer[at]] = heights[layers.layer[at]].max(*height);
    }
    let mut tops = Vec::with_capacity(count);
    let mut y = GAP;
    for height in &heights {
        tops.push(y);
        y += height + DEEP;
    }
    let left = (0..x.len()).map(|at| x[at] - layers.width[at] / 2.0).fold(f64::INFINITY, f64::min);
    let right =
        (0..x.len()).map(|at| x[at] + layers.width[at] / 2.0).fold(f64::NEG_INFINITY, f64::max);
    let shift = if left.is_finite() { GAP - left } else { GAP };
    let boxes: Vec<Place> = sizes
        .iter()
        .enumerate()
        .map(|(at, &(width, height))| {
            let layer = layers.layer[at];
            // Boxes of a layer stand on one middle line.
            let y = tops[layer] + (heights[layer] - height) / 2.0;
            Place { x: x[at] + shift, y, width, height }
        })
        .collect();
    let leaves = |at: usize| match boxes.get(at) {
        Some(place) => (place.x, place.y + place.height),
        None => (x[at] + shift, tops[layers.layer[at]] + heights[layers.layer[at]]),
    };
    let arrives = |at: usize| match boxes.get(at) {
        Some(place) => (place.x, place.y),
        None => (x[at] + shift, tops[layers.layer[at]]),
    };
    let flows = layers.joints.iter().map(|joints| {
        let mut pieces: Vec<[(f64, f64); 2]> =
            joints.iter().map(|&(from, to)| [leaves(from), arrives(to)]).collect();
        let bends = joints.iter().map(|&(_, to)| to).filter(|&to| to >= layers.boxes);
        pieces.extend(bends.map(|bend| [arrives(bend), leaves(bend)]));
        pieces
    });
    let width = if right.is_finite() { right + shift + GAP } else { 2.0 * GAP };
    Layout { flows: flows.collect(), width, height: y - DEEP + GAP, boxes }
}

impl Layers {
    fn of(scene: &Scene, sizes: &[(f64, f64)]) -> Self {
        let boxes = scene.boxes.len();
        let mut layer = vec![0_usize; boxes];
        let mut by_source: Vec<Vec<usize>> = vec![Vec::new(); boxes];
        for (at, flow) in scene.flows.iter().enumerate() {
            by_source[flow.from].push(at);
        }
        for at in 0..boxes {
            for to in by_source[at].iter().flat_map(|&flow| &scene.flows[flow].to) {
                layer[*to] = layer[*to].max(layer[at] + 1);
            }
        }
        // What nothing flows into stands right above who reads it first.
        let mut reads = vec![false; boxes];
        scene.flows.iter().flat_map(|flow| &flow.to).for_each(|&to| reads[to] = true);
        for at in (0..boxes).rev().filter(|&at| !reads[at]) {
            let readers = by_source[at].iter().flat_map(|&flow| &scene.flows[flow].to);
            if let Some(first) = readers.map(|&to| layer[to]).min() {
                layer[at] = first - 1;
            }
        }
        let mut width: Vec<f64> = sizes.iter().map(|(width, _)| *width).collect();
        let mut joints = Vec::with_capacity(scene.flows.len());
        for flow in &scene.flows {
            let mut of_flow = Vec::new();
            let last = flow.to.iter().map(|&to| layer[to]).max().unwrap_or_default();
            let mut above = vec![flow.from];
            for at in layer[flow.from] + 1..last {
                let bend = layer.len();
                layer.push(at);
                width.push(BEND);
                of_flow.push((above[above.len() - 1], bend));
                above.push(bend);
            }
            let start = layer[flow.from];
            of_flow.extend(flow.to.iter().map(|&to| (above[layer[to] - 1 - start], to)));
            joints.push(of_flow);
        }
        let count = layer.iter().max().map_or(0, |last| last + 1);
        let mut order = vec![Vec::new(); count];
        for (vertex, &at) in layer.iter().enumerate() {
            order[at].push(vertex);
        }
        let (mut above, mut below) = (vec![Vec::new(); layer.len()], vec![Vec::new(); layer.len()]);
        for &(from, to) in joints.iter().flatten() {
            above[to].push(from);
            below[from].push(to);
        }
        Self { order, layer, above, below, width, boxes, joints }
    }

    /// Orders layers by the medians of what their vertices are joined with; keeps the best order.
    fn sort(&mut self) {
        let mut rank = vec![0_usize; self.layer.len()];
        let mut best = (usize::MAX, self.order.clone());
        for pass in 0..ORDERINGS {
            rank_all(&self.order, &mut rank);
            let crossings = self.crossings(&rank);
            if crossings < best.0 {
                best = (crossings, self.order.clone());
            }
            if crossings == 0 {
                break;
            }
            let down = pass % 2 == 0;
            let count = self.order.len();
            let layers: Vec<usize> =
                if down { (1..count).collect() } else { (0..count).rev().skip(1).collect() };
            for at in layers {
                let joined = if down { &self.above } else { &self.below };
                let mut keyed: Vec<(f64, usize)> = self.order[at]
                    .iter()
                    .map(|&vertex| (median(&joined[vertex], &rank, rank[vertex]), vertex))
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.order[at] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
                for (place, &vertex) in self.order[at].iter().enumerate() {
                    rank[vertex] = place;
                }
            }
        }
        self.order = best.1;
    }

    /// Pairs of joints that cross.
    fn crossings(&self, rank: &[usize]) -> usize {
        let mut crossings = 0;
        for layer in &self.order {
            let mut ends: Vec<(usize, usize)> = Vec::new();
            for &from in layer {
                ends.extend(self.below[from].iter().map(|&to| (rank[from], rank[to])));
            }
            ends.sort_unstable();
            // Inversions, counted in a tree of sums.
            let size = ends.iter().map(|end| end.1 + 1).max().unwrap_or(0);
            let mut sums = vec![0_usize; size + 1];
            for (seen, &(_, to)) in ends.iter().enumerate() {
                let (mut at, mut not_behind) = (to + 1, 0);
                while at > 0 {
                    not_behind += sums[at];
                    at &= at - 1;
                }
                crossings += seen - not_behind;
                let mut at = to + 1;
                while at <= size {
                    sums[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
        crossings
    }

    /// The middle of each vertex.
    fn places(&self) -> Vec<f64> {
        let mut x = vec![0.0_f64; self.layer.len()];
        for layer in &self.order {
            let total: f64 = layer.iter().map(|&vertex| self.width[vertex] + GAP).sum();
            let mut at = -total / 2.0;
            for &vertex in layer {
                x[vertex] = at + (self.width[vertex] + GAP) / 2.0;
                at += self.width[vertex] + GAP;
            }
        }
        for pass in 0..PLACEMENTS {
            let count = self.order.len();
            let layers: Vec<usize> =
                if pass % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() };
            for at in layers {
                self.place_layer(&self.order[at], pass % 2 == 0, &mut x);
            }
        }
        x
    }

    /// Moves the vertices of a layer as close to what they are joined with as their order and widths
    /// allow: the least squares under a fixed order, by merging neighbours that push each other.
    fn place_layer(&self, layer: &[usize], down: bool, x: &mut [f64]) {
        /// Neighbours that touch: the sum of weights, of weighted wishes, and how many they are.
        struct Block {
            weight: f64,
            wish: f64,
            count: usize,
        }
        let mut offsets = Vec::with_capacity(layer.len());
        let mut offset = 0.0;
        let mut blocks: Vec<Block> = Vec::new();
        for (place, &vertex) in layer.iter().enumerate() {
            if place > 0 {
                let gap =
                    if vertex < self.boxes || layer[place - 1] < self.boxes { GAP } else { 4.0 };
                offset += (self.width[layer[place - 1]] + self.width[vertex]) / 2.0 + gap;
            }
            offsets.push(offset);
            let (mut weight, mut wish) = (0.01, 0.01 * x[vertex]);
            let (first, second) =
                if down { (&self.above, &self.below) } else { (&self.below, &self.above) };
            for (joined, share) in [(first, 1.0), (second, 0.25)] {
                for &other in &joined[vertex] {
                    let bends = vertex >= self.boxes && other >= self.boxes;
                    let share = if bends { STRAIGHT * share } else { share };
                    weight += share;
                    wish += share * x[other];
                }
            }
            blocks.push(Block { weight, wish: wish - weight * offset, count: 1 });
            while let [.., before, last] = &mut blocks[..]
                && before.wish / before.weight > last.wish / last.weight
            {
                before.weight += last.weight;
                before.wish += last.wish;
                before.count += last.count;
                blocks.pop();
            }
        }
        let mut at = 0;
        for block in blocks {
            for _ in 0..block.count {
                x[layer[at]] = block.wish / block.weight + offsets[at];
                at += 1;
            }
        }
    }
}

fn rank_all(order: &[Vec<usize>], rank: &mut [usize]) {
    for layer in order {
        for (place, &vertex) in layer.iter().enumerate() {
            rank[vertex] = place;
        }
    }
}

/// The middle of the ranks of what a vertex is joined with; its own where it is joined with nothing.
fn median(joined: &[usize], rank: &[usize], own: usize) -> f64 {
    let mut ranks: Vec<usize> = joined.iter().map(|&vertex| rank[vertex]).collect();
    ranks.sort_unstable();
    match ranks.len() {
        0 => own as f64,
        odd if odd % 2 == 1 => ranks[odd / 2] as f64,
        even => (ranks[even / 2 - 1] + ranks[even / 2]) as f64 / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Flow, Kind};
    use super::*;

    fn scene(count: usize, flows: &[(usize, &[usize])]) -> Scene {
        let one = |at: usize| Box {
            kind: Kind::Other,
            title: format!("box {at}"),
            lines: Vec::new(),
            tip: String::new(),
        };
        let flow =
            |&(from, to): &(usize, &[usize])| Flow { from, to: to.to_vec(), tip: String::new() };
        Scene { boxes: (0..count).map(one).collect(), flows: flows.iter().map(flow).collect() }
    }

    #[test]
    fn boxes_do_not_overlap_and_values_flow_down() {
        // A diamond with a value that passes it by, and one that is read by everybody.
        let flows: &[(usize, &[usize])] =
            &[(0, &[1, 2, 3, 6]), (1, &[4]), (2, &[4]), (3, &[5]), (4, &[5]), (5, &[6])];
        let layout = place(&scene(7, flows));
        for (at, a) in layout.boxes.iter().enumerate() {
            assert!(a.x - a.width / 2.0 > 0.0 && a.x + a.width / 2.0 < layout.width, "{layout:?}");
            for b in &layout.boxes[at + 1..] {
                let beside = (a.x - b.x).abs() >= (a.width + b.width) / 2.0;
                let below = (a.y - b.y).abs() >= a.height.min(b.height);
                assert!(beside || below, "{a:?} {b:?}");
            }
        }
        for [(_, from), (_, to)] in layout.flows.iter().flatten() {
            assert!(from <= to);
        }
    }

    #[test]
    fn a_chain_is_straight() {
        let layout = place(&scene(3, &[(0, &[1]), (1, &[2])]));
        assert!((layout.boxes[0].x - layout.boxes[2].x).abs() < 1.0, "{layout:?}");
    }

    #[test]
    fn nothing_has_a_place_too() {
        let layout = place(&scene(0, &[]));
        assert!(layout.width.is_finite() && layout.height.is_finite());
    }

    #[test]
    fn crossings_are_undone() {
        let mut layers = Layers::of(&scene(4, &[(0, &[3]), (1, &[2])]), &[(60.0, 27.0); 4]);
        layers.sort();
        let mut rank = vec![0; 4];
        rank_all(&layers.order, &mut rank);
        assert_eq!(layers.crossings(&rank), 0);
    }
}
