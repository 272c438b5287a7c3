//! What the search chooses and what rounding with feedback gives, held against AIMET and against outputs.

use super::*;

/// How far a loss may be from AIMET's, which sums in single precision and in another order.
const LOSS: f64 = 1e-4;

/// How far scales may be apart where the choice is the same: the last place of a float.
const SCALE: f64 = 2e-7;

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The weights of the recorded layers: AIMET names what it fused after itself.
fn weights<'g>(golden: &Value, graph: &'g Graph) -> BTreeMap<String, &'g str> {
    let losses = golden["candidate_losses"].as_object().unwrap();
    let chosen = golden["chosen"].as_object().unwrap();
    let mut found = BTreeMap::new();
    for name in losses.keys() {
        let node = graph.nodes().find(|&node| graph.node(node).name == *name);
        if let Some(weight) = node.and_then(|node| graph.input(node, 1)) {
            found.insert(name.clone(), graph.value(weight).name());
        }
    }
    for name in losses.keys().filter(|name| !found.contains_key(*name)).cloned().collect::<Vec<_>>()
    {
        let free = chosen.keys().find(|weight| !found.values().any(|taken| taken == weight));
        let weight = graph.find(free.unwrap()).unwrap();
        found.insert(name, graph.value(weight).name());
    }
    found
}

#[test]
fn losses_and_choices_are_those_of_aimet() {
    let (mut layers, mut choices, mut others) = (0, 0, 0);
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let loss = match golden["params"]["loss_fn"].as_str().unwrap() {
            "mse" => "Mse",
            "l1" => "L1",
            "sqnr" => "Sqnr",
            other => panic!("{name}: {other}"),
        };
        let candidates = &golden["params"]["num_candidates"];
        let pass = format!("SeqMse(compat: Aimet, loss: {loss}, candidates: {candidates})");
        let state = run(&folder, &granularity(name, &golden), 4, &pass);
        let graph = &state.model.graph;
        let weights = weights(&golden, graph);
        assert_eq!(weights.len(), state.curves.len(), "{name}");
        for (layer, weight) in weights {
            layers += 1;
            let value = graph.find(weight).unwrap();
            let curve = state.curves.iter().find(|curve| curve.weight == value).unwrap();
            let recorded = golden["candidate_losses"][&layer].as_array().unwrap();
            let recorded: Vec<Vec<f64>> = recorded.iter().map(flat).collect();
            assert_eq!(curve.losses.len(), recorded.len(), "{name} {weight}");
            for (at, (ours, theirs)) in curve.losses.iter().zip(&recorded).enumerate() {
                assert_eq!(ours.len(), theirs.len(), "{name} {weight}");
                for (slot, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    let apart = (ours - theirs).abs() / theirs.abs().max(1e-9);
                    assert!(apart < LOSS, "{name} {weight} [{at}][{slot}]: {ours}, not {theirs}");
                }
            }
            let indices: Vec<usize> =
                flat(&golden["best_index"][&layer]).iter().map(|&at| at as usize).collect();
            let ours = best(curve, name.ends_with("true_per_tensor"));
            for (slot, (&ours, &theirs)) in ours.iter().zip(&indices).enumerate() {
                choices += 1;
                if ours != theirs {
                    others += 1;
                    let (a, b) = (recorded[ours][slot], recorded[theirs][slot]);
                    assert!(
                        (a - b).abs() <= 1e-6 * b.abs(),
                        "{name} {weight}: {ours}, not {theirs}"
                    );
                }
            }
            let encoding = state.plan.get(value).unwrap().encoding.as_ref().unwrap();
            let site = &golden["chosen"][weight];
            // The simulator of AIMET keeps the scales before they are put on the low-power grid, which
            // its export writes: ours are those of the export.
            if !name.starts_with("lpbq") {
                for (cell, expected) in encoding.cells.iter().zip(flat(&site["scale"])) {
                    let apart = (cell.scale - expected).abs() / expected;
                    assert!(apart < SCALE, "{name} {weight}: {}, not {expected}", cell.scale);
                }
            }
        }
    }
    println!("{layers} layers, {choices} choices, {others} others");
    assert!(layers > 15 && choices > 200, "{layers} layers, {choices} choices");
    // 99.5% of the choices are AIMET's own.
    assert!(others * 200 <= choices, "{others} of {choices}");
}

/// The first least of each column: a weight with one scale takes the widest of them.
fn best(curve: &Curve, one_scale: bool) -> Vec<usize> {
    if !one_scale {
        return curve.best.clone();
    }
    let first = |slot: usize| {
        let column = curve.losses.iter().map(|losses| losses[slot]);
        column.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
    };
    let best: Vec<usize> = (0..curve.best.len()).map(first).collect();
    assert!(curve.best.iter().all(|at| at == best.iter().max().unwrap()));
    best
}

/// What the outputs of a layer lose: the sum of the squared differences, by running it.
fn lost(state: &State, layer: &str, folder: &Path, weight: &[f32]) -> f64 {
    use marquetry::engine::Engine as _;
    let original = state.original.as_ref().unwrap_or(&state.model);
    let graph = &original.graph;
    let value = graph.find(layer).unwrap();
    let node = graph.uses(value)[0].node;
    let fetch = graph.output(node, 0).unwrap();
    let mut changed = graph.clone();
    let dims = graph.value(value).constant.as_ref().unwrap().dims().to_vec();
    changed.set_initializer(value, Tensor::from_f32s(dims, weight).unwrap());
    let engine = Embedded::new(&Options::default());
    let feeds: Vec<_> =
        graph.inputs.iter().copied().filter(|&it| graph.value(it).constant.is_none()).collect();
    let mut programs =
        [graph, &changed].map(|graph| engine.compile(graph, &feeds, &[fetch]).unwrap());
    let mut sum = 0.0;
    for sample in samples(folder, original) {
        let [a, b] =
            [0, 1].map(|at: usize| programs[at].run(&sample).unwrap()[0].to_f64s().unwrap());
        sum += a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    }
    sum
}

#[test]
fn our_choices_lose_no_more_than_any_candidate() {
    let mut refined = 0;
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let granularity = granularity(name, &golden);
        let state = run(&folder, &granularity, 4, "SeqMse()");
        let curve = &state.curves[0];
        let graph = &state.model.graph;
        let weight = graph.value(curve.weight);
        let constant = weight.constant.as_ref().unwrap();
        let site = state.plan.get(curve.weight).unwrap();
        let back = |state: &State| {
            let encoding = state.plan.get(curve.weight).unwrap().encoding.as_ref().unwrap();
            let data = constant.f32s().unwrap();
            fake_quantize(&data, constant.dims(), encoding, Rounding::HalfEven).unwrap()
        };
        assert!(site.frozen);
        let ours = lost(&state, weight.name(), &folder, &back(&state));
        let finer = run(&folder, &granularity, 4, "SeqMse(refine: 9)");
        let finer = lost(&finer, weight.name(), &folder, &back(&finer));
        match matches!(granularity.as_str(), "PerChannel" | "PerTensor") {
            true => {
                assert!(finer <= ours * 1.000_001, "{name}: {finer}, without refinement {ours}");
                refined += usize::from(finer < 0.99 * ours);
            }
            // Blocks are judged alone, and low-power scales are not refined.
            false => assert!(finer <= ours * 1.05, "{name}: {finer}, without refinement {ours}"),
        }
        let coarse = run(&folder, &granularity, 4, "Calibrate()");
        let whole = lost(&coarse, weight.name(), &folder, &back(&coarse));
        assert!(ours <= whole * 1.000_001, "{name}: {ours}, the whole range {whole}");
        // A plain sum of what blocks lose alone is no bound for the whole; elsewhere the numbers of
        // the search are those of a run.
        if matches!(granularity.as_str(), "PerChannel" | "PerTensor") {
            let best = curve.best.iter().enumerate().map(|(cell, &at)| curve.losses[at][cell]);
            let said: f64 = best.sum();
            assert!((said - ours).abs() < 1e-3 * ours, "{name}: said {said}, run {ours}");
        }
    }
    assert!(refined > 0, "no model gains from finer parts");
}

#[test]
fn feedback_loses_less_than_rounding_to_nearest() {
    let (mut models, mut less) = (0, 0);
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(folder.join("result.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let granularity = granularity(name, &golden);
        // Scales of blocks that each are best alone, as AIMET chooses them: those that were chosen for
        // whole outputs of nearest points may leave nothing to feedback in a model of a few weights.
        let nearest = run(&folder, &granularity, 4, "SeqMse(compat: Aimet)");
        let fed = run(&folder, &granularity, 4, "SeqMse(compat: Aimet), Calibrate(), Gptq()");
        let weight = nearest.curves[0].weight;
        let layer = nearest.model.graph.value(weight).name();
        let original = nearest.model.graph.value(weight).constant.as_ref().unwrap();
        let encoding = fed.plan.get(weight).unwrap().encoding.as_ref().unwrap();
        assert_eq!(nearest.plan.get(weight).unwrap().encoding.as_ref(), Some(encoding), "{name}");
        let rounded =
            fake_quantize(&original.f32s().unwrap(), original.dims(), encoding, Rounding::HalfEven);
        let held = fed.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
        // What the model holds lies on its grid: integers give it back exactly.
        let again = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
        assert_eq!(again[..], held[..], "{name}");
        let plain = lost(&nearest, layer, &folder, &rounded.unwrap());
        let fed_back = lost(&nearest, layer, &folder, &held);
        assert!(fed_back < plain, "{name}: {fed_back}, to nearest {plain}");
        // On its own it chooses scales, too, of blocks and low-power blocks as well.
        let alone = run(&folder, &granularity, 4, "Gptq()");
        let encoding = alone.plan.get(weight).unwrap().encoding.as_ref().unwrap();
        let held = alone.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
        let again = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
        assert_eq!(again[..], held[..], "{name}");
        let chosen = lost(&nearest, layer, &folder, &held);
        assert!(chosen < plain, "{name}: {chosen} alone, to nearest {plain}");
        assert!(!alone.curves.is_empty(), "{name}: nothing was tried");
        // Behind our search it never loses more.
        let [nearest, fed] = ["SeqMse()", "SeqMse(), Calibrate(), Gptq()"].map(|passes| {
            let state = run(&folder, &granularity, 4, passes);
            let encoding = state.plan.get(weight).unwrap().encoding.as_ref().unwrap();
            let held = state.model.graph.value(weight).constant.as_ref().unwrap().f32s().unwrap();
            let back = fake_quantize(&held, original.dims(), encoding, Rounding::HalfEven).unwrap();
            lost(&nearest, layer, &folder, &back)
        });
        assert!(fed <= nearest, "{name}: {fed} behind the search, to nearest {nearest}");
        models += 1;
        less += usize::from(fed < nearest);
    }
    assert!(less + 1 >= models, "{less} of {models} models gain behind the search");
}

/// Inputs that are zero on all samples say nothing of the weights that read them, which is no reason to
/// cut off their ranges.
#[test]
fn unseen_inputs_keep_the_ranges_of_their_weights() {
    let mut sample = rows(64, 32, 3).f32s().unwrap().into_owned();
    sample.iter_mut().enumerate().filter(|(at, _)| at % 32 >= 16).for_each(|(_, x)| *x = 0.0);
    let sample = Tensor::from_f32s([64, 32], &sample).unwrap();
    let weight = rows(32, 4, 0);
    for granularity in ["PerBlock(16)", "Lpbq(16)"] {
        for passes in ["SeqMse()", "Gptq()"] {
            let model = product(&weight);
            let state = of_model(model, std::slice::from_ref(&sample), granularity, passes);
            let value = state.model.graph.find("w").unwrap();
            let encoding = state.plan.get(value).unwrap().encoding.clone().unwrap();
            let original = weight.f32s().unwrap();
            // Of each block of 16 rows and each of 4 columns, the largest element.
            for block in 0..2 {
                for column in 0..4 {
                    let elements =
                        (0..16).map(|row| original[(block * 16 + row) * 4 + column].abs());
                    let largest = f64::from(elements.fold(0.0, f32::max));
                    let cell = encoding.cells[block * 4 + column];
                    let reach = cell.scale * 8.0;
                    assert!(
                        reach > 0.5 * largest,
                        "{granularity}, {passes}: block {block}, {column}: {reach} of {largest}"
                    );
                }
            }
        }
    }
}

/// A matrix with one column has an output channel like any other.
#[test]
fn one_output_is_searched_too() {
    let (weight, sample) = (rows(40, 1, 5), rows(64, 40, 1));
    for passes in ["SeqMse()", "Gptq()"] {
        let state = of_model(product(&weight), std::slice::from_ref(&sample), "PerChannel", passes);
        assert_eq!(state.curves.len(), 1, "{passes}");
    }
}

/// A matrix too deep for rounding with feedback still gets a range that its outputs ask for.
#[test]
fn what_feedback_leaves_is_searched() {
    let depth = 4100;
    // One element far outside, which the range is better off without.
    let mut weight = rows(depth, 1, 7).f32s().unwrap().into_owned();
    weight[5] = 9.0;
    let weight = Tensor::from_f32s([depth, 1], &weight).unwrap();
    let sample = rows(8, depth, 2);
    let state = of_model(product(&weight), &[sample], "PerChannel", "Gptq(), SeqMse()");
    let value = state.model.graph.find("w").unwrap();
    let encoding = state.plan.get(value).unwrap().encoding.clone().unwrap();
    assert_eq!(state.curves.len(), 1);
    assert!(encoding.max(0) < 8.0, "{}", encoding.max(0));
}
