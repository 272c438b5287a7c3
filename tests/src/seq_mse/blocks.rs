//! Blocks of weights are chosen for what whole outputs lose.

use super::*;

/// What each output of x·w loses with the encoding that a run left, by the definition.
fn lost_by_output(state: &State, weight: &Tensor, sample: &Tensor, l1: bool) -> Vec<f64> {
    let [depth, outputs] = weight.dims() else { panic!("a matrix") };
    let site = state.plan.get(state.model.graph.find("w").unwrap()).unwrap();
    let (w, x) = (weight.f32s().unwrap(), sample.f32s().unwrap());
    let encoding = site.encoding.as_ref().unwrap();
    let back = fake_quantize(&w, weight.dims(), encoding, Rounding::HalfEven).unwrap();
    let error = |row: &[f32], output: usize| -> f64 {
        let of = |at: usize| f64::from(w[at * outputs + output] - back[at * outputs + output]);
        row.iter().enumerate().map(|(at, &x)| f64::from(x) * of(at)).sum()
    };
    let size = |y: f64| if l1 { y.abs() } else { y * y };
    (0..*outputs).map(|output| x.chunks(*depth).map(|row| size(error(row, output))).sum()).collect()
}

/// Inputs that are nearly the same for all columns: what blocks are off by adds up, or cancels.
fn common(count: usize, depth: usize, noise: f32) -> Tensor {
    let own = rows(count, depth, 12).f32s().unwrap().into_owned();
    let of_row = rows(count, 1, 3).f32s().unwrap().into_owned();
    let numbers: Vec<f32> =
        own.iter().enumerate().map(|(at, x)| of_row[at / depth] + noise * x).collect();
    Tensor::from_f32s([count, depth], &numbers).unwrap()
}

/// Two blocks whose errors cancel with whole ranges: each alone is better off with another range, and
/// both together much worse. What is chosen is no worse than whole ranges.
#[test]
fn blocks_that_cancel_keep_their_ranges() {
    // On the grid of whole ranges the first two are exact, and the others are off by 0.03 and by -0.03.
    let block = |small: f32| [vec![0.7, -0.8], vec![small; 6]].concat();
    let numbers = [block(0.03), block(-0.03)].concat();
    let (weight, sample) = (Tensor::from_f32s([16, 1], &numbers).unwrap(), common(64, 16, 0.01));
    let off = |memory, passes: &str, l1| {
        let samples = std::slice::from_ref(&sample);
        let state = of_model_within(memory, product(&weight), samples, "PerBlock(8)", passes);
        lost_by_output(&state, &weight, &sample, l1)[0]
    };
    let whole = off(MEMORY, "Calibrate()", false);
    let alone = off(MEMORY, "SeqMse(compat: Aimet)", false);
    assert!(alone > 10.0 * whole, "alone {alone}, the whole ranges {whole}");
    let ours = off(MEMORY, "SeqMse()", false);
    assert!(ours <= whole * (1.0 + 1e-6), "{ours}, the whole ranges {whole}");
    // Memory has no say.
    assert!(off(0, "SeqMse()", false) == ours);
    // Rows that are kept anyway say what outputs lose, whatever the memory.
    for loss in ["L1", "Sqnr"] {
        let passes = format!("SeqMse(loss: {loss}");
        let whole = off(MEMORY, "Calibrate()", loss == "L1");
        let alone = off(MEMORY, &format!("{passes}, compat: Aimet)"), loss == "L1");
        let ours = [MEMORY, 0].map(|memory| off(memory, &format!("{passes})"), loss == "L1"));
        assert!(alone > 2.0 * whole, "{loss}: alone {alone}, the whole ranges {whole}");
        assert!(ours[0] <= whole * (1.0 + 1e-6) && ours[0] == ours[1], "{loss}: {ours:?}, {whole}");
    }
}

/// With inputs that have much in common no output loses more than with whole ranges, and all together
/// lose much less than with blocks that are chosen alone.
#[test]
fn blocks_are_chosen_for_whole_outputs() {
    let (weight, sample) = (rows(64, 24, 5), common(200, 64, 0.2));
    for granularity in ["PerBlock(8)", "Lpbq(8)", "PerBlock(20)"] {
        let off = |passes: &str| {
            let samples = std::slice::from_ref(&sample);
            let state = of_model(product(&weight), samples, granularity, passes);
            lost_by_output(&state, &weight, &sample, false)
        };
        let [whole, alone, ours, finer] =
            ["Calibrate()", "SeqMse(compat: Aimet)", "SeqMse()", "SeqMse(refine: 9)"].map(off);
        let worse = alone.iter().zip(&whole).filter(|(alone, whole)| alone > whole).count();
        assert!(worse > 0, "{granularity}: every output gains from blocks alone");
        for ours in [&ours, &finer] {
            for (output, (ours, whole)) in ours.iter().zip(&whole).enumerate() {
                let bound = whole * (1.0 + 1e-4);
                assert!(*ours <= bound, "{granularity}, {output}: {ours}, whole {whole}");
            }
        }
        let [whole, alone, ours] = [whole, alone, ours].map(|off| off.iter().sum::<f64>());
        println!(
            "{granularity}: whole {whole:.2}, alone {alone:.2}, ours {ours:.2}; worse {worse}"
        );
        assert!(ours < 0.7 * whole.min(alone), "{granularity}: {ours}, {whole}, alone {alone}");
    }
}

/// A grouped convolution: `groups` parts of 6 input channels each, and 3 outputs, 3 x 2 windows.
fn grouped(groups: usize, weight: &[f32]) -> Model {
    let (inputs, outputs) = (6 * groups, 3 * groups);
    let text = format!(
        "<ir_version: 10, opset_import: [\"\" : 21]>
        g (float[n, {inputs}, 5, 4] x) => (float[n, {outputs}, h, v] y)
        <float[{outputs}, 6, 3, 2] w = {{{}}}>
        {{ y = Conv <group: int = {groups}, kernel_shape: ints = [3, 2], pads: ints = [1, 0, 1, 0]> (x, w) }}",
        weight.iter().map(|x| format!("{x:?}")).collect::<Vec<_>>().join(", ")
    );
    marquetry::ir::text::parse(&text).unwrap()
}

/// What a block of a grouped convolution adds to an output, by the definition of a convolution: its loss
/// for a weight that is off by `error`.
fn slow_loss(
    samples: &[Tensor],
    groups: usize,
    error: &[f32],
    output: usize,
    block: usize,
    size: usize,
    l1: bool,
) -> f64 {
    let first = output / 3 * 6;
    let mut sum = 0.0;
    for sample in samples {
        let x = sample.f32s().unwrap();
        for (row, column) in (0..5_i64).flat_map(|row| (0..3_i64).map(move |column| (row, column)))
        {
            let mut y = 0.0_f64;
            for channel in block * size..6.min((block + 1) * size) {
                for (i, j) in (0..3_i64).flat_map(|i| (0..2_i64).map(move |j| (i, j))) {
                    let (r, c) = (row + i - 1, column + j);
                    if !(0..5).contains(&r) {
                        continue;
                    }
                    let place = ((first + channel) * 5 + r as usize) * 4 + c as usize;
                    assert!(first + channel < 6 * groups);
                    let at = ((output * 6 + channel) * 3 + i as usize) * 2 + j as usize;
                    y += f64::from(x[place]) * f64::from(error[at]);
                }
            }
            sum += if l1 { y.abs() } else { y * y };
        }
    }
    sum
}

/// Blocks of grouped convolutions lie along the input channels of their group: every candidate loses what
/// a slow convolution says, and the least is chosen.
#[test]
fn blocks_of_grouped_convolutions_are_searched() {
    for (groups, size) in [(2, 2), (3, 4), (2, 6)] {
        let outputs = 3 * groups;
        let weight = rows(outputs, 36, 4).f32s().unwrap().into_owned();
        let samples: Vec<Tensor> = (0..3)
            .map(|at| {
                let numbers = rows(1, 6 * groups * 20, at).f32s().unwrap().into_owned();
                Tensor::from_f32s([1, 6 * groups, 5, 4], &numbers).unwrap()
            })
            .collect();
        let granularity = format!("PerBlock({size})");
        for loss in ["Mse", "L1"] {
            let passes = format!("SeqMse(loss: {loss}, compat: Aimet, candidates: 6)");
            let state = of_model(grouped(groups, &weight), &samples, &granularity, &passes);
            assert_eq!(state.curves.len(), 1, "{granularity}, {groups} groups: not searched");
            let (curve, value) = (&state.curves[0], state.curves[0].weight);
            let encoding = state.plan.get(value).unwrap().encoding.as_ref().unwrap();
            let blocks = 6_usize.div_ceil(size);
            assert_eq!(encoding.cells.len(), outputs * blocks);
            for cell in 0..outputs * blocks {
                let (output, block) = (cell / blocks, cell % blocks);
                let elements = |channel: usize| {
                    let at = (output * 6 + channel) * 6;
                    at..at + 6
                };
                let of_block: Vec<usize> =
                    (block * size..6.min((block + 1) * size)).flat_map(elements).collect();
                // Of 16 points 8 are below zero and 7 above.
                let reach = |at: &usize| (weight[*at] / 7.0).max(weight[*at] / -8.0);
                let whole = of_block.iter().map(reach).fold(0.0, f32::max);
                let mut slow = Vec::new();
                for (candidate, losses) in curve.losses.iter().enumerate() {
                    let scale = whole * (candidate + 1) as f32 / 6.0;
                    let mut error = vec![0.0; weight.len()];
                    for &at in &of_block {
                        let int = (weight[at] / scale).round_ties_even().clamp(-8.0, 7.0);
                        error[at] = weight[at] - int * scale;
                    }
                    let l1 = loss == "L1";
                    let expected = slow_loss(&samples, groups, &error, output, block, size, l1);
                    let apart = (losses[cell] - expected).abs();
                    assert!(
                        apart <= 2e-4 * expected,
                        "{loss} {granularity} of {groups}, {cell}, {candidate}: {}, not {expected}",
                        losses[cell]
                    );
                    slow.push(expected);
                }
                let least = slow.iter().copied().fold(f64::INFINITY, f64::min);
                assert!(slow[curve.best[cell]] <= least * (1.0 + 5e-4));
                let scale = f64::from(whole) * (curve.best[cell] + 1) as f64 / 6.0;
                assert!((encoding.cells[cell].scale - scale).abs() < 1e-6 * scale);
            }
        }
        // With feedback, too.
        let state = of_model(grouped(groups, &weight), &samples, &granularity, "Gptq()");
        let value = state.model.graph.find("w").unwrap();
        let site = state.plan.get(value).unwrap();
        let held = state.model.graph.value(value).constant.as_ref().unwrap();
        let (data, encoding) = (held.f32s().unwrap(), site.encoding.as_ref().unwrap());
        let again = fake_quantize(&data, held.dims(), encoding, Rounding::HalfEven).unwrap();
        assert!(again[..] == data[..] && data[..] != weight[..]);
    }
}
